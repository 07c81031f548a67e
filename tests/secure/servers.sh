#!/usr/bin/env bash
# servers.sh FOLDER up|grant|down: one Kafka broker, one Cassandra node and one Postgres behind TLS, with everything they
# write in FOLDER. FOLDER/tls has the certificates and FOLDER/conf the configurations that the test made. The programs
# are those of the stack.

REPOSITORY=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$REPOSITORY/stack/lib/common.sh"
. "$STACK/lib/needs.sh"
. "$STACK/lib/postgres.sh"
STATE=$1
LOGS=$STATE/logs
PIDS=$STATE/pids
SERVERS="kafka cassandra postgres"
mkdir -p "$LOGS" "$PIDS"

kafka_ports() { echo 127.0.0.1:19193 127.0.0.1:19194 127.0.0.1:19195; }
kafka_launch() {
  local java=("$JAVA_HOME/bin/java" -XX:TieredStopAtLevel=1 -cp "$LIBS/kafka/*")
  (cd "$STATE/kafka" && "${java[@]}" kafka.tools.StorageTool format -t Um93ZmVycnktc2VjdXJlMQ -c "$STATE/conf/kafka.properties" \
    --add-scram "SCRAM-SHA-512=[name=rowferry,password=$(cat "$STATE/conf/kafka-password")]" >"$LOGS/$1.log" 2>&1) ||
    give_up "$1" "could not format its storage"
  launch "$1" "${java[@]}" -Xms256m -Xmx384m kafka.Kafka "$STATE/conf/kafka.properties"
}
kafka_answers() { answers 127.0.0.1 19194 '\0\0\0\012\0\022\0\0\0\0\0\001\377\377' && listens 127.0.0.1 19193; }

cassandra_ports() { echo 127.0.0.4:9042 127.0.0.4:7000 127.0.0.1:7194; }
cassandra_launch() {
  mkdir -p "$STATE/$1/conf"
  cp "$STATE/conf/cassandra.yaml" "$STATE/$1/conf/"
  cp "$STACK/conf/cassandra-logback.xml" "$STATE/$1/conf/logback.xml"
  cp "$STACK/conf/cassandra-jvm.options" "$STATE/$1/conf/jvm.options"
  launch "$1" "$JAVA_HOME/bin/java" @conf/jvm.options -Xms384m -Xmx384m -XX:+UseG1GC \
    -javaagent:"$LIBS/cassandra/jamm-0.4.0.jar" -Dcassandra.config=cassandra.yaml -Dcassandra.storagedir=data \
    -Dcassandra.jmx.local.port=7194 -Dcassandra-foreground=yes -Dcassandra.ring_delay_ms=1000 \
    -Dcassandra.superuser_setup_delay_ms=0 -Dcassandra.skip_wait_for_gossip_to_settle=0 \
    -cp "conf:$LIBS/cassandra/*" org.apache.cassandra.service.CassandraDaemon
}
cassandra_answers() { grep -q 'Created default superuser role' "$LOGS/$1.log" && listens 127.0.0.4 9042; }

postgres_ports() { echo 127.0.0.1:15432; }
postgres_launch() {
  local dir=$STATE/$1 bin=$LIBS/postgres/dist/bin run=()
  prepare_pg_user
  # shellcheck disable=SC2206
  [ "$(id -u)" != 0 ] || run=(setpriv --reuid "$PG_USER" --regid "$PG_USER" --clear-groups $PG_CAPS)
  cp "$STATE/conf/postgres-password" "$STATE"/tls/{ca,server}.pem "$STATE/tls/server.key" "$dir/"
  chmod 600 "$dir/server.key"
  [ "$(id -u)" != 0 ] || chown "$PG_USER:$PG_USER" "$dir"/*
  (cd "$dir" && "${run[@]}" "$bin/initdb" -D data -U postgres --pwfile=postgres-password -A scram-sha-256 \
    -E UTF8 --locale=C.UTF-8 --no-sync >"$LOGS/$1.log" 2>&1) || give_up "$1" "could not create its data folder"
  cp "$STATE/conf/postgresql.conf" "$STATE/conf/pg_hba.conf" "$dir/data/"
  launch "$1" "${run[@]}" "$bin/postgres" -D "$dir/data"
}

down() {
  local name
  for name in $SERVERS; do stop "$name" & done
  wait
}

# await_jobs: true when everything in the background has succeeded.
await_jobs() {
  local job failed=0
  for job in $(jobs -p); do wait "$job" || failed=1; done
  return $failed
}

# The least that docs/security.md names, and nothing else, for the login and for the certificate of that name.
allow() {
  "$JAVA_HOME/bin/java" -XX:TieredStopAtLevel=1 -cp "$LIBS/kafka/*" org.apache.kafka.tools.AclCommand \
    --bootstrap-server 127.0.0.1:19195 --command-config "$STATE/conf/admin.properties" --add \
    --allow-principal User:rowferry --allow-principal User:CN=rowferry "$@"
}

find_jdk17 || die "there is no JDK 17"
case $2 in
up)
  for name in $SERVERS; do start "$name" & done
  await_jobs || { down; exit 1; }
  ;;
grant)
  topics="--topic users --topic orders --topic cdc.public.users --topic cdc.public.orders"
  # shellcheck disable=SC2086
  allow --operation Read --operation DescribeConfigs $topics &
  allow --operation Write --topic dead-letters --topic users --topic orders &
  allow --operation Read --group secure- --resource-pattern-type prefixed &
  await_jobs
  ;;
down) down ;;
esac
