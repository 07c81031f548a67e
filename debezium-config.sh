#!/bin/sh
# Registers the Debezium connector and waits until it runs. Safe to run again: the configuration is PUT.
# Everything in capitals below can be set in the environment, so that a test can have a connector of its own.
set -eu

CONNECT_URL=${DEBEZIUM_CONNECT_URL:-http://127.0.0.1:8083}
CONNECTOR=${DEBEZIUM_CONNECTOR:-rowferry-cdc}
TOPIC_PREFIX=${DEBEZIUM_TOPIC_PREFIX:-cdc}
SLOT=${DEBEZIUM_SLOT:-cdc_slot}
PUBLICATION=${DEBEZIUM_PUBLICATION:-cdc_pub}
TABLES=${DEBEZIUM_TABLES:-public.users,public.orders}
PARTITIONS=${DEBEZIUM_PARTITIONS:-5}
SNAPSHOT_MODE=${DEBEZIUM_SNAPSHOT_MODE:-initial}
PG_HOST=${DEBEZIUM_PG_HOST:-127.0.0.1}
PG_PORT=${DEBEZIUM_PG_PORT:-5432}
PG_DATABASE=${DEBEZIUM_PG_DATABASE:-cdc_db}
PG_USER=${DEBEZIUM_PG_USER:-debezium}
PG_PASSWORD=${DEBEZIUM_PG_PASSWORD:-debezium}
SETTINGS=${DEBEZIUM_SETTINGS:-}
WAIT_SECONDS=${DEBEZIUM_WAIT_SECONDS:-120}

say() { printf 'debezium-config: %s\n' "$*"; }

# Text as a JSON string.
json() { printf '"%s"' "$(printf '%s' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g')"; }

# - The publication is made by postgres-schema.sql, so the connector needs no right to make one.
# - skipped.operations=none: a TRUNCATE must be seen, not passed over in silence.
# - replace.null.with.default=false: otherwise a column set to null arrives as its default.
# - decimal.handling.mode=string: exact, and readable in a topic.
# - SETTINGS are further JSON members, each behind a comma; one that stands above already is overridden.
# - The producer's limit equals the topics' max.message.bytes (stack/conf/topics); linger, batch and queue sizes
#   are for throughput, poll.interval.ms for latency.
config() {
  cat <<END
{
  "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
  "tasks.max": "1",
  "database.hostname": $(json "$PG_HOST"),
  "database.port": $(json "$PG_PORT"),
  "database.user": $(json "$PG_USER"),
  "database.password": $(json "$PG_PASSWORD"),
  "database.dbname": $(json "$PG_DATABASE"),
  "topic.prefix": $(json "$TOPIC_PREFIX"),
  "table.include.list": $(json "$TABLES"),
  "plugin.name": "pgoutput",
  "slot.name": $(json "$SLOT"),
  "slot.drop.on.stop": "false",
  "publication.name": $(json "$PUBLICATION"),
  "publication.autocreate.mode": "disabled",
  "snapshot.mode": $(json "$SNAPSHOT_MODE"),
  "decimal.handling.mode": "string",
  "skipped.operations": "none",
  "heartbeat.interval.ms": "0",
  "key.converter": "org.apache.kafka.connect.json.JsonConverter",
  "key.converter.schemas.enable": "false",
  "key.converter.replace.null.with.default": "false",
  "value.converter": "org.apache.kafka.connect.json.JsonConverter",
  "value.converter.schemas.enable": "false",
  "value.converter.replace.null.with.default": "false",
  "topic.creation.default.replication.factor": "3",
  "topic.creation.default.partitions": $(json "$PARTITIONS"),
  "topic.creation.default.cleanup.policy": "delete",
  "topic.creation.default.max.message.bytes": "12582912",
  "max.batch.size": "16384",
  "max.queue.size": "65536",
  "poll.interval.ms": "10",
  "producer.override.max.request.size": "12582912",
  "producer.override.linger.ms": "20",
  "producer.override.batch.size": "262144",
  "producer.override.compression.type": "lz4"$SETTINGS
}
END
}

# What Connect finds wrong in the configuration, asked for by itself.
validation_errors() {
  config | sed "1s/{/{ \"name\": $(json "$CONNECTOR"),/" |
    connect -X PUT -H 'Content-Type: application/json' --data-binary @- \
      "$CONNECT_URL/connector-plugins/PostgresConnector/config/validate" |
    grep -o '"errors":\["[^]]*"\]' | sort -u || say "the log of the Connect worker may say more"
}

connect() { curl -s -m 30 "$@"; }

# Sets `status` to what Connect says of the connector and `state` to that of its task, or of the connector
# when that failed first; both are empty while there is none.
look() {
  status=$(connect "$CONNECT_URL/connectors/$CONNECTOR/status") || status=
  case $status in
  *'"connector":{"state":"FAILED"'*) state=FAILED ;;
  *) state=$(printf '%s' "$status" | sed -n 's/.*"tasks":\[{"id":0,"state":"\([A-Z_]*\)".*/\1/p') ;;
  esac
}

end=$(($(date +%s) + WAIT_SECONDS))
late() { [ "$(date +%s)" -ge "$end" ]; }
look
before=$state

# 409 while the worker rebalances, 000 or 5xx while it starts: worth another try. 4xx otherwise: our mistake.
# Connect 4.3 also answers 500 where it cannot say what it found wrong (a refused password): not for ever, then.
errors_max=15
while :; do
  answer=$(config | connect -w '\n%{http_code}' -X PUT -H 'Content-Type: application/json' --data-binary @- \
    "$CONNECT_URL/connectors/$CONNECTOR/config") || answer='no answer
000'
  code=$(printf '%s\n' "$answer" | tail -n 1)
  case $code in
  200 | 201) break ;;
  409 | 000) late || { sleep 1; continue; } ;;
  5??) errors_max=$((errors_max - 1)); [ $errors_max -eq 0 ] || late || { sleep 1; continue; } ;;
  esac
  say "$CONNECT_URL refused the connector $CONNECTOR ($code): $(printf '%s\n' "$answer" | head -n 1)" >&2
  validation_errors >&2
  exit 1
done

# The same configuration again does not wake a task that failed before.
if [ "$before" = FAILED ]; then
  connect -o /dev/null -X POST "$CONNECT_URL/connectors/$CONNECTOR/restart?includeTasks=true&onlyFailed=true" || :
  sleep 2
fi

# 201 only means that it was written down: wait for the task.
while :; do
  look
  case $state in
  RUNNING) say "connector $CONNECTOR runs: $PG_DATABASE -> $TOPIC_PREFIX.*"; exit 0 ;;
  FAILED)
    say "connector $CONNECTOR failed:" >&2
    trace=$(printf '%s' "$status" | sed 's/.*"trace":"//; s/"}.*//; s/","type":.*//')
    printf '%b\n' "$trace" >&2
    exit 1
    ;;
  esac
  if late; then
    say "connector $CONNECTOR does not run after $WAIT_SECONDS s (state: ${state:-none})" >&2
    exit 1
  fi
  sleep 0.3
done
