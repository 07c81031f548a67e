# Three Cassandra nodes on 127.0.0.1, 127.0.0.2 and 127.0.0.3.

cassandra_address() { echo "127.0.0.${1#cassandra-}"; }
cassandra_ports() {
  local address
  address=$(cassandra_address "$1")
  echo "$address:9042 $address:7000 127.0.0.1:719${1#cassandra-}"
}

# Sixteen tokens a node, dealt in turn around the ring. With tokens given and every node a seed, nobody
# has to ask a running cluster for its place: the first start can be all at once, like every later one.
# A node that has not said its tokens yet is dropped from gossip after half the quarantine delay, which would
# follow the short ring delay: one second, too little on a busy machine, and the nodes then disagree for good.
cassandra_tokens() {
  local node=${1#cassandra-} step=384307168202282325 i tokens=     # 2^64 / 48
  for ((i = node - 1; i < 48; i += 3)); do
    tokens+=$((-9223372036854775807 - 1 + step / 2 + i * step)),
  done
  echo "${tokens%,}"
}

# A push of a schema change that is dropped on a busy machine is pulled after the migration delay. The server's own
# minute is also how long the driver waits for the nodes to agree.
# Writing a schema change to disk at once takes a second, which tests save (stack/test); a node that is killed has then
# forgotten its tables, and passes over what its log has for them.
cassandra_launch() {
  local dir=$STATE/$1
  mkdir -p "$dir/conf"
  sed -e "s/@ADDRESS@/$(cassandra_address "$1")/g" -e "s/@TOKENS@/$(cassandra_tokens "$1")/g" \
    "$STACK/conf/cassandra.yaml" >"$dir/conf/cassandra.yaml"
  cp "$STACK/conf/cassandra-logback.xml" "$dir/conf/logback.xml"
  cp "$STACK/conf/cassandra-jvm.options" "$dir/conf/jvm.options"
  launch "$1" "$JAVA_HOME/bin/java" @conf/jvm.options $JVM_COMPILER -Xms512m -Xmx512m -XX:+UseG1GC \
    -javaagent:../lib/cassandra/jamm-0.4.0.jar -Dcassandra.config=cassandra.yaml -Dcassandra.storagedir=data \
    -Dcassandra.jmx.local.port="719${1#cassandra-}" -Dcassandra-foreground=yes -Dcassandra.ring_delay_ms=1000 \
    -Dcassandra.gossip_quarantine_delay_ms=60000 -Dcassandra.migration_delay_ms=2000 \
    -Dcassandra.test.flush_local_schema_changes="${STACK_FLUSH_SCHEMA:-true}" \
    -Dcassandra.skip_wait_for_gossip_to_settle=0 -cp 'conf:../lib/cassandra/*' \
    org.apache.cassandra.service.CassandraDaemon
}

# An OPTIONS frame of protocol 4, which is answered before any login.
cassandra_answers() { answers "$(cassandra_address "$1")" 9042 '\004\0\0\0\005\0\0\0\0'; }
