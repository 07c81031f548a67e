# The tools this machine must have: found, or installed, or named with the command that installs them.

# Cassandra 5 runs on Java 11 and 17, Kafka 4 needs 17: so it must be 17, whatever else is installed.
find_jdk17() {
  local path home
  path=$(command -v javac 2>/dev/null) && path=$(dirname "$(dirname "$(readlink -f "$path")")")
  for home in "${JAVA_HOME:-}" "$path" /usr/lib/jvm/*; do
    if [ -x "$home/bin/javac" ] && grep -q '^JAVA_VERSION="17[."]' "$home/release" 2>/dev/null; then
      JAVA_HOME=$home
      export JAVA_HOME
      return 0
    fi
  done
  return 1
}

# Prints the Debian package of each missing tool.
missing() {
  find_jdk17                                  || echo openjdk-17-jdk-headless
  command -v mvn      >/dev/null              || echo maven
  command -v cc       >/dev/null              || echo gcc libc6-dev
  command -v make     >/dev/null              || echo make
  command -v curl     >/dev/null              || echo curl ca-certificates
  command -v xz       >/dev/null              || echo xz-utils
  command -v setpriv  >/dev/null && command -v flock >/dev/null && command -v setsid >/dev/null || echo util-linux
  if command -v pkg-config >/dev/null; then
    pkg-config --exists openssl || echo libssl-dev
    pkg-config --exists zlib    || echo zlib1g-dev
  else
    echo pkg-config libssl-dev zlib1g-dev
  fi
}

need_tools() {
  [ "$(uname -s)" = Linux ] || die "the stack runs on Linux only (it needs 127.0.0.2 and /proc); elsewhere use docker-compose.yml"
  install_missing missing
  find_jdk17
}

# The browser in which tests look at the page, under any of its names.
missing_browser() {
  local name
  for name in chromium-headless-shell chromium chromium-browser google-chrome; do
    command -v $name >/dev/null && return
  done
  echo chromium-headless-shell
}

# Installs the packages that a function prints, and asks it again.
install_missing() {
  local packages as_root='' install
  packages=$($1 | tr '\n' ' ')
  [ -n "$packages" ] || return 0
  [ "$(id -u)" = 0 ] || as_root='sudo '
  install="${as_root}apt-get update && ${as_root}apt-get install -y --no-install-recommends $packages"
  say "missing on this machine: $packages"
  if ! command -v apt-get >/dev/null; then
    die "install them with your package manager (the names above are Debian's), then run this again"
  fi
  if [ -n "$as_root" ] && ! { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }; then
    die "install them with: $install"
  fi
  say "installing them: $install"
  mkdir -p "$LOGS"
  # shellcheck disable=SC2086
  { ${as_root}apt-get update -q && ${as_root}env DEBIAN_FRONTEND=noninteractive \
      apt-get install -q -y --no-install-recommends $packages; } >"$LOGS/apt.log" 2>&1 </dev/null ||
    { tail -n 20 "$LOGS/apt.log" >&2; die "that failed; install them with: $install"; }
  packages=$($1 | tr '\n' ' ')
  [ -z "$packages" ] || die "still missing after the installation: $packages"
}
