# Three Kafka brokers, each also a controller (KRaft).

KAFKA_CLUSTER_ID=Um93ZmVycnktbG9jYWwtMQ      # sixteen bytes in base64: "Rowferry-local-1"

kafka_client_port()     { echo $((9091 + ${1#kafka-})); }
kafka_controller_port() { echo $((19091 + ${1#kafka-})); }
kafka_ports() { echo "127.0.0.1:$(kafka_client_port "$1") 127.0.0.1:$(kafka_controller_port "$1")"; }

kafka_launch() {
  local dir=$STATE/$1
  sed -e "s/@NODE@/${1#kafka-}/g" -e "s/@PORT@/$(kafka_client_port "$1")/g" \
    -e "s/@CONTROLLER_PORT@/$(kafka_controller_port "$1")/g" "$STACK/conf/kafka.properties" >"$dir/server.properties"
  if [ ! -f "$dir/data/meta.properties" ]; then
    (cd "$dir" && "$JAVA_HOME/bin/java" -XX:TieredStopAtLevel=1 -cp '../lib/kafka/*' \
      kafka.tools.StorageTool format -t "$KAFKA_CLUSTER_ID" -c server.properties >"$LOGS/$1.log" 2>&1) ||
      give_up "$1" "could not format its storage"
  fi
  launch "$1" "$JAVA_HOME/bin/java" $JVM_COMPILER -Xms256m -Xmx512m -Dorg.slf4j.simpleLogger.showDateTime=true \
    -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS -cp '../lib/kafka/*' kafka.Kafka server.properties
}

# An ApiVersions request, the one that every client sends first.
kafka_answers() {
  answers 127.0.0.1 "$(kafka_client_port "$1")" '\0\0\0\012\0\022\0\0\0\0\0\001\377\377'
}
