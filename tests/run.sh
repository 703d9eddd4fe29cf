#!/usr/bin/env bash
# Everything that can be tested, in one command: tests/run.sh
#
# Installs redis-server if it is missing, builds, runs the project's tests, those of Redis also with version 6.2, then checks the release
# build against what a real daprd does (tests/golden), and its HTTP API against openapi/sidestream.yaml. Needs a Rust toolchain. No service
# has to run before it, and none is left running. Exit code 0 only if nothing failed; what could not be tested here is named in the summary.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/needs.sh

# The families of recorded cases that are done. One a line.
FAMILIES="
publish
publish_memory
publish_errors
bulk_publish
bulk_subscribe
discovery
declarative
routing
verdict
foreign_entries
cli
components
subscription_files
scopes
health
metadata
routes
not_configured
api_errors
shutdown
app_health
resilient_delivery
security
trace_headers
hot_reload
configuration
limits
resiliency_files
uds
public_port
"

report=""
failed=0

# step NAME COMMAND...: run it, note how it ended and how long it took. Exit code 77 says that it could not be done here.
step() {
    local name=$1 begun=$SECONDS code=0
    shift
    echo
    echo "=== $name"
    "$@" </dev/null || code=$?
    if [ "$code" -eq 0 ]; then
        report+="  passed  $name ($((SECONDS - begun)) s)"$'\n'
    elif [ "$code" -eq 77 ]; then
        report+="  skipped $name, see above"$'\n'
    else
        report+="  FAILED  $name ($((SECONDS - begun)) s)"$'\n'
        failed=1
        return 1
    fi
}

finish() {
    echo
    echo "=== Summary"
    printf '%s' "$report"
    if [ "$failed" -eq 0 ]; then echo "Nothing failed."; else echo "Something FAILED, see above."; fi
    exit "$failed"
}

needed() {
    need cc gcc libc6-dev && need redis-server redis-server && need openssl openssl && need python3 python3 || return 1
    if ! command -v cargo >/dev/null; then
        echo "cargo is missing. Please install Rust, see https://rustup.rs" >&2
        return 1
    fi
}

golden() {
    python3 -B tests/golden/golden.py check --sidecar "${CARGO_TARGET_DIR:-target}/release/sidestream" \
        --only "^($(echo $FAMILIES | tr ' ' '|'))/" --jobs 4
}

step "what is needed" needed || finish
step "cargo test" cargo test --locked
step "Redis 6.2" tests/redis62.sh
step "release build" cargo build --release --locked || finish
step "recorded cases of daprd" golden
step "HTTP API against its description" tests/schemathesis.sh "${CARGO_TARGET_DIR:-target}/release/sidestream"
finish
