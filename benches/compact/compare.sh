#!/bin/bash
# Compacts copies of one bucket with traceql and with Tempo, and says what each took.
#
# usage: compare.sh BUCKET TENANT TRACEQL TEMPO
#
# BUCKET is a folder of tenants; TENANT has at most nine blocks of one level, which become one. A
# folder `compare` is made where this is run. Tempo's scheduler runs beside its worker, which alone is
# measured: from the first second that it is up, idle, to when the last block is marked.
set -eu
bucket=$(realpath "$1") tenant=$2 traceql=$(realpath "$3") tempo=$(realpath "$4")
config=$(realpath "$(dirname "$0")/tempo.yaml")
mkdir -p compare && cd compare
n=$(find "$bucket/$tenant" -name meta.json | wc -l)

rm -rf ours && cp -r "$bucket" ours
/usr/bin/time -f "traceql: %U s user, %S s system, %M kB at most, %e s" "$traceql" compact \
    --source ours --tenant "$tenant" --once --max-blocks 9 --window 24h -o ndjson >ours.json
"$traceql" blocks verify --source ours --tenant "$tenant" >/dev/null

rm -rf tempo && mkdir tempo && cp -r "$bucket" tempo/idle && mkdir tempo/blocks
"$tempo" -config.file="$config" -target=backend-scheduler \
    -server.http-listen-port=3711 -server.grpc-listen-port=3712 >tempo/scheduler.log 2>&1 &
scheduler=$!
"$tempo" -config.file="$config" -target=backend-worker \
    -server.http-listen-port=3721 -server.grpc-listen-port=3722 >tempo/worker.log 2>&1 &
worker=$!
trap 'kill $scheduler $worker' EXIT
ticks() { awk '{ print $14, $15 }' "/proc/$worker/stat"; }
sleep 5
before=$(ticks)
mv "tempo/idle/$tenant" tempo/blocks/
until [ "$(find "tempo/blocks/$tenant" -name meta.compacted.json | wc -l)" = "$n" ]; do sleep 0.05; done
sleep 0.5
after=$(ticks)
echo "$before $after $(awk '/VmHWM/ { print $2 }' "/proc/$worker/status") $(getconf CLK_TCK)" |
    awk '{ printf "tempo: %.2f s user, %.2f s system, %d kB at most\n", ($3-$1)/$6, ($4-$2)/$6, $5 }'
"$traceql" blocks verify --source tempo/blocks --tenant "$tenant" >/dev/null || echo "tempo: the verifier has findings"
