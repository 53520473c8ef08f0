#!/usr/bin/env bash
# Kills a process that writes from four threads, with SIGKILL, at a moment drawn by seed, and holds what is left to what
# was acknowledged over a pipe. See README.md.
#
#   tests/rigs/kill.sh [CYCLES] [--from SEED] [--count CYCLES | --minutes M]      50 cycles by default
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# A directory is killed so many times before the next one is begun: long enough to age, and first opens are killed too.
directory_cycles=10

while [ $# -gt 0 ]; do
  take_argument "$@"
  case $taken in
    0)
      [[ $1 =~ ^[0-9]+$ ]] || die "unknown argument $1"
      count=$1
      shift
      ;;
    *) shift "$taken" ;;
  esac
done

# One life and one death of a writer. What a killed process has handed to the kernel stays, so memory will do as a disk.
cycle() { # seed, further arguments of the writer
  local seed=$1
  shift
  RANDOM=$((seed % 32768))
  # Some end by themselves, and some are killed as they close; some do not come to open.
  below 4000
  local operations=$((1 + drawn))
  below 250
  local delay=$drawn
  below 4
  [ "$drawn" != 0 ] || delay=$((delay / 25))
  start_writer "$place/db" "$place/ledger" --seed "$seed" --count "$operations" "$@"
  sleep "$(seconds "$delay")"
  kill_writer
  case $ended in
    0) closed=$((closed + 1)) ;;
    137) killed=$((killed + 1)) ;;
    *) fail "seed $seed: the writer ended with $ended: $(<"$place/writer.err")" ;;
  esac
  acknowledged=$((acknowledged + $(grep -c '^done ' "$place/ledger" || true)))
}

fresh() {
  rm -rf "$place/db" "$place/db.backup" "$place/ledger"
  : >"$place/ledger"
}

build
make_fast_place
killed=0 closed=0 acknowledged=0

# The control: with durability `buffered` acknowledged operations wait in the process's own memory, and die with it. What
# is left has to be a prefix all the same.
control "$place/db" buffered 8 kill

killed=0 closed=0 acknowledged=0
judge_cycles "$place/db" 50
echo "$cycles cycles in $SECONDS s in $(dirname "$place"): $killed killed, $closed ended before; $acknowledged operations acknowledged"
if [ "$((killed * 2))" -lt "$cycles" ]; then fail "fewer than half of the writers were killed"; fi
# A writer that ended before it could be killed proves nothing, and is not counted.
report kill "$killed" "$((seed - 1))"
