#!/usr/bin/env bash
# The stack with processes of this machine, in a folder of its own: traceql, and Prometheus if it is
# installed. Runs until Ctrl-C, or as long as the command given to it:
#   run-local.sh                sends traces for ever
#   run-local.sh ./smoke.sh     checks, and ends
# TRACEQL names the binary (default: traceql), STACK_DIR the folder (default: a new one).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
traceql="${TRACEQL:-traceql}"
dir="${STACK_DIR:-$(mktemp -d)}"
http="${HTTP_PORT:-3200}" grpc="${OTLP_GRPC_PORT:-4317}" otlp="${OTLP_HTTP_PORT:-4318}" metrics="${PROMETHEUS_PORT:-9090}"
mkdir -p "$dir/prometheus"
started=()
stop() {
    # Only what was started here, the last first; traceql flushes before it ends.
    for ((i = ${#started[@]} - 1; i >= 0; i--)); do
        kill "${started[i]}" 2>/dev/null || true
        wait "${started[i]}" 2>/dev/null || true
    done
}
trap stop EXIT

"$traceql" serve --source "$dir/blocks" --wal "$dir/wal" --listen "127.0.0.1:$http" \
    --otlp-grpc "127.0.0.1:$grpc" --otlp-http "127.0.0.1:$otlp" \
    --metrics-processors span-metrics,service-graphs >"$dir/traceql.log" 2>&1 &
started+=($!)

export TRACEQL_URL="http://127.0.0.1:$http" OTLP_URL="http://127.0.0.1:$otlp" PROMETHEUS_URL=""
if command -v prometheus >/dev/null; then
    cp "$here"/prometheus/rules.yml "$dir/prometheus/"
    sed "s/traceql:3200/127.0.0.1:$http/" "$here/prometheus/prometheus.yml" >"$dir/prometheus/prometheus.yml"
    prometheus --config.file="$dir/prometheus/prometheus.yml" --storage.tsdb.path="$dir/metrics" \
        --web.listen-address="127.0.0.1:$metrics" --enable-feature=exemplar-storage >"$dir/prometheus.log" 2>&1 &
    started+=($!)
    PROMETHEUS_URL="http://127.0.0.1:$metrics"
else
    echo "prometheus is not installed: traces only" >&2
fi
echo "traceql: $TRACEQL_URL  OTLP: $OTLP_URL, 127.0.0.1:$grpc  Prometheus: ${PROMETHEUS_URL:-none}  data and logs: $dir" >&2

if [ $# -gt 0 ]; then
    ALONE=1 "$@"
else
    python3 "$here/send.py" --to "$OTLP_URL" --forever --pause 2
fi
