-- What happens once the connector streams.
INSERT INTO zoo (id, t, n10_2, i4) VALUES (10, 'live', 99999999.99, 5);
UPDATE zoo SET t = 'live2', i4 = NULL, n10_2 = -1 WHERE id = 10;
UPDATE zoo SET id = 11 WHERE id = 10;
DELETE FROM zoo WHERE id = 11;
CREATE TEMP TABLE copies AS SELECT * FROM zoo WHERE id IN (2, 3, 4, 5, 6);
UPDATE copies SET id = id + 10;
INSERT INTO zoo SELECT * FROM copies;
DELETE FROM zoo WHERE id = 6;
INSERT INTO zoo (id, t) VALUES (6, 'again');
UPDATE zoo SET h2 = NULL, ai2 = '{7}', af = NULL, au = '{}' WHERE id = 12;
INSERT INTO zoo (id, t) VALUES (1000, 'the last');
