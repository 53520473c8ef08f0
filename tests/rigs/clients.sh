#!/usr/bin/env bash
# Has the clients that people use work with the shipped server: redis-cli, redis-py, ioredis, node-redis, redis-rs. What
# each does is in crates/cairndb-server/tests/clients. They are installed below target/clients; the first time that needs a network.
#
#   tests/rigs/clients.sh [--piped N]      so many commands through `redis-cli --pipe`; a million by default
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

piped=1000000
while [ $# -gt 0 ]; do
  case $1 in
    --piped) piped=${2:?a number} && shift 2 ;;
    *) die "unknown argument $1" ;;
  esac
done
need redis-cli python3 node npm
build_server
install_scripts "clients"
CARGO_TARGET_DIR=$installed/redis-rs cargo build --quiet --locked --manifest-path "$scripts/redis-rs/Cargo.toml" >&2 ||
  die "redis-rs cannot be built"

make_fast_place
SECONDS=0
start_server "$place/db" --durability os
work() { # its name, the command
  local name=$1
  shift
  if timeout 200 "$@" "$port" >"$place/told" 2>&1; then
    tail -1 "$place/told"
  else
    fail "$name: $(tail -20 "$place/told")"
  fi
  cycles=$((cycles + 1))
}
work redis-cli python3 "$installed/redis_cli.py" --piped "$piped"
work redis-py "$installed/venv/bin/python" "$installed/redis_py.py"
work ioredis node "$installed/ioredis.mjs"
work node-redis node "$installed/node_redis.mjs"
work redis-rs "$installed/redis-rs/debug/cairn-clients-redis-rs"
end_server || fail "the server ended with $ended: $(<"$place/server.err")"
if grep -q 'panicked' "$place/server.err"; then fail "the server panicked: $(<"$place/server.err")"; fi
echo "$cycles clients in $SECONDS s"
report clients "$cycles" "$((from + cycles - 1))"
