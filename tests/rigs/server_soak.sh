#!/usr/bin/env bash
# Has both protocols of `cairn serve` used at once for a while, by clients that know what they should be answered and that break
# off and come again, while it is backed up and compacted; and looks whether memory, file descriptors or space grow. See
# README.md.
#
#   tests/rigs/server_soak.sh [--minutes M] [--from SEED]      a minute by default
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

while [ $# -gt 0 ]; do
  take_argument "$@"
  [ "$taken" != 0 ] || die "unknown argument $1"
  shift "$taken"
done

# Numbers of the server as they are now: KiB of memory, open files, KiB on disk.
look() {
  local memory files disk
  memory=$(awk '/^VmRSS/ { print $2 }' "/proc/$server/status")
  files=$(ls "/proc/$server/fd" | wc -l)
  # Files come and go meanwhile.
  disk=$({ du -sk "$place/db" 2>/dev/null || true; } | cut -f1)
  echo "$memory $files $disk"
}

# The largest of a column, in a third of what was looked at.
most() { # column, first or last
  local lines third
  lines=$(wc -l <"$place/looks")
  third=$((lines / 3))
  if [ "$2" = middle ]; then head -n "$((2 * third))" "$place/looks" | tail -n "$third"; else tail -n "$third" "$place/looks"; fi |
    cut -d' ' -f"$1" | sort -n | tail -1
}

build_server
make_fast_place
server=
mkdir "$place/backups"
# Backups go to the same file system, and are removed by and by.
budget_kib=16384
start_server "$place/db" --durability os --memory-budget "${budget_kib}KiB" --backup-dir "$place/backups"
SECONDS=0
"$load" mix "$port" "${http_port:-0}" --minutes "${minutes:-1}" --seed "$from" >"$place/answered" 2>"$place/load.err" &
mixing=$!
while kill -0 "$mixing" 2>/dev/null; do
  look >>"$place/looks"
  find "$place/backups" -mindepth 1 -maxdepth 1 -printf '%T@ %p\n' | sort -rn | tail -n +3 | cut -d' ' -f2- | xargs -r rm -rf
  sleep 1
done
wait "$mixing" || fail "$(<"$place/load.err")"
answered=$(tail -1 "$place/answered")
end_server || fail "the server ended with $ended: $(tail -5 "$place/server.err")"
if grep -q panicked "$place/server.err"; then fail "the server panicked: $(<"$place/server.err")"; fi
"$cairn" verify --db "$place/db" >"$place/verified" 2>&1 || fail "$(<"$place/verified")"
# What is to be found in the end, and what it takes where nothing is left over.
resting=$(du -sk "$place/db" | cut -f1)
"$cairn" compact --db "$place/db" >/dev/null 2>&1 || fail "it cannot be compacted"
compacted=$(du -sk "$place/db" | cut -f1)
memory=$(most 1 last) files=$(most 2 last) disk=$(most 3 last)
echo "answered $answered operations; at most, in the middle and the last third:"
echo "memory $(most 1 middle) and $memory KiB, files $(most 2 middle) and $files, disk $(most 3 middle) and $disk KiB; at rest $resting KiB, compacted $compacted KiB"
# Noise, and the odd compaction, but no growth.
[ "$memory" -le "$(($(most 1 middle) * 5 / 4 + 16384))" ] || fail "memory grows: $(most 1 middle), then $memory KiB"
[ "$memory" -le "$((budget_kib * 2 + 65536))" ] || fail "memory is $memory KiB, of a budget of $budget_kib"
[ "$files" -le "$(($(most 2 middle) + 20))" ] || fail "file descriptors grow: $(most 2 middle), then $files"
[ "$disk" -le "$(($(most 3 middle) * 3 / 2 + 32768))" ] || fail "space grows: $(most 3 middle), then $disk KiB"
[ "$disk" -le "$((compacted * 4 + 131072))" ] || fail "$disk KiB hold what takes $compacted KiB"
report server "$answered" "$from" ",\"rss_kib\":$memory,\"files\":$files,\"disk_kib\":$disk,\"compacted_kib\":$compacted"
