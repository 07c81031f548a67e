# Server programs, by Maven from the poms in stack/poms (pinned versions, checksums enforced), unpacked into .stack/lib.

ARTIFACTS="postgres cassandra kafka cql debezium"      # in the order in which the start needs them

fetched() { [ "$(cat "$LIBS/$1/.pom" 2>/dev/null)" = "$(cksum <"$STACK/poms/$1.xml")" ]; }

fetch() {
  local new=$LIBS/$1.new arch=amd64
  fetched "$1" && return 0
  say "fetching $1"
  case $(uname -m) in aarch64 | arm64) arch=arm64v8 ;; esac
  rm -rf "$new"
  mkdir -p "$new"
  mvn -C -q -B -f "$STACK/poms/$1.xml" dependency:copy-dependencies \
    -DoutputDirectory="$new" -Dpostgres.arch="$arch" >"$LOGS/fetch-$1.log" 2>&1 </dev/null 9>&- ||
    { tail -n 20 "$LOGS/fetch-$1.log" >&2; die "Maven could not fetch $1 (log: $LOGS/fetch-$1.log)"; }
  unpack "$1" "$new" >"$LOGS/unpack-$1.log" 2>&1 ||
    { tail -n 20 "$LOGS/unpack-$1.log" >&2; die "could not unpack $1"; }
  cksum <"$STACK/poms/$1.xml" >"$new/.pom"
  rm -rf "${LIBS:?}/$1"
  mv "$new" "$LIBS/$1"
}

unpack() {
  case $1 in
  postgres)
    (cd "$2" && "$JAVA_HOME/bin/jar" xf embedded-postgres-binaries-*.jar) &&
      mkdir "$2/dist" && tar -xJf "$2"/postgres-linux-*.txz -C "$2/dist" --no-same-owner &&
      rm -rf "$2"/embedded-postgres-binaries-*.jar "$2"/postgres-linux-*.txz "$2/META-INF"
    ;;
  debezium)
    tar -xzf "$2"/debezium-connector-postgres-*.tar.gz -C "$2" --no-same-owner &&
      rm -f "$2"/debezium-connector-postgres-*.tar.gz
    ;;
  esac
}

fetch_all() {
  local artifact
  for artifact in $ARTIFACTS; do fetch "$artifact"; done
}

# Servers start while later artifacts are still on their way; a failed fetch ends the whole start.
await_fetched() { until fetched "$1"; do sleep 0.2; done; }
