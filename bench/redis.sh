#!/usr/bin/env bash
# The server beside redis-server: the same load by redis-benchmark, in turns, and the ratios.
#
#   bench/redis.sh [--repetitions N] [--scale PERCENT] [--rows PATTERN] [--cairn BINARY] [--sync-delay US]
#
# 50 clients, values of 100 bytes, a million keys, both on 127.0.0.1 and on the same file system. Durable means the same for
# both: redis-server with `appendfsync always` and `cairn serve --durability sync` answer when the disk has the write;
# `everysec` and `os` when the operating system has it (redis-server syncs each second, cairn when the log is rotated).
# Prints, for each row, the medians of requests a second, of p99 in milliseconds and of the processor's microseconds that the
# server took for a request, and cairn's over redis-server's. With --sync-delay each sync of either server takes so many
# microseconds more, as on a slower disk (slow_sync.c; needs cc). On a machine that has other work only the last means anything.
set -euo pipefail
cd "$(dirname "$0")/.."

repetitions=3
percent=100
wanted=
cairn=
delay=
usage="usage: bench/redis.sh [--repetitions N] [--scale PERCENT] [--rows PATTERN] [--cairn BINARY] [--sync-delay US]"
while [ $# -gt 0 ]; do
  case $1 in
    --repetitions) repetitions=${2:?$usage}; shift 2 ;;
    --scale) percent=${2:?$usage}; shift 2 ;;
    --rows) wanted=${2:?$usage}; shift 2 ;;
    --sync-delay) delay=${2:?$usage}; shift 2 ;;
    --cairn) cairn=${2:?$usage}; shift 2 ;;
    *) echo "$usage" >&2; exit 2 ;;
  esac
done
for tool in redis-server redis-benchmark redis-cli; do
  command -v "$tool" >/dev/null || { echo "$tool is not installed: apt-get install redis" >&2; exit 2; }
done
if [ -z "$cairn" ]; then
  cargo build --release -q -p cairndb-cli
  cairn=${CARGO_TARGET_DIR:-target}/release/cairn
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/cairn-redis.XXXXXX")
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

# What both servers run under.
disk=(env)
if [ -n "$delay" ]; then
  cc -O2 -shared -fPIC -o "$work/slow_sync.so" bench/slow_sync.c -ldl
  disk=(env "LD_PRELOAD=$work/slow_sync.so" "SYNC_DELAY_US=$delay")
fi

# A server's process, by its port.
declare -A process

answers() { # port
  process[$1]=$!
  until redis-cli -p "$1" ping >/dev/null 2>&1; do
    kill -0 "${process[$1]}" 2>/dev/null || { cat "$work"/*"-$1.log" >&2; exit 1; }
    sleep 0.05
  done
}

start_redis() { # port, fsync policy
  mkdir -p "$work/redis-$1"
  "${disk[@]}" redis-server --port "$1" --save "" --appendonly yes --appendfsync "$2" --dir "$work/redis-$1" >"$work/redis-$1.log" &
  answers "$1"
}

start_cairn() { # port, durability
  "${disk[@]}" "$cairn" --db "$work/cairn-$1" --durability "$2" serve --listen "127.0.0.1:$1" --http "" 2>"$work/cairn-$1.log" &
  answers "$1"
}

start_redis 7301 always
start_redis 7302 everysec
start_cairn 7401 sync
start_cairn 7402 os
ticks=$(getconf CLK_TCK)

used() { # port: the processor's microseconds that its server has taken so far, in user and in system mode
  awk -v ticks="$ticks" '{ sub(/.*\) /, ""); printf "%d\n", ($12 + $13) * 1000000 / ticks }' "/proc/${process[$1]}/stat"
}

# A row begins when neither server still does what the last one left: tables to merge, a file to sync.
rest() { # ports
  local before now tries
  for port in "$@"; do
    before=-1
    for ((tries = 0; tries < 100; tries++)); do
      now=$(used "$port")
      if [ "$now" = "$before" ]; then break; fi
      before=$now
      sleep 0.3
    done
  done
}

measure() { # port, test, requests, pipeline: requests a second, p99 in ms, the server's microseconds for each
  local requests=$(($3 * percent / 100)) before
  before=$(used "$1")
  redis-benchmark -p "$1" -t "$2" -n "$requests" -P "$4" -c 50 -d 100 -r 1000000 --csv |
    awk -F, 'NR == 2 { gsub(/"/, ""); printf "%s %s ", $2, $7 }'
  awk -v before="$before" -v after="$(used "$1")" -v n="$requests" 'BEGIN { printf "%.3f\n", (after - before) / n }'
}

# The row's name, redis-server's port, cairn's, the test, how many requests, how many at once.
rows=()
for row in \
  "SET durable|7301|7401|set|50000|1" \
  "SET os|7302|7402|set|300000|1" \
  "GET|7302|7402|get|300000|1" \
  "SET os, pipelines of 16|7302|7402|set|1000000|16" \
  "GET, pipelines of 16|7302|7402|get|2000000|16"; do
  if [[ $row =~ ^[^|]*${wanted:-} ]]; then rows+=("$row"); fi
done
[ ${#rows[@]} != 0 ] || { echo "no row is called $wanted" >&2; exit 2; }
for ((turn = 0; turn < repetitions; turn++)); do
  for row in "${rows[@]}"; do
    IFS='|' read -r name redis_port cairn_port test requests pipeline <<<"$row"
    rest "$redis_port" "$cairn_port"
    echo "$name|redis|$(measure "$redis_port" "$test" "$requests" "$pipeline")" >>"$work/rows"
    echo "$name|cairn|$(measure "$cairn_port" "$test" "$requests" "$pipeline")" >>"$work/rows"
  done
done

median() { # name, who, column
  grep -F "$1|$2|" "$work/rows" | cut -d'|' -f3 | cut -d' ' -f"$3" | sort -g | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'
}
redis-server --version | cut -d' ' -f1-3
printf '%-24s | %9s %9s %6s | %7s %7s %6s | %7s %7s %6s\n' "" "redis /s" "cairn /s" ratio p99 p99 ratio "redis us" "cairn us" ratio
for row in "${rows[@]}"; do
  name=${row%%|*}
  for column in 1 2 3; do echo "$(median "$name" redis $column) $(median "$name" cairn $column)"; done |
    awk -v name="$name" '{ redis[NR] = $1; cairn[NR] = $2; ratio[NR] = $1 > 0 ? $2 / $1 : 0 }
      END { printf "%-24s | %9d %9d %6.2f | %7.3f %7.3f %6.2f | %7.2f %7.2f %6.2f\n", name, redis[1], cairn[1], ratio[1],
        redis[2], cairn[2], ratio[2], redis[3], cairn[3], ratio[3] }'
done
