# What the rigs share: arguments, the build, seeds, and the last line. Sourced, not run.
#
# Every rig takes `--from SEED` and either `--count N` or `--minutes M`; one seed is one cycle. Exit status: 0 if nothing
# was lost and the control was caught, 1 if not, 2 if the rig cannot run here.

set -euo pipefail
# The rigs' own numbers and texts, not those of a language.
export LC_ALL=C
# A panic shows by its first line.
export RUST_BACKTRACE=0

rigs=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$rigs/../.." && pwd)
from=1
count=
minutes=
failures=0
cycles=0

# The rig cannot run here.
die() {
  echo "$(basename "$0"): $*" >&2
  exit 2
}

# The rig ran, and is itself no proof of anything.
broken() {
  echo "FAILED: $*" >&2
  exit 1
}

# One of the arguments that all rigs take; the number of words it used is left in `taken`, 0 if it is none.
take_argument() {
  taken=2
  case $1 in
    --from) from=${2:?a seed} ;;
    --count) count=${2:?a number of cycles} ;;
    --minutes) minutes=${2:?minutes} ;;
    *) taken=0 ;;
  esac
  # Anything else would be compared as nothing, and a rig that does nothing finds nothing.
  [ "$taken" = 0 ] || [[ $2 =~ ^[0-9]+$ ]] || die "$1 takes a whole number, not $2"
}

need() {
  for tool in "$@"; do
    command -v "$tool" >/dev/null || die "$tool is not installed"
  done
}

need_root() {
  [ "$(id -u)" = 0 ] || die "has to be run as root: it mounts file systems"
}

# Builds what is shipped, and the witness, optimised; leaves their paths in `cairn` and `witness`.
build() {
  (cd "$root" && cargo build --release --quiet --locked -p cairndb-cli -p cairndb --bin cairn --example witness)
  target=${CARGO_TARGET_DIR:-$root/target}
  cairn=$target/release/cairn
  witness=$target/release/examples/witness
}

# A directory for this run, in memory where there is such a place, removed at its end; `on_exit` is called before that.
# `keep` leaves it, for whoever looks.
make_fast_place() {
  local where=${TMPDIR:-/tmp}
  if [ -d /dev/shm ] && [ -w /dev/shm ]; then where=/dev/shm; fi
  place=$(mktemp -d "$where/cairn-rig.XXXXXX")
  keep=
  trap 'status=$?; set +e; on_exit; [ -n "$keep" ] || rm -rf "$place"; exit $status' EXIT
  trap 'exit 130' INT TERM
}

on_exit() { :; }

# Whether there is another cycle to make, of a rig that makes `$1` by default.
goes_on() {
  if [ -n "$minutes" ]; then
    [ "$SECONDS" -lt "$((minutes * 60))" ]
  else
    [ "$cycles" -lt "${count:-$1}" ]
  fi
}

# A number below `$1` that depends on the seed, and on how many were drawn before.
below() {
  drawn=$((RANDOM * 32768 + RANDOM))
  drawn=$((drawn % $1))
}

# Milliseconds as `sleep` takes them.
seconds() {
  printf '%d.%03d' "$(($1 / 1000))" "$(($1 % 1000))"
}

# Notes a failed cycle, and leaves what there is for whoever looks.
fail() { # what
  failures=$((failures + 1))
  keep=yes
  echo "FAILED: $*; see $place" >&2
}

# The last line, for a log whose rows add up, and the exit status. Further fields, each with a comma before it, may follow.
report() { # part, how much was done, last seed, further fields
  # What never ran has not passed.
  [ "$2" != 0 ] || fail "nothing was done"
  echo "{\"part\":\"$1\",\"count\":$2,\"seeds\":\"$from..$(($3 + 1))\",\"failures\":$failures${4:-}}"
  [ "$failures" = 0 ]
}

# Starts the witness and appends what it says to the ledger, through a pipe; its process is left in `writer`.
start_writer() { # directory, ledger, further arguments
  local dir=$1 ledger=$2
  shift 2
  rm -f "$place/pipe"
  mkfifo "$place/pipe"
  # It reads the ledger once, before it has written a word.
  cp "$ledger" "$place/ledger.before"
  # Both ends are opened here: a process that opens one itself may come to it when the other has gone, and wait for ever.
  exec 9<>"$place/pipe" 8<"$place/pipe" 7>"$place/pipe" 9>&-
  cat <&8 >>"$ledger" 7>&- &
  reader=$!
  "$witness" write "$dir" "$place/ledger.before" "$@" >&7 2>"$place/writer.err" 7>&- 8<&- &
  writer=$!
  exec 7>&- 8<&-
}

# Kills the writer, unless it was done before, and waits for its last words; its exit status is left in `ended`.
kill_writer() {
  kill -9 "$writer" 2>/dev/null || true
  ended=0
  wait "$writer" 2>/dev/null || ended=$?
  wait "$reader"
}

# Holds the directory to the ledger, and makes the ledger that the next writer goes on from. Exit status: the witness's.
check_ledger() { # directory, ledger
  "$witness" check "$1" "$2" >"$2.next" || return
  mv "$2.next" "$2"
}

# Cycles of a weaker durability, until acknowledged operations are lost, and nothing worse.
control() { # database, durability, most cycles, what one is called
  local number status
  fresh
  for number in $(seq "$3"); do
    cycle "$number" --durability "$2"
    status=0
    check_ledger "$1" "$place/ledger" 2>"$place/control.err" || status=$?
    case $status in
      0) ;;
      3)
        echo "control: durability $2, $4 $number: $(<"$place/control.err")"
        return
        ;;
      *) broken "the control lost more than it should: $(<"$place/control.err")" ;;
    esac
  done
  broken "the control lost nothing in $3 cycles"
}

# Cycles as they are promised, each checked; leaves the seed behind the last in `seed`.
judge_cycles() { # database, how many if nothing was asked for
  seed=$from
  SECONDS=0
  while goes_on "$2"; do
    [ "$((cycles % directory_cycles))" != 0 ] || fresh
    cycle "$seed"
    if ! check_ledger "$1" "$place/ledger"; then
      fail "seed $seed"
      cp -r "$1" "$place/db.$seed"
      mv "$place/ledger" "$place/ledger.$seed"
      fresh
    elif [ -d "$1" ] && ! "$cairn" verify --db "$1" >"$place/verify" 2>&1; then
      fail "seed $seed: $(<"$place/verify")"
    fi
    cycles=$((cycles + 1))
    seed=$((seed + 1))
  done
}
