#!/usr/bin/env bash
# Looks at a server as those do who watch over one: Prometheus's own parser reads /metrics, and a browser works the console
# by keyboard. What each does is in crates/cairndb-server/tests/console. They are installed below target/console; the first
# time that needs a network.
#
#   tests/rigs/console.sh
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

[ $# = 0 ] || die "unknown argument $1"
need node npm python3 chromium
scripts=$root/crates/cairndb-server/tests/console
build_server
installed=$target/console
mkdir -p "$installed"
# What an import finds is searched for beside the script.
cp "$scripts"/*.mjs "$scripts"/*.py "$scripts"/*.json "$installed"
if ! "$installed/venv/bin/pip" --version >/dev/null 2>&1; then
  python3 -m venv "$installed/venv" || die "python3 cannot make a virtual environment: python3-venv is missing"
fi
if ! cmp -s "$scripts/requirements.txt" "$installed/requirements.done"; then
  "$installed/venv/bin/pip" install -q --disable-pip-version-check -r "$scripts/requirements.txt" >&2 ||
    die "pip cannot install $(tr '\n' ' ' <"$scripts/requirements.txt")"
  cp "$scripts/requirements.txt" "$installed/requirements.done"
fi
if ! cmp -s "$scripts/package-lock.json" "$installed/package-lock.done"; then
  (cd "$installed" && npm ci --silent --no-audit --no-fund >&2) || die "npm cannot install what package-lock.json names"
  cp "$scripts/package-lock.json" "$installed/package-lock.done"
fi

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
