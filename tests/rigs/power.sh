#!/usr/bin/env bash
# Cuts the power of a real file system under a process that writes from four threads: a file system in a file is shut
# down in mid-flight, unmounted, mounted again (which replays its journal), and held to what was acknowledged. As root.
# See README.md.
#
#   tests/rigs/power.sh ext4|xfs [CYCLES] [--from SEED] [--count CYCLES | --minutes M]      5 cycles by default
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# A directory goes through so many cuts before the next one is begun.
directory_cycles=10

fs=
while [ $# -gt 0 ]; do
  take_argument "$@"
  case $taken,$1 in
    0,ext4 | 0,xfs)
      fs=$1
      shift
      ;;
    0,*)
      [[ $1 =~ ^[0-9]+$ ]] || die "unknown argument $1"
      count=$1
      shift
      ;;
    *) shift "$taken" ;;
  esac
done
[ -n "$fs" ] || die "which file system? ext4 or xfs"
need_root
need xfs_io mount umount "mkfs.$fs"

mount_image() {
  mount -t "$fs" -o loop "$place/image" "$place/mnt"
}

unmount_image() {
  # A process that was just killed may still hold its files for a moment.
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    if umount "$place/mnt" 2>/dev/null; then return; fi
    sleep 0.1
  done
  umount "$place/mnt"
}

on_exit() {
  [ -z "${writer:-}" ] || kill -9 "$writer" 2>/dev/null
  if mountpoint -q "$place/mnt"; then umount "$place/mnt" || umount -l "$place/mnt"; fi
}

fresh() {
  rm -rf "$place/mnt/db"
  : >"$place/ledger"
}

# One life of a writer, and one power cut. The ledger lies outside the file system that loses its power. What is acknowledged
# while that is shut down is not held to: the kernel may tell of success a sync that it then drops (shutdown_probe.py).
cycle() { # seed, further arguments of the writer
  local seed=$1
  shift
  RANDOM=$((seed % 32768))
  below 400
  local delay=$((20 + drawn))
  start_writer "$place/mnt/db" "$place/ledger" --seed "$seed" "$@"
  # It waits for the word, so that little time passes from there to the shutdown.
  exec 6> >(exec xfs_io -x "$place/mnt" >/dev/null)
  local cutter=$!
  sleep "$(seconds "$delay")"
  echo cut >>"$place/ledger"
  # Without `-f`, and so without writing out the journal that is in memory: from here on nothing reaches the image.
  echo shutdown >&6
  exec 6>&-
  wait "$cutter" || fail "seed $seed: no shutdown"
  kill_writer
  sed -i '/^cut$/,$ { /^done /d; /^stands$/d; /^cut$/d; }' "$place/ledger"
  # 2: it met the end of its disk before the signal.
  case $ended in 137 | 2) ;; *) fail "seed $seed: the writer ended with $ended: $(<"$place/writer.err")" ;; esac
  acknowledged=$((acknowledged + $(grep -c '^done ' "$place/ledger" || true)))
  unmount_image
  mount_image
}

build
# What is cut off is the file system in the image, whatever the image lies on; in memory more happens between two cuts.
make_fast_place
mkdir "$place/mnt"
truncate -s 512M "$place/image"
case $fs in
  ext4) mkfs.ext4 -q -F "$place/image" ;;
  xfs) mkfs.xfs -q -f "$place/image" ;;
esac
mount_image 2>"$place/said" || die "no $fs can be mounted here: $(<"$place/said")"
acknowledged=0

# The control: with durability `os` nothing is synced for an acknowledgement, and a power cut takes what the kernel had
# not written out by itself. What is left has to be a prefix all the same.
control "$place/mnt/db" os 40 cut

acknowledged=0
judge_cycles "$place/mnt/db" 5
echo "$cycles power cuts on $fs in $SECONDS s, $acknowledged operations acknowledged"
report "power-$fs" "$cycles" "$((seed - 1))"
