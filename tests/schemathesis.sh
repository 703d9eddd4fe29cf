#!/usr/bin/env bash
# The HTTP API against its description: tests/schemathesis.sh SIDESTREAM
#
# Sends what openapi/sidestream.yaml allows, and what it does not, to a sidecar with a broker in memory. Every status, content type, header
# and body must be one that the document names for the operation. Schemathesis is installed into the target folder; where that cannot be
# done nothing is tested: the exit code is 77 then, which tests/run.sh shows as skipped. The sidecar is stopped again.
set -uo pipefail
sidestream=$(realpath "$1")
cd "$(dirname "$0")/.."

VERSION=4.32.5
EXAMPLES=15
SEED=1
home=$(realpath -m "${CARGO_TARGET_DIR:-target}/schemathesis")
document=$PWD/openapi/sidestream.yaml
checks=status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance
skipped=77

skip() {
    echo "skipped: $*"
    exit "$skipped"
}

# Python 3.10 is the oldest that Schemathesis runs with.
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || skip "there is no Python 3.10 or later"
if ! "$home/bin/schemathesis" --version 2>/dev/null | grep -qF "$VERSION"; then
    python3 -m venv --clear "$home" || skip "python3 cannot make a virtual environment (python3-venv is missing?)"
    "$home/bin/pip" install --quiet --disable-pip-version-check --retries 1 "schemathesis==$VERSION" ||
        skip "pip cannot install schemathesis $VERSION (no network?)"
fi

folder=$(mktemp -d)
sidecar=""
clean_up() {
    if [ -n "$sidecar" ]; then
        kill "$sidecar" 2>/dev/null
        wait "$sidecar" 2>/dev/null
    fi
    rm -rf "$folder"
}
trap clean_up EXIT

mkdir "$folder/resources"
cat >"$folder/resources/pubsub.yaml" <<'END'
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: pubsub}
spec:
  type: pubsub.in-memory
  version: v1
  metadata:
  - {name: protectedTopics, value: secret}
END
# Most requests are to name a component that is there: all others are answered alike.
cat >"$folder/schemathesis.toml" <<'END'
[dictionaries]
pubsub = { values = ["pubsub"] }
topic = { values = ["orders", "secret", "a/b", "å b"] }
[parameters]
"path.pubsub" = { dictionary = "pubsub", probability = 0.8 }
"path.topic" = { dictionary = "topic", probability = 0.5 }
END

# Two ports that were free a moment ago.
ports=$(python3 -c '
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in sockets])')
read -r port grpc_port <<<"$ports"
"$sidestream" --app-id app --dapr-http-port "$port" --dapr-grpc-port "$grpc_port" --dapr-listen-addresses 127.0.0.1 --enable-metrics=false \
    --log-level error --resources-path "$folder/resources" &
sidecar=$!
for _ in $(seq 100); do
    python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/v1.0/healthz', timeout=1)" 2>/dev/null && break
    kill -0 "$sidecar" 2>/dev/null || break
    sleep 0.1
done

# The operation that ends the sidecar is left out; tests/it and the recorded cases have it.
(cd "$folder" && exec "$home/bin/schemathesis" --config-file schemathesis.toml run "$document" \
    --url "http://127.0.0.1:$port" --exclude-operation-id shutdown --checks "$checks" --phases examples,coverage,fuzzing \
    --seed "$SEED" --max-examples "$EXAMPLES" --workers 1 --warnings off --no-color)
code=$?
if ! kill -0 "$sidecar" 2>/dev/null; then
    echo "the sidecar has ended"
    code=1
fi
exit "$code"
