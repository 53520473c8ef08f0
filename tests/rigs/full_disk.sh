#!/usr/bin/env bash
# Fills a real file system of 32 MiB to its last byte under a database, and looks whether deleting gives space back: in one
# process, and over a kill. As root. See README.md.
#
#   tests/rigs/full_disk.sh [--count CYCLES | --minutes M]      1 cycle by default
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

while [ $# -gt 0 ]; do
  take_argument "$@"
  [ "$taken" != 0 ] || die "unknown argument $1"
  shift "$taken"
done
need_root
need mount umount mkfs.ext4

on_exit() {
  if mountpoint -q "$place/mnt"; then umount "$place/mnt" || umount -l "$place/mnt"; fi
}

fresh() {
  if mountpoint -q "$place/mnt"; then umount "$place/mnt"; fi
  rm -f "$place/image"
  truncate -s 32M "$place/image"
  mkfs.ext4 -q -m 0 "$place/image"
  mount -o loop "$place/image" "$place/mnt"
}

# Runs a phase; its facts are printed and left in $place/facts.
phase() {
  # As a job that is waited for, since of one in front the shell tells that it was aborted.
  "$full_disk" "$@" >"$place/facts" 2>"$place/errors" &
  local status=0
  { wait "$!" || status=$?; } 2>/dev/null
  return "$status"
}

told() { # what
  sed "s/^/$1: /" "$place/facts"
}

# Fills in a process that ends as if killed; how many keys it left is in `keys`.
fill() {
  fresh
  phase fill "$place/mnt/db" || true
  told "$1"
  keys=$(sed -n 's/^filled: \([0-9]*\) keys.*/\1/p' "$place/facts")
  grep -q '^read: ' "$place/facts" || { cat "$place/errors" >&2; return 1; }
}

verified() {
  "$cairn" --db "$place/mnt/db" verify >"$place/verified" && echo "$1: verify passes"
}

(cd "$root" && cargo build --release --quiet --locked -p cairndb-cli -p cairndb --bin cairn --example full_disk)
cairn=${CARGO_TARGET_DIR:-$root/target}/release/cairn
full_disk=${CARGO_TARGET_DIR:-$root/target}/release/examples/full_disk
make_fast_place
mkdir "$place/mnt"

# The control: others have taken what was held back. Then the same must be in vain.
fill control || broken "the control could not be set up"
ls "$place"/mnt/db/*.reserve >/dev/null || broken "no reserve was held"
rm "$place"/mnt/db/*.reserve
cat /dev/zero >"$place/mnt/more" 2>/dev/null || true
sync
if phase empty "$place/mnt/db" "$keys"; then
  broken "the control: without the reserve, deletes gave space back all the same"
fi
grep -q 'the disk is full' "$place/facts" || broken "the control failed of something else: $(cat "$place/facts")"
told control

while goes_on 1; do
  cycles=$((cycles + 1))
  fresh
  if phase all "$place/mnt/db"; then told "one process"; else fail "one process: $(cat "$place/facts" "$place/errors")"; fi
  verified "one process" || fail "one process: $(cat "$place/verified")"
  if fill "over a kill" && phase empty "$place/mnt/db" "$keys"; then
    told "over a kill"
  else
    fail "over a kill: $(cat "$place/facts" "$place/errors")"
  fi
  verified "over a kill" || fail "over a kill: $(cat "$place/verified")"
done
report full-disk "$cycles" "$((from + cycles - 1))"
