# Postgres, which refuses to run as root: then it runs as a user of its own.

PG_USER=rowferry-pg
PG_CAPS=

postgres_ports() { echo 127.0.0.1:5432; }

as_pg_user() {
  if [ "$(id -u)" = 0 ]; then
    # shellcheck disable=SC2086
    setpriv --reuid "$PG_USER" --regid "$PG_USER" --clear-groups $PG_CAPS "$@"
  else
    "$@"
  fi
}

# As root: the user exists, owns its folder and can reach it. When a parent folder is closed to others
# (a clone under /root), the process keeps the one capability that lets it pass; no permission is changed.
# (no_setuid_fixup: without it access(2), which Postgres calls, looks at the user alone.)
prepare_pg_user() {
  [ "$(id -u)" = 0 ] || return 0
  id "$PG_USER" >/dev/null 2>&1 ||
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$PG_USER" ||
    die "postgres must not run as root, and the user $PG_USER could not be created"
  chown "$PG_USER:$PG_USER" "$STATE/postgres"
  PG_CAPS=
  as_pg_user test -x "$LIBS/postgres/dist/bin/postgres" && return 0
  PG_CAPS='--inh-caps=+dac_read_search --ambient-caps=+dac_read_search --securebits=+no_setuid_fixup'
  as_pg_user test -x "$LIBS/postgres/dist/bin/postgres" 2>/dev/null && return 0
  die "the user $PG_USER cannot reach $STATE: $(closed_parent) is closed to others; clone elsewhere, or chmod o+x it"
}

closed_parent() {
  local path=$STATE/postgres closed=$STATE
  while [ "$path" != / ]; do
    path=$(dirname "$path")
    case $(stat -c %A "$path") in *[xt]) ;; *) closed=$path ;; esac
  done
  echo "$closed"
}

# A killed Postgres leaves its pid file, and refuses to start while a process of that number exists: another
# one after a reboot, or its own remains where nobody collects them (a container). Its children end by
# themselves a moment later; when nobody works in the data folder any more, the file means nothing.
forget_killed_postgres() {
  local end=$((SECONDS + 30))
  while readlink /proc/[0-9]*/cwd 2>/dev/null | grep -qxF "$1"; do
    [ $SECONDS -lt $end ] || give_up postgres "is still at work in its data folder"
    sleep 0.1
  done
  rm -f "$1/postmaster.pid"
}

postgres_launch() {
  local dir=$STATE/postgres bin=$LIBS/postgres/dist/bin
  prepare_pg_user
  if [ ! -d "$dir/data" ]; then
    rm -rf "$dir/data.new" "$dir/password"
    echo postgres >"$dir/password"
    (cd "$dir" && as_pg_user "$bin/initdb" -D data.new -U postgres --pwfile=password -A scram-sha-256 \
      -E UTF8 --locale=C.UTF-8 --no-sync >"$LOGS/$1.log" 2>&1) || give_up "$1" "could not create its data folder"
    rm -f "$dir/password"
    mv "$dir/data.new" "$dir/data"
  fi
  forget_killed_postgres "$dir/data"
  cp "$STACK/conf/postgresql.conf" "$dir/data/postgresql.conf"
  if [ "$(id -u)" = 0 ]; then
    # shellcheck disable=SC2086
    launch "$1" setpriv --reuid "$PG_USER" --regid "$PG_USER" --clear-groups $PG_CAPS "$bin/postgres" -D "$dir/data"
  else
    launch "$1" "$bin/postgres" -D "$dir/data"
  fi
}

# Its pid file says whether it takes connections; the file of a killed one would say so too, so whose is it?
postgres_answers() {
  local file=$STATE/postgres/data/postmaster.pid
  [ "$(sed -n 1p "$file" 2>/dev/null)" = "$(pid_of "$1")" ] && sed -n 8p "$file" | grep -q '^ready'
}
