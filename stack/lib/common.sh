# What every server needs: where things are, how one is started, watched and stopped.

set -u -o pipefail
umask 022                 # Postgres may run as another user and must be able to read what we unpack

HOME_DIR=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
STACK=$HOME_DIR/stack
STATE=$HOME_DIR/.stack    # everything the stack writes: NAME/ is a server's working folder
LIBS=$STATE/lib
LOGS=$STATE/logs
PIDS=$STATE/pids
SERVERS="kafka-1 kafka-2 kafka-3 connect postgres cassandra-1 cassandra-2 cassandra-3"
# On two cores a server spends half of its first quarter of an hour on compiling itself well (120 of 250 s of a Cassandra
# node, 61 of 133 s of a broker), and these rarely live longer. Measurements want STACK_JVM_COMPILER=-XX:+TieredCompilation.
JVM_COMPILER=${STACK_JVM_COMPILER:--XX:TieredStopAtLevel=1}
START_SECONDS_MAX=${STACK_START_SECONDS_MAX:-180}

say()  { printf 'stack: %s\n' "$*"; }
die()  { printf 'stack: %s\n' "$*" >&2; exit 1; }

# give_up NAME WHAT: a server's end, with the lines that say why.
give_up() {
  printf 'stack: %s %s; the last lines of %s:\n' "$1" "$2" "$LOGS/$1.log" >&2
  tail -n 20 "$LOGS/$1.log" >&2
  exit 1
}

is_server() { case " $SERVERS " in *" $1 "*) ;; *) die "no server is called '$1'; there are: $SERVERS" ;; esac; }

# Prints the pid of a running server. A number alone proves nothing, it may belong to another process by now: ours is
# the one that began when the file says. (Not the one in the server's folder: a JVM leaves it for a moment at its start.)
pid_of() {
  local pid born
  { read -r pid born <"$PIDS/$1"; } 2>/dev/null && [ -n "$born" ] && [ "$(born_of "$pid")" = "$born" ] && echo "$pid"
}

# When a process began, in ticks since the machine did; nothing for one that has ended, collected or not.
born_of() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra stat <<<"${stat##*) }"
  [ "${stat[0]}" != Z ] && echo "${stat[19]}"
}

# launch NAME COMMAND...: in the server's folder, in a session of its own, with no descriptor of
# ours left open, so that neither a closed terminal ends it nor a pipe of the caller stays open.
launch() {
  local name=$1; shift
  [ -f "$LOGS/$name.log" ] && mv -f "$LOGS/$name.log" "$LOGS/$name.log.1"
  (
    cd "$STATE/$name" || exit 1
    (
      for fd in /proc/self/fd/*; do
        fd=${fd##*/}
        if [ "$fd" -gt 2 ]; then eval "exec $fd>&-"; fi
      done
      exec setsid "$@" </dev/null >"$LOGS/$name.log" 2>&1
    ) &
    echo "$! $(born_of $!)" >"$PIDS/$name"
  )
}

# Sends bytes (printf escapes) to HOST PORT and is true when anything comes back.
answers() {
  timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "$2" >&3 && [ "$(head -c 1 <&3 | wc -c)" = 1 ]' \
    "$1" "$2" "$3" 2>/dev/null
}
listens() { timeout 3 bash -c ': <"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null; }

# free_ports NAME HOST:PORT...: refuses to start a server where something else already listens.
free_ports() {
  local name=$1 at owner; shift
  for at in "$@"; do
    listens "${at%:*}" "${at#*:}" || continue
    owner=$(ss -Hltnp "sport = :${at#*:}" 2>/dev/null | sed -n 's/.*users:((\(.*\)))$/: \1/p' | head -n 1)
    die "$name cannot start: $at is taken by another process$owner"
  done
}

# wait_for NAME PROBE...: until the probe succeeds; the server must stay alive meanwhile.
wait_for() {
  local name=$1 end=$((SECONDS + START_SECONDS_MAX)); shift
  until "$@"; do
    pid_of "$name" >/dev/null || give_up "$name" "died"
    [ $SECONDS -lt $end ] || give_up "$name" "did not answer within $START_SECONDS_MAX s"
    sleep 0.2
  done
}

# start NAME: nothing to do when it runs, else start it; either way it answers afterwards.
start() {
  local kind=${1%-[0-9]}
  if ! pid_of "$1" >/dev/null; then
    mkdir -p "$STATE/$1"
    # shellcheck disable=SC2046
    free_ports "$1" $("${kind}_ports" "$1")
    "${kind}_launch" "$1"
  fi
  wait_for "$1" "${kind}_answers" "$1"
}

# The server's process and, for Postgres, its children.
family_of() {
  local pid
  pid=$(pid_of "$1") || return 0
  echo "$pid" $(cat "/proc/$pid/task/$pid/children" 2>/dev/null)
}

# stop NAME: asks, waits for the processes to be gone, and kills what has not gone in time.
stop() {
  local kind=${1%-[0-9]} family grace=45 end
  family=$(family_of "$1")
  [ -n "$family" ] || { rm -f "$PIDS/$1"; return 0; }
  [ "$kind" != kafka ] || grace=15     # a broker whose peers went first waits in vain for their leave to go
  end=$((SECONDS + grace))
  kill -CONT $family 2>/dev/null
  kill -s "$(stop_signal "$kind")" ${family%% *} 2>/dev/null
  while is_alive $family; do
    if [ $SECONDS -ge $end ]; then
      say "$1 did not stop within $grace s: killing it"
      kill -KILL $family 2>/dev/null
      end=$((SECONDS + 45))
    fi
    sleep 0.1
  done
  rm -f "$PIDS/$1"
}
stop_signal() { if [ "$1" = postgres ]; then echo INT; else echo TERM; fi; }   # INT: do not wait for clients

# kill_hard NAME: SIGKILL, as a crash would; a Postgres ends its children by itself when its head is gone.
kill_hard() {
  local family
  family=$(family_of "$1")
  [ -n "$family" ] || { rm -f "$PIDS/$1"; return 0; }
  kill -KILL ${family%% *} 2>/dev/null
  while is_alive $family; do sleep 0.05; done
  rm -f "$PIDS/$1"
}

# True while one of the processes runs. One that ended but was not yet collected (Z) does not run, unless
# threads of it are still on their way out: those hold its ports.
is_alive() {
  local pid state threads
  for pid in "$@"; do
    state=$(sed 's/.*) //; s/ .*//' "/proc/$pid/stat" 2>/dev/null) || continue
    threads=$(ls "/proc/$pid/task" 2>/dev/null | wc -l)
    case $state in
    '') ;;
    Z) [ "$threads" -le 1 ] || return 0 ;;
    *) return 0 ;;
    esac
  done
  return 1
}

# tool NAME LIB ARGUMENTS...: runs stack/java/NAME.java against the jars of LIB, compiled once.
tool() {
  local name=$1 lib=$2 classes=$STATE/classes/$1 new; shift 2
  [ -d "$LIBS/$lib" ] || die "run 'make up' first: there is no $LIBS/$lib"
  if [ ! "$classes/$name.class" -nt "$STACK/java/$name.java" ]; then
    new=$(mktemp -d "$STATE/classes.XXXXXX")
    "$JAVA_HOME/bin/javac" -d "$new" -cp "$LIBS/$lib/*" "$STACK/java/$name.java" || { rm -rf "$new"; die "$name.java does not compile"; }
    mkdir -p "$STATE/classes"
    rm -rf "$classes"
    mv -T "$new" "$classes" 2>/dev/null || rm -rf "$new"     # another call was quicker: the same classes
  fi
  "$JAVA_HOME/bin/java" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m \
    -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$classes:$LIBS/$lib/*" "$name" "$@"
}
