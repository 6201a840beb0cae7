#!/usr/bin/env bash
# Sends traces to a running stack, and checks what it says of them. Ends with 0 if all is right.
# TRACEQL_URL, OTLP_URL and PROMETHEUS_URL say where it is; an empty PROMETHEUS_URL leaves metrics out.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export TRACEQL_URL="${TRACEQL_URL-http://127.0.0.1:3200}" PROMETHEUS_URL="${PROMETHEUS_URL-http://127.0.0.1:9090}"
otlp="${OTLP_URL-http://127.0.0.1:4318}"

for _ in $(seq 60); do
    curl --silent --fail --output /dev/null "$TRACEQL_URL/ready" && break
    sleep 1
done
begun="$(date +%s)"
sent="$(python3 "$here/send.py" --to "$otlp" --traces "${TRACES:-200}" --pause 0)"
echo "sent: $sent"
exec python3 "$here/check.py" "$sent" "$begun"
