# What the rigs of the server share besides: the build, and a server that runs. Sourced, not run.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Builds what is shipped, optimised, and the clients that write down what they were told; leaves their paths in `cairn` and
# `load`, and the directory of what is built in `target`.
build_server() {
  (cd "$root" && cargo build --release --quiet --locked -p cairndb-cli --bin cairn --example load)
  target=${CARGO_TARGET_DIR:-$root/target}
  cairn=$target/release/cairn
  load=$target/release/examples/load
}

# Starts a server on free ports; leaves its process in `server` and the ports in `port` and `http_port`.
start_server() { # directory, further arguments of the command
  try_server "$@" || broken "the server does not start: $(<"$place/server.err")"
}

# As `start_server`, where it may be that it does not start.
try_server() {
  local db=$1
  shift
  "$cairn" serve --db "$db" --listen 127.0.0.1:0 --http 127.0.0.1:0 "$@" 2>"$place/server.err" &
  server=$!
  local tries
  for ((tries = 0; tries < 200; tries++)); do
    port=$(sed -n 's/.*redis=127\.0\.0\.1:\([0-9]*\).*/\1/p' "$place/server.err" | head -1)
    http_port=$(sed -n 's/.*http=127\.0\.0\.1:\([0-9]*\).*/\1/p' "$place/server.err" | head -1)
    [ -z "$port" ] || return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
  done
  server=
  return 1
}

# Asks the server to end, and waits; its exit status is left in `ended`.
end_server() {
  kill -TERM "$server" 2>/dev/null || true
  ended=0
  wait "$server" || ended=$?
  server=
  [ "$ended" = 0 ]
}

on_exit() {
  [ -z "${server:-}" ] || kill -9 "$server" 2>/dev/null
}

# Copies the scripts of crates/cairndb-server/tests/NAME below target, with what they need of Python and of npm: there is `installed`.
install_scripts() { # the directory's name
  scripts=$root/crates/cairndb-server/tests/$1
  installed=$target/$1
  mkdir -p "$installed"
  # What an import finds is searched for beside the script.
  cp "$scripts"/*.py "$scripts"/*.mjs "$scripts"/*.json "$installed"
  if ! "$installed/venv/bin/pip" --version >/dev/null 2>&1; then
    python3 -m venv "$installed/venv" || die "python3 cannot make a virtual environment: python3-venv is missing"
  fi
  if ! cmp -s "$scripts/requirements.txt" "$installed/requirements.done"; then
    "$installed/venv/bin/pip" install -q --disable-pip-version-check -r "$scripts/requirements.txt" >&2 ||
      die "pip cannot install $(tr '\n' ' ' <"$scripts/requirements.txt")"
    cp "$scripts/requirements.txt" "$installed/requirements.done"
  fi
  if ! cmp -s "$scripts/package-lock.json" "$installed/package-lock.done"; then
    (cd "$installed" && npm ci --silent --no-audit --no-fund >&2) || die "npm cannot install what package-lock.json names"
    cp "$scripts/package-lock.json" "$installed/package-lock.done"
  fi
}
