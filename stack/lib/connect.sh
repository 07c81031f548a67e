# Kafka Connect with Debezium, on the same jars as the brokers.

connect_ports() { echo 127.0.0.1:8083; }

connect_launch() {
  cp "$STACK/conf/connect.properties" "$STATE/$1/worker.properties"
  launch "$1" "$JAVA_HOME/bin/java" $JVM_COMPILER -Xms256m -Xmx1g -Dorg.slf4j.simpleLogger.showDateTime=true \
    -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS -cp '../lib/kafka/*' \
    org.apache.kafka.connect.cli.ConnectDistributed worker.properties
}

# The list of connectors, which it can give only after it has read its storage topics.
connect_answers() { curl -sf -m 3 -o /dev/null http://127.0.0.1:8083/connectors; }
