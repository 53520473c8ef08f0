#!/usr/bin/env bash
# Fills a real file system of 32 MiB to its last byte under `cairn serve`, through the Redis protocol: writes are told that the
# disk is full (over HTTP with 507), reads go on; killed, it starts again; deletes give space back, and writes go on by
# themselves. As root. See README.md.
#
#   tests/rigs/server_full_disk.sh [--count CYCLES | --minutes M]      1 cycle by default
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

while [ $# -gt 0 ]; do
  take_argument "$@"
  [ "$taken" != 0 ] || die "unknown argument $1"
  shift "$taken"
done
need_root
need mount umount mkfs.ext4

on_exit() {
  [ -z "${server:-}" ] || kill -9 "$server" 2>/dev/null
  sleep 0.1
  if mountpoint -q "$place/mnt"; then umount "$place/mnt" || umount -l "$place/mnt"; fi
}

fresh() {
  if mountpoint -q "$place/mnt"; then umount "$place/mnt"; fi
  rm -f "$place/image"
  truncate -s 32M "$place/image"
  mkfs.ext4 -q -m 0 "$place/image"
  mount -o loop "$place/image" "$place/mnt"
  serve || broken "the server does not start: $(<"$place/server.err")"
}

serve() {
  try_server "$place/mnt/db" --durability os --memory-budget 4MiB
}

run_load() { # what, what it is called here, further arguments
  local status=0
  "$load" "$1" "$port" "$place/ledger" "${@:3}" >"$place/facts" 2>"$place/errors" || status=$?
  sed "s/^/$2: /" "$place/facts"
  return "$status"
}

put_over_http() { # the key's name, the value's length
  head -c "$2" /dev/urandom >"$place/value"
  curl -s -o "$place/problem" -w '%{http_code}' -X PUT --data-binary "@$place/value" "http://127.0.0.1:$http_port/v1/kv/$1"
}

# Compaction may have given room back since the last write was refused; so it is filled again, and there must be an end to that.
fill_over_http() {
  local status n
  for ((n = 0; n < 500; n++)); do
    status=$(put_over_http "over-http-$n" 65536)
    case $status in
      201) ;;
      507) return 0 ;;
      *) break ;;
    esac
  done
  echo "PUT $n was answered $status, and not 507: $(<"$place/problem")" >"$place/errors"
  return 1
}

goes_on_over_http() {
  local status
  status=$(put_over_http at-last 3000)
  [ "$status" = 201 ] || { echo "PUT was answered $status, and not 201: $(<"$place/problem")" >"$place/errors" && return 1; }
}

kill_server() {
  { kill -9 "$server" && wait "$server" || true; } 2>/dev/null
  server=
}

build_server
make_fast_place
mkdir "$place/mnt"
server=

# The control: others take what was held back for deletes, and what is free. Then the same must be in vain.
fresh
run_load fill control || broken "the control could not be set up: $(<"$place/errors")"
kill_server
rm -f "$place"/mnt/db/*.reserve
cat /dev/zero >"$place/mnt/more" 2>/dev/null || true
sync
if ! serve; then
  cp "$place/server.err" "$place/errors"
elif run_load empty control --patience 10; then
  broken "the control: without the reserve, deletes gave space back all the same"
else
  kill_server
fi
grep -q 'disk is full' "$place/errors" || broken "the control failed of something else: $(<"$place/errors")"
echo "control: $(grep 'disk is full' "$place/errors")"

while goes_on 1; do
  cycles=$((cycles + 1))
  fresh
  # Over a kill, so that the full disk is met by who opens it, too.
  if run_load fill "a full disk" && fill_over_http && kill_server && serve && run_load empty "a full disk" && goes_on_over_http; then
    end_server || fail "the server ended with $ended: $(<"$place/server.err")"
    "$cairn" verify --db "$place/mnt/db" >"$place/verified" 2>&1 || fail "$(<"$place/verified")"
  else
    fail "$(<"$place/errors") $(tail -3 "$place/server.err")"
    kill_server
  fi
  if grep -q panicked "$place/server.err"; then fail "the server panicked: $(<"$place/server.err")"; fi
done
report server-full-disk "$cycles" "$((from + cycles - 1))"
