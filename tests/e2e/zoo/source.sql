-- A column of every type that Debezium sends, ordinary and extreme values, and everything that a row can live through.
CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION citext;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE TABLE zoo (
  id bigint PRIMARY KEY, b boolean, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision,
  n numeric, n10_2 numeric(10,2), n38_10 numeric(38,10), m money,
  t text, v varchar(20), c char(5), ci citext, nm name,
  d date, ts timestamp, ts0 timestamp(0), ts3 timestamp(3), tz timestamptz, tm time, tm3 time(3), tmtz timetz,
  iv interval, by bytea, bt1 bit(1), bt8 bit(8), vb varbit(12), u uuid, tu uuid, j json, jb jsonb, x xml,
  h hstore, h2 hstore, lt ltree, e mood, dm posint, ip inet, ip2 inet, cd cidr, mc macaddr, mc8 macaddr8,
  pt point, bx box, ir int4range, tr tstzrange, oi oid,
  ai int[], ai2 int[], af real[], at text[], an numeric(10,2)[], an2 numeric(10,2)[], atz timestamptz[], au uuid[],
  am mood[], ad date[], aj jsonb[]
);
ALTER PUBLICATION cdc_pub ADD TABLE zoo;
GRANT SELECT ON zoo TO debezium;

INSERT INTO zoo (id) VALUES (1);
INSERT INTO zoo VALUES (
  2, true, -32768, -2147483648, -9223372036854775808, 'NaN', '-Infinity',
  123456789012345678901234567890.123456789, -12345678.90, 1.0000000001, '$1,234.56',
  'héllo "q" \ ☃', E'tab\tnl\n', 'ab', 'CiTeXt', 'name1',
  '2024-02-29', '2024-02-29 23:59:59.123456', '2024-02-29 23:59:59', '2024-02-29 23:59:59.123',
  '2024-02-29 23:59:59.123456+05:30', '23:59:59.123456', '23:59:59.123', '23:59:59.123456-08',
  '1 year 2 mons 3 days 04:05:06.789', '\xdeadbeef', '1', '00101010', '0010',
  '7f1c0a52-5b1c-4a0e-9df0-1a2b3c4d5e6f', '2c9b3e10-8f00-11ee-b9d1-0242ac120002',
  '{"a": 1.50, "b":[1,2]}', '{"a": 1.50, "b":[1,2], "big": 123456789012345678901234567890}', '<a>1</a>',
  'k=>v, n=>NULL', 'a=>1, b=>"two words"', 'a.b.c', 'happy', 7,
  '192.168.0.1/24', '2001:db8::1', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
  '(1.5,-2.5)', '(1,1),(0,0)', '[1,10)', '[2024-01-01 00:00:00+00,2024-12-31 00:00:00+00)', 4294967295,
  '{1,NULL,3}', '{3,1,2}', '{1,2.5,-3}', '{a,NULL,"b,c"}', '{1.50,NULL}', '{1.50,-2}',
  '{2024-01-01 00:00:00.123+02}', '{7f1c0a52-5b1c-4a0e-9df0-1a2b3c4d5e6f}', '{sad,happy}', '{2024-01-01}',
  '{"{\"x\":1}"}'
);
INSERT INTO zoo (id, b, i2, i4, i8, f4, f8, n, n10_2, d, ts, tz, tm, iv, t, by, h2) VALUES (
  3, false, 32767, 2147483647, 9223372036854775807, 3.4028235e38, 1.7976931348623157e308, 'NaN', 0.01,
  '0044-03-15 BC', '0001-01-01 00:00:00 BC', 'infinity', '24:00:00', '-1 mon', '', '', '"q\"uote"=>"",☃=>"\\"'
);
INSERT INTO zoo (id, d, ts, tz, n, n10_2, f4, f8, n38_10) VALUES (
  4, 'infinity', '-infinity', '-infinity', 0, -0.01, 1e-45, 5e-324, -9999999999999999999999999999.9999999999
);
INSERT INTO zoo (id, d, ts, tz) VALUES
  (5, '9999-12-31', '9999-12-31 23:59:59.999999', '1969-12-31 23:59:59.999999+00'),
  (6, '21016-01-01', '1900-01-01 00:00:00', '0001-01-01 00:00:00+00');
