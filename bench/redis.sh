#!/usr/bin/env bash
# The server beside redis-server: the same load by redis-benchmark, in turns, and the ratios.
#
#   bench/redis.sh [--repetitions N] [--scale N]
#
# 50 clients, values of 100 bytes, a million keys, both on 127.0.0.1 and on the same file system. Durable means the same for
# both: redis-server with `appendfsync always` and `cairn serve --durability sync` answer when the disk has the write;
# `everysec` and `os` when the operating system has it (redis-server syncs each second, cairn when the log is rotated).
# Prints, for each row, the medians of requests a second and of p99, and cairn's over redis-server's.
set -euo pipefail
cd "$(dirname "$0")/.."

repetitions=3
scale=1
while [ $# -gt 0 ]; do
  case $1 in
    --repetitions) repetitions=$2; shift 2 ;;
    --scale) scale=$2; shift 2 ;;
    *) echo "usage: bench/redis.sh [--repetitions N] [--scale N]" >&2; exit 2 ;;
  esac
done
for tool in redis-server redis-benchmark redis-cli; do
  command -v "$tool" >/dev/null || { echo "$tool is not installed: apt-get install redis" >&2; exit 2; }
done
cargo build --release -q -p cairndb-cli
work=$(mktemp -d "${TMPDIR:-/tmp}/cairn-redis.XXXXXX")
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

start_redis() { # port, fsync policy
  mkdir -p "$work/redis-$1"
  redis-server --port "$1" --save "" --appendonly yes --appendfsync "$2" --dir "$work/redis-$1" >"$work/redis-$1.log" &
  until redis-cli -p "$1" ping >/dev/null 2>&1; do sleep 0.05; done
}

start_cairn() { # port, durability
  target/release/cairn --db "$work/cairn-$1" --durability "$2" serve --listen "127.0.0.1:$1" 2>"$work/cairn-$1.log" &
  until redis-cli -p "$1" ping >/dev/null 2>&1; do sleep 0.05; done
}

start_redis 7301 always
start_redis 7302 everysec
start_cairn 7401 sync
start_cairn 7402 os

measure() { # port, test, requests, pipeline: requests a second and p99 in ms
  redis-benchmark -p "$1" -t "$2" -n $(($3 * scale)) -P "$4" -c 50 -d 100 -r 1000000 --csv |
    awk -F'","' 'NR == 2 { gsub(/"/, ""); print $2, $7 }'
}

# The row's name, redis-server's port, cairn's, the test, how many requests, how many at once.
rows=(
  "SET durable|7301|7401|set|50000|1"
  "SET os|7302|7402|set|300000|1"
  "GET|7302|7402|get|300000|1"
  "SET os, pipelines of 16|7302|7402|set|1000000|16"
  "GET, pipelines of 16|7302|7402|get|2000000|16"
)
for ((turn = 0; turn < repetitions; turn++)); do
  for row in "${rows[@]}"; do
    IFS='|' read -r name redis cairn test requests pipeline <<<"$row"
    echo "$name|redis|$(measure "$redis" "$test" "$requests" "$pipeline")" >>"$work/rows"
    echo "$name|cairn|$(measure "$cairn" "$test" "$requests" "$pipeline")" >>"$work/rows"
  done
done

median() { # name, who, column
  grep -F "$1|$2|" "$work/rows" | cut -d'|' -f3 | cut -d' ' -f"$3" | sort -g | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'
}
redis-server --version | cut -d' ' -f1-3
printf '%-26s %12s %12s %7s %10s %10s %7s\n' "" "redis /s" "cairn /s" ratio "redis p99" "cairn p99" ratio
for row in "${rows[@]}"; do
  name=${row%%|*}
  awk -v name="$name" -v r="$(median "$name" redis 1)" -v c="$(median "$name" cairn 1)" \
    -v rp="$(median "$name" redis 2)" -v cp="$(median "$name" cairn 2)" \
    'BEGIN { printf "%-26s %12d %12d %7.2f %10.3f %10.3f %7.2f\n", name, r, c, c / r, rp, cp, cp / rp }'
done
