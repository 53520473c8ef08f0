#!/usr/bin/env bash
# Has the kernel refuse the shipped binary's calls, one after the other: of every class of system call that touches the
# database, every single call, with every error that makes sense there, once, and from there on; and interrupted (EINTR),
# which must change nothing. See README.md.
#
#   tests/rigs/strace.sh --all                      every injection there is
#   tests/rigs/strace.sh --sample N [--seed S]      so many of them, drawn by seed
#   tests/rigs/strace.sh --from I [--count N | --minutes M]      a stretch of the list, from I on, counted from 0
#   tests/rigs/strace.sh --list                     only the list
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# What is injected where. The rig refuses to run if a program makes another kind of call on its database.
declare -A errors=(
  [openat]="EIO EMFILE ENFILE ENOSPC EACCES ENOMEM"
  [mkdir]="EIO ENOSPC EACCES"
  [readlink]="EIO"
  [statx]="EIO ENOMEM EACCES"
  [newfstatat]="EIO ENOMEM"
  [getdents64]="EIO ENOMEM"
  [flock]="EIO ENOLCK"
  [pread64]="EIO"
  [pwrite64]="EIO ENOSPC EDQUOT EFBIG"
  [fdatasync]="EIO ENOSPC EDQUOT"
  [fsync]="EIO ENOSPC EDQUOT"
  [linkat]="EIO ENOSPC EXDEV EPERM"
  [unlink]="EIO EACCES EROFS"
  [close]="EIO"
)

programs="script load put replay checkpoint compact backup copy get scan verify"

# How long a program may take before it counts as hanging, in seconds. Untouched it takes a tenth of one; but a machine
# that is short of memory has made that thirty.
patience=120

mode= sample= seed=1
while [ $# -gt 0 ]; do
  take_argument "$@"
  case $taken,$1 in
    0,--all | 0,--list) mode=${1#--} taken=1 ;;
    0,--sample) mode=sample sample=${2:?a number} taken=2 ;;
    0,--seed) seed=${2:?a seed} taken=2 ;;
    0,*) die "unknown argument $1" ;;
  esac
  shift "$taken"
done
[ -n "$mode" ] || [ -n "$count$minutes" ] || die "what? --all, --sample N, --list, or --from I with --count N or --minutes M"
need strace timeout prlimit
strace -f -o /dev/null true 2>/dev/null || die "strace may not trace here"

# The command of a program, in `command`.
choose() { # program
  case $1 in
    script) command=("$witness" script "$run/db" "$place/base/script/ledger") ;;
    load) command=("$cairn" --db "$run/db" load "$place/lines" --ack --batch 7) ;;
    put) command=("$cairn" --db "$run/db" put put-key put-value) ;;
    replay) command=("$cairn" --db "$run/db" replay "$place/log") ;;
    checkpoint | compact | verify) command=("$cairn" --db "$run/db" "$1") ;;
    backup) command=("$cairn" --db "$run/db" backup "$run/copy") ;;
    copy) command=("$cairn" --db "$run/db" backup --copy "$run/copy") ;;
    get) command=("$cairn" --db "$run/db" get key0150) ;;
    scan) command=("$cairn" --db "$run/db" scan) ;;
  esac
}

# The directory that a program is given: one that a killed writer left, with tables and logs to recover; or none.
prepare() {
  mkdir -p "$place/base/script/run" "$place/base/cairn/run" "$place/base/none/run"
  run=$place/base/script/run
  killed_at 90 "$witness" script "$run/db" /dev/null >"$place/said"
  # What the writer goes on from is found by looking, and looking recovers: so a copy is looked at.
  cp -r "$run" "$place/looked-at"
  "$witness" check "$place/looked-at/db" "$place/said" >"$place/base/script/ledger"
  rm -rf "$run/db.backup"

  seq -f 'key%04.0f	a value that is neither short nor long' 150 >"$place/lines"
  seq -f 'key%04.0f	the second value' 100 220 >"$place/more"
  run=$place/base/cairn/run
  "$cairn" --db "$run/db" load "$place/lines" 2>/dev/null >&2
  "$cairn" --db "$run/db" compact 2>/dev/null >&2
  "$cairn" --db "$run/db" dump --format log >"$place/log" 2>/dev/null
  killed_at 12 "$cairn" --db "$run/db" load "$place/more" --ack --batch 9 >/dev/null
  "$cairn" --db "$run/db" dump >"$place/dump" 2>/dev/null
  sort "$place/lines" >"$place/sorted"
}

# Runs a command that is killed when it appends for the so-manieth time.
killed_at() { # calls, command
  local calls=$1
  shift
  strace -f -o /dev/null -e trace=pwrite64 -e "inject=pwrite64:signal=SIGKILL:when=$calls" "$@" 2>/dev/null &
  # In the background, so that the shell does not report it as a mishap.
  wait $! 2>/dev/null || true
}

base_of() { # program
  case $1 in
    script) echo script ;;
    load | replay) echo none ;;
    *) echo cairn ;;
  esac
}

fresh_run() { # program
  rm -rf "$place/run"
  cp -r "$place/base/$(base_of "$1")/run" "$place/run"
  run=$place/run
}

# Names, for strace, everything that a run may touch: with names it counts and refuses no calls but those on them, and
# leaves alone how a program is loaded. In `watch_files` are the database's files only.
name_paths() {
  local directory name
  watch=(-P "$place/run") watch_files=()
  for directory in db db.backup copy; do
    watch+=(-P "$place/run/$directory" -P "$place/run/$directory/LOCK")
    for name in {000001..000060}.{manifest,sst,wal,reserve}; do
      watch_files+=(-P "$place/run/$directory/$name")
    done
  done
  watch+=("${watch_files[@]}")
}

# Runs a program under strace with further arguments; leaves status, out, err and the trace.
trace() { # program, arguments of strace
  local program=$1
  shift
  fresh_run "$program"
  choose "$program"
  status=0
  timeout -s KILL "$patience" strace -f -y -s 0 -o "$place/trace" "$@" "${command[@]}" \
    >"$place/out" 2>"$place/err" </dev/null || status=$?
}

# Every call on what is named, as `class index`: strace counts the calls of each class for each thread alone. Of closes
# only those of files count. Closing a directory there is nothing to lose by, and the standard library asserts that it
# succeeds. And LOCK: what is refused here is not done at all, while the kernel lets a lock go even if a close fails.
calls() {
  awk '
    # The second half of a call was counted with its first.
    / resumed>/ { next }
    match($2, /^[a-z0-9_]+\(/) {
      class = substr($2, 1, RLENGTH - 1)
      if (class == "close" && $0 !~ /\.(wal|sst|manifest|reserve)>/) next
      index_of = ++count[$1, class]
      if (!((class, index_of) in seen)) {
        seen[class, index_of] = 1
        print class, index_of
      }
    }' "$place/trace" | sort -k1,1 -k2,2n
}

# Whether a program touched a path of the run's that has no name; what a program prints is not its database.
touched_unnamed() {
  grep -v 'write([12]<\|execve(' "$place/trace" | grep -oE "$place/run[^\" >]*" | sort -u >"$place/touched"
  printf '%s\n' "${watch[@]}" | sort -u | comm -23 "$place/touched" - | grep .
}

# The list: `program class index error how-often`.
list() {
  local program class index error
  for program in $programs; do
    trace "$program" -e trace=file,desc
    ! touched_unnamed || broken "$program touches what is not watched"
    trace "$program" "${watch[@]}" -e trace=file,desc
    [ "$status" = 0 ] || broken "$program fails untouched ($status): $(<"$place/err")"
    cp "$place/out" "$place/out.$program"
    check "$program" || broken "$program leaves damage untouched: $why"
    while read -r class index; do
      [ -n "${errors[$class]:-}" ] || broken "$program calls $class on its database, and nothing here says what that may answer"
      for error in ${errors[$class]}; do
        echo "$program $class $index $error once"
        echo "$program $class $index $error on"
      done
      echo "$program $class $index EINTR once"
      echo "$program $class $index EINTR thrice"
    done < <(calls)
  done
}

# What has to hold after a program that ended with `status`; if it does not, `why` says so.
check() { # program
  why=
  case $status in
    0) ;;
    2)
      # Whoever reads the message has to know where to look.
      if ! grep -qE "[0-9]{6}\.(wal|sst|manifest|reserve)|LOCK|$run" "$place/err"; then
        why="the error names no file: $(<"$place/err")"
        return 1
      fi
      ;;
    137) why="it hung" && return 1 ;;
    *) why="it ended with $status: $(<"$place/err")" && return 1 ;;
  esac
  if grep -q 'panicked\|this is a bug' "$place/err"; then
    why="it panicked: $(<"$place/err")"
    return 1
  fi
  case $1 in
    script)
      cat "$place/base/script/ledger" "$place/out" >"$place/ledger"
      "$witness" check "$run/db" "$place/ledger" >/dev/null 2>"$place/said" || { why=$(<"$place/said") && return 1; }
      return
      ;;
    get | scan | verify)
      # A reader changes nothing, and tells the truth or an error.
      diff -r "$place/base/cairn/run" "$run" >"$place/said" || { why="the directory changed: $(<"$place/said")" && return 1; }
      [ "$status" = 2 ] || cmp -s "$place/out" "${reference:-$place/out}" || { why="it printed something else" && return 1; }
      return
      ;;
  esac
  check_content "$1" || return
  "$cairn" --db "$run/db" put "written after" "an error" 2>"$place/said" || { why="takes no write: $(<"$place/said")" && return 1; }
  "$cairn" --db "$run/db" verify >"$place/said" 2>&1 || { why="does not verify: $(<"$place/said")" && return 1; }
}

# Whether the database holds what it has to.
check_content() { # program
  local stored
  if ! "$cairn" --db "$run/db" dump >"$place/found" 2>"$place/said"; then
    # A first open that failed may have promised nothing yet.
    [ "$(base_of "$1")" = none ] && [ "$status" = 2 ] && [ ! -s "$place/out" ] && grep -q 'no database' "$place/said" \
      || { why="does not open: $(<"$place/said")" && return 1; }
    : >"$place/found"
  fi
  case $1 in
    load)
      stored=$(wc -l <"$place/found")
      head -n "$stored" "$place/sorted" | cmp -s - "$place/found" || { why="no prefix of the lines is stored" && return 1; }
      [ "$stored" -ge "$(tail -n 1 "$place/out" | grep . || echo 0)" ] \
        || { why="$stored lines are stored, $(tail -n 1 "$place/out") were acknowledged" && return 1; }
      ;;
    replay)
      # It is taken up where it stopped.
      "$cairn" --db "$run/db" replay "$place/log" >/dev/null 2>"$place/said" || { why="no second replay: $(<"$place/said")" && return 1; }
      "$cairn" --db "$run/db" dump 2>/dev/null | cmp -s - "$place/sorted" || { why="the replay is not what the log says" && return 1; }
      ;;
    put)
      grep -v '^put-key' "$place/found" | cmp -s - "$place/dump" || { why="other keys changed" && return 1; }
      [ "$status" = 2 ] || grep -q '^put-key	put-value$' "$place/found" || { why="the put is lost" && return 1; }
      ;;
    *)
      cmp -s "$place/found" "$place/dump" || { why="what is stored changed" && return 1; }
      ;;
  esac
  case $1,$status in
    backup,0 | copy,0)
      "$cairn" --db "$run/copy" dump 2>/dev/null | cmp -s - "$place/dump" || { why="the backup holds something else" && return 1; }
      "$cairn" --db "$run/copy" verify >"$place/said" 2>&1 || { why="the backup: $(<"$place/said")" && return 1; }
      ;;
  esac
}

# One injection, run and checked; whether it came about is left in `met`.
inject() { # program class index error how-often
  local when names=("${watch[@]}")
  [ "$2" != close ] || names=("${watch_files[@]}")
  case $5 in
    once) when=$3 ;;
    on) when=$3+ ;;
    thrice) when=$3..$(($3 + 2)) ;;
  esac
  trace "$1" "${names[@]}" -e "trace=$2" -e "inject=$2:error=$4:when=$when"
  met=0
  ! grep -q INJECTED "$place/trace" || met=1
  reference=$place/out.$1
  check "$1" || { fail "$*: $why" && return; }
  if [ "$4" = EINTR ] && [ "$status" != 0 ]; then
    fail "$*: an interruption is no error: $(<"$place/err")"
  elif [ "$4" = EINTR ] && [ "$1" != compact ] && ! cmp -s "$place/out" "$place/out.$1"; then
    # How many bytes a compaction is done with depends on when the other thread came to it.
    fail "$*: an interruption changed what it printed"
  fi
}

# The control: an append to the log that the kernel says was done and was not. The check has to notice each.
control() {
  local append length lied=0 noticed=0
  trace load "${watch[@]}" -e trace=pwrite64
  # Of records; room is laid down in whole pages, and a header or a mark is short.
  awk '/pwrite64\(/ { call[$1]++ } /\.wal>/ && $NF % 4096 && $NF > 80 { print call[$1], $NF }' "$place/trace" >"$place/appends"
  while read -r append length <&3; do
    trace load "${watch[@]}" -e trace=pwrite64 -e "inject=pwrite64:retval=$length:when=$append"
    lied=$((lied + 1))
    [ "$status" != 137 ] || broken "the control hung"
    check load || noticed=$((noticed + 1))
  done 3<"$place/appends"
  echo "control: $lied appends to the log that were said to be made and were not, $noticed noticed"
  [ "$lied" != 0 ] && [ "$noticed" = "$lied" ] || broken "the checks do not notice writes that are lost"
}

# Real short writes: the process may make its files so long and no longer, in the middle of a write; before the kernel
# lets it go on, the limit is lifted. The rest has to be written behind what was, and nothing may come of it all.
short_writes() {
  local program call offset length limit met=0 tried=0
  for program in script load put compact backup; do
    trace "$program" "${watch[@]}" -e trace=pwrite64
    # Writes that go further than any before them, in any file, and a limit that cuts off the half of what is beyond.
    awk '/pwrite64\(/ {
      call[$1]++
      length_of = $NF; sub(/\).*/, ""); offset = $NF; end = offset + length_of
      within = far > offset ? far : offset
      if (end > within + 100) print call[$1], offset, length_of, int((within + end) / 2)
      if (end > far) far = end
    }' "$place/trace" >"$place/writes"
    while read -r call offset length limit <&3; do
      fresh_run "$program"
      choose "$program"
      : >"$place/trace"
      (
        trap '' XFSZ
        exec timeout -s KILL "$patience" strace -f -y -s 0 -o "$place/trace" "${watch[@]}" -e trace=pwrite64 -e "inject=pwrite64:delay_exit=600ms:when=$call" \
          prlimit "--fsize=$limit:unlimited" "${command[@]}" >"$place/out" 2>"$place/err" </dev/null
      ) &
      writer=$!
      # A file of just this length: the write has been cut short.
      until find "$run" -type f -size "${limit}c" | grep -q . || ! kill -0 "$writer" 2>/dev/null; do
        sleep 0.01
      done
      prlimit --pid "$(awk 'NR == 1 { print $1 }' "$place/trace")" --fsize=unlimited 2>/dev/null || true
      status=0
      wait "$writer" || status=$?
      tried=$((tried + 1))
      met=$((met + $(grep -cF ", $length, $offset) = $((limit - offset)) " "$place/trace")))
      reference=$place/out.$program
      if ! check "$program"; then
        fail "short write, $program $call: $why"
      elif [ "$status" != 0 ]; then
        fail "short write, $program $call: $(<"$place/err")"
      fi
    done 3<"$place/writes"
  done
  echo "$tried writes cut short by a limit that was lifted at once: $met came about, and were gone on with"
  [ "$met" -gt 0 ] || fail "no write was cut short"
}

build
make_fast_place
mkdir "$place/base"
name_paths
prepare
list >"$place/list"
total=$(wc -l <"$place/list")
if [ "$mode" = list ]; then
  cat "$place/list"
  exit 0
fi
control
short_writes

case $mode in
  sample) awk -v seed="$seed" 'BEGIN { srand(seed) } { print rand() "\t" $0 }' "$place/list" | sort -n | cut -f 2 | sed -n "1,${sample}p" ;;
  *) tail -n +"$((from + 1))" "$place/list" ;;
esac >"$place/chosen"
[ "$mode" != sample ] || from=$seed
declare -A of_class=()
all_met=0
SECONDS=0
while read -r -a injection <&3 && goes_on "$total"; do
  inject "${injection[@]}"
  cycles=$((cycles + 1))
  all_met=$((all_met + met))
  of_class[${injection[1]}]=$((${of_class[${injection[1]}]:-0} + met))
done 3<"$place/chosen"
for class in "${!of_class[@]}"; do
  echo "  $class: ${of_class[$class]}"
done | sort
echo "$cycles of $total injections in $SECONDS s, $all_met of them came about: the rest were calls that a second thread did not make this time"
if [ "$mode" = sample ]; then
  report strace "$all_met" "$seed" ",\"of\":$total"
else
  report strace "$all_met" "$((from + cycles - 1))" ",\"of\":$total"
fi
