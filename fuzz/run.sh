#!/bin/sh
# Fuzzes one target for some minutes: fuzz/run.sh TARGET MINUTES
#
# With the address sanitizer, within 512 MiB. Needs the nightly toolchain and cargo-fuzz. The kept corpus is read and not
# written: what is found new goes to a scratch directory, and an input that crashes to fuzz/artifacts. Ends with one line
# of JSON, and fails if the target did.
set -eu
target=$1
minutes=$2
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/corpus"

cargo +nightly fuzz build "$target" >&2
begun=$(date +%s)
failures=0
cargo +nightly fuzz run "$target" "$scratch/corpus" "fuzz/corpus/$target" -- \
    "-max_total_time=$((minutes * 60))" -rss_limit_mb=512 -timeout=25 -max_len=16384 \
    -print_final_stats=1 >"$scratch/log" 2>&1 || failures=1
seconds=$(($(date +%s) - begun))

stat() {
    sed -n "s/^stat::$1: *\([0-9][0-9]*\).*/\1/p" "$scratch/log" | tail -1
}
count=$(stat number_of_executed_units)
rss=$(stat peak_rss_mb)
# A target that never ran has not passed.
if [ "${count:-0}" -eq 0 ]; then failures=1; fi
if [ "$failures" -ne 0 ]; then tail -60 "$scratch/log" >&2; fi
printf '{"part":"fuzz","target":"%s","count":%s,"seconds":%s,"failures":%s,"rss_peak_mb":%s}\n' \
    "$target" "${count:-0}" "$seconds" "$failures" "${rss:-0}"
exit "$failures"
