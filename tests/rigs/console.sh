#!/usr/bin/env bash
# Looks at a server as those do who watch over one: Prometheus's own parser reads /metrics, and a browser works the console
# by keyboard. What each does is in crates/cairndb-server/tests/console. They are installed below target/console; the first
# time that needs a network.
#
#   tests/rigs/console.sh
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

[ $# = 0 ] || die "unknown argument $1"
need node npm python3 chromium
build_server
install_scripts "console"

make_fast_place
SECONDS=0
export CHROMIUM
CHROMIUM=$(command -v chromium)
start_server "$place/db" --requirepass secret
look() { # its name, the command
  local name=$1
  shift
  if timeout 200 "$@" >"$place/told" 2>&1; then
    tail -1 "$place/told"
  else
    fail "$name: $(tail -30 "$place/told")"
  fi
  cycles=$((cycles + 1))
}
look console node "$installed/console.mjs" "$http_port" secret "$installed"
look prometheus "$installed/venv/bin/python" "$installed/prometheus.py" "$http_port" secret
end_server || fail "the server ended with $ended: $(<"$place/server.err")"
if grep -q 'panicked' "$place/server.err"; then fail "the server panicked: $(<"$place/server.err")"; fi
echo "$cycles looks in $SECONDS s"
report console "$cycles" "$((from + cycles - 1))"
