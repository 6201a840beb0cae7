#!/usr/bin/env python3
"""Sends traces of a small shop over OTLP/HTTP (JSON). Needs nothing but Python.

usage: send.py [--to URL] [--traces N] [--seed S] [--pause SECONDS] [--forever] [--log FILE]

A trace is a call of `web` to `srekubecraftio-service`, which writes a log entry in two steps
(`createLogEntry-1`, `createLogEntry-2`), each asking a database. Every fourth trace is slow (at
least 300 ms), every tenth fails. What was sent is printed as one line of JSON, for smoke.sh.
With --log each trace also writes a line of a log that names it, for the log shipper.
"""
import argparse, json, random, sys, time, urllib.error, urllib.request

CLIENT, SERVER, INTERNAL = 3, 2, 1
MS = 1_000_000


def attribute(key, value):
    kind = "intValue" if isinstance(value, int) else "stringValue"
    return {"key": key, "value": {kind: str(value)}}


class Trace:
    """Spans of one trace by service; times are milliseconds before now."""

    def __init__(self, numbers, now):
        self.id, self.now, self.numbers, self.spans = f"{numbers.getrandbits(128):032x}", now, numbers, {}

    def span(self, service, name, kind, parent, start, end, failed=False, **attributes):
        span_id = f"{self.numbers.getrandbits(64) | 1:016x}"
        span = {
            "traceId": self.id, "spanId": span_id, "name": name, "kind": kind,
            "startTimeUnixNano": str(self.now - start * MS), "endTimeUnixNano": str(self.now - end * MS),
            "attributes": [attribute(key.replace("__", "."), value) for key, value in attributes.items()],
            "status": {"code": 2, "message": "out of stock"} if failed else {},
        }
        if parent:
            span["parentSpanId"] = parent
        self.spans.setdefault(service, []).append(span)
        return span_id

    def resource_spans(self):
        return [
            {"resource": {"attributes": [attribute("service.name", service), attribute("k8s.namespace.name", "shop")]},
             "scopeSpans": [{"scope": {"name": "shop-stack"}, "spans": spans}]}
            for service, spans in self.spans.items()
        ]


def make(numbers, n):
    slow, failed = n % 4 == 0, n % 10 == 0
    millis = numbers.randrange(320, 900) if slow else numbers.randrange(40, 250)
    trace = Trace(numbers, time.time_ns())
    service = "srekubecraftio-service"
    call = trace.span("web", "POST /log", CLIENT, None, millis, 0, failed, http__request__method="POST")
    serve = trace.span(service, "POST /log", SERVER, call, millis - 2, 2, failed,
                       http__route="/log", http__response__status_code=500 if failed else 201)
    middle = millis // 2
    for step, (start, end) in enumerate([(millis - 4, middle), (middle, 4)], 1):
        entry = trace.span(service, f"createLogEntry-{step}", INTERNAL, serve, start, end)
        trace.span(service, "INSERT entries", CLIENT, entry, start - 1, end + 1,
                   db__system="postgresql", db__name="entries")
    return trace, slow, failed


def post(url, traces):
    body = json.dumps({"resourceSpans": [r for trace in traces for r in trace.resource_spans()]}).encode()
    request = urllib.request.Request(url.rstrip("/") + "/v1/traces", body, {"Content-Type": "application/json"})
    for attempt in range(30):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            # Others would be refused again.
            if error.code not in (429, 503):
                sys.exit(f"{url} refuses the traces: {error.code} {error.read().decode(errors='replace')}")
        except OSError:
            pass  # It may not listen yet.
        time.sleep(1)
    sys.exit(f"{url} does not take traces")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--to", default="http://127.0.0.1:4318", help="an OTLP/HTTP receiver")
    arguments.add_argument("--traces", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=None)
    arguments.add_argument("--pause", type=float, default=0.05, help="between two requests")
    arguments.add_argument("--forever", action="store_true")
    arguments.add_argument("--log", default=None)
    options = arguments.parse_args()
    numbers = random.Random(options.seed)
    sent = {"traces": 0, "spans": 0, "slow": 0, "failed": 0, "id": None}
    n = 0
    while options.forever or n < options.traces:
        batch = []
        while len(batch) < 10 and (options.forever or n < options.traces):
            n += 1
            trace, slow, failed = make(numbers, n)
            batch.append(trace)
            sent["traces"] += 1
            sent["spans"] += sum(map(len, trace.spans.values()))
            sent["slow"] += slow
            sent["failed"] += failed
            sent["id"] = trace.id
        post(options.to, batch)
        if options.log:
            with open(options.log, "a") as log:
                for trace in batch:
                    log.write(f"level=info service=srekubecraftio-service traceID={trace.id} msg=\"entry written\"\n")
        time.sleep(options.pause)
    print(json.dumps(sent))


if __name__ == "__main__":
    main()
