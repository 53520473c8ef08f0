#!/usr/bin/env bash
# Kills `cairn serve` with SIGKILL while eight clients write through the Redis protocol, at a moment drawn by seed, and holds
# what it serves after the next start to what the clients were answered. See README.md.
#
#   tests/rigs/server_kill.sh [--from SEED] [--count CYCLES | --minutes M]      20 cycles by default
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

# A directory is killed so many times before the next one is begun.
directory_cycles=10

while [ $# -gt 0 ]; do
  take_argument "$@"
  [ "$taken" != 0 ] || die "unknown argument $1"
  shift "$taken"
done

fresh() {
  rm -rf "$place/db" "$place/ledger"
  : >"$place/ledger"
}

# One life and one death of a server. What a killed process has handed to the kernel stays, so memory will do as a disk.
cycle() { # seed, further arguments of the server
  local seed=$1 writers status=0
  shift
  RANDOM=$((seed % 32768))
  below 900
  local delay=$((50 + drawn))
  # Small, so that flushes and compactions never end.
  start_server "$place/db" "$@" --memory-budget 1MiB
  "$load" write "$port" "$place/ledger" --seed "$seed" 2>"$place/load.err" &
  writers=$!
  sleep "$(seconds "$delay")"
  kill -9 "$server"
  wait "$server" 2>/dev/null || true
  server=
  wait "$writers" || status=$?
  [ "$status" = 0 ] || fail "seed $seed: a client was answered what it should not be: $(<"$place/load.err")"
  acknowledged=$((acknowledged + $(grep -c '^done ' "$place/ledger" || true)))
}

# Starts the server again, and holds it to the ledger, which then is what the next writers go on from.
judge() {
  local status=0
  start_server "$place/db" --memory-budget 1MiB
  "$load" check "$port" "$place/ledger" >"$place/ledger.next" 2>"$place/load.err" || status=$?
  end_server || status=1
  mv "$place/ledger.next" "$place/ledger"
  return "$status"
}

build_server
make_fast_place
server=

# The control: with durability `buffered` acknowledged writes wait in the server's own memory, and die with it.
fresh
acknowledged=0 lost=
for number in 1 2 3 4 5 6 7 8; do
  cycle "$number" --durability buffered
  status=0
  judge || status=$?
  case $status in
    0) ;;
    3) lost=yes && echo "control: durability buffered, kill $number: $(<"$place/load.err")" && break ;;
    *) broken "the control lost more than it should: $(<"$place/load.err")" ;;
  esac
done
[ -n "$lost" ] || broken "the control lost nothing in $number cycles"

acknowledged=0 seed=$from
fresh
SECONDS=0
while goes_on 20; do
  [ "$((cycles % directory_cycles))" != 0 ] || fresh
  # Each promises that a killed process takes nothing.
  if [ "$((seed % 2))" = 0 ]; then cycle "$seed" --durability sync; else cycle "$seed" --durability os; fi
  if ! judge; then
    fail "seed $seed: $(<"$place/load.err") $(<"$place/server.err")"
    cp -r "$place/db" "$place/db.$seed"
    fresh
  elif ! "$cairn" verify --db "$place/db" >"$place/verify" 2>&1; then
    fail "seed $seed: $(<"$place/verify")"
  fi
  cycles=$((cycles + 1))
  seed=$((seed + 1))
done
echo "$cycles kills in $SECONDS s in $(dirname "$place"); $acknowledged pipelines acknowledged"
report server-kill "$cycles" "$((seed - 1))"
