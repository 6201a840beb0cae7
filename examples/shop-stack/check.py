#!/usr/bin/env python3
"""The checks of smoke.sh: what the stack must say of the traces that send.py has just sent.

usage: check.py WHAT_WAS_SENT UNIX_SECONDS_WHEN_IT_BEGAN
Every check waits up to a minute: traces are searchable after a moment, metrics after a scrape.
"""
import json, os, sys, time, urllib.error, urllib.parse, urllib.request

TRACEQL, PROMETHEUS = os.environ["TRACEQL_URL"], os.environ["PROMETHEUS_URL"]
SENT, BEGUN = json.loads(sys.argv[1]), int(sys.argv[2])
SLOW = '{resource.service.name="srekubecraftio-service" && name="createLogEntry-1" && traceDuration>=300ms}'
# Where nobody else sends, counts are exact; elsewhere there may be more.
ALONE = bool(os.environ.get("ALONE"))
failures = 0


def get(url, path, **parameters):
    query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
    with urllib.request.urlopen(url + path + query, timeout=30) as answer:
        return json.load(answer)


def check(what, question, is_right):
    """Asks until the answer is right, for a minute."""
    global failures
    until, found = time.time() + float(os.environ.get("PATIENCE", 60)), None
    while True:
        try:
            found = question()
            if is_right(found):
                print(f"ok    {what}: {found}")
                return found
        except (OSError, KeyError, IndexError) as error:
            found = error
        if time.time() > until:
            failures += 1
            print(f"WRONG {what}: {found}")
            return None
        time.sleep(1)


def count_is(expected):
    return lambda found: found == expected if ALONE else found >= expected


def search(query):
    window = {"start": BEGUN - 5, "end": int(time.time()) + 5}
    return get(TRACEQL, "/api/search", q=query, limit=1000, **window)["traces"]


def samples(query):
    return get(PROMETHEUS, "/api/v1/query", query=query)["data"]["result"]


def number(query):
    result = samples(query)
    return float(result[0]["value"][1]) if result else 0.0


def span_count(trace):
    groups = [scope for resource in trace["trace"]["resourceSpans"] for scope in resource["scopeSpans"]]
    return sum(len(group["spans"]) for group in groups)


check("slow traces", lambda: len(search(SLOW)), count_is(SENT["slow"]))
check("failed traces", lambda: len(search("{ status = error && kind = server }")), count_is(SENT["failed"]))
check("spans of a trace", lambda: span_count(get(TRACEQL, f"/api/v2/traces/{SENT['id']}")),
      lambda n: n == SENT["spans"] // SENT["traces"])
check("services", lambda: [v["value"] for v in get(TRACEQL, "/api/v2/search/tag/resource.service.name/values",
      start=BEGUN - 5, end=int(time.time()) + 5)["tagValues"]], lambda v: sorted(v) == ["srekubecraftio-service", "web"])

if PROMETHEUS:
    served = 'traces_spanmetrics_calls_total{service="srekubecraftio-service",span_kind="SPAN_KIND_SERVER"'
    check("calls", lambda: number(f"sum({served}}})"), count_is(SENT["traces"]))
    check("failed calls", lambda: number(f'sum({served},status_code="STATUS_CODE_ERROR"}})'), count_is(SENT["failed"]))
    check("calls of one service by another", lambda: number(
        'sum(traces_service_graph_request_total{client="web",server="srekubecraftio-service"})'), count_is(SENT["traces"]))
    check("calls of the database", lambda: number(
        'sum(traces_service_graph_request_total{connection_type="database",server="entries"})'), count_is(2 * SENT["traces"]))
    check("the objective's rule", lambda: number('count(slo:requests:rate5m{service="srekubecraftio-service"})'), lambda n: n == 1)

    def exemplar():
        found = get(PROMETHEUS, "/api/v1/query_exemplars", query='traces_spanmetrics_latency_bucket{service="srekubecraftio-service"}',
                    start=BEGUN - 5, end=time.time() + 5)["data"]
        return found[-1]["exemplars"][-1]["labels"]["traceID"]

    trace_id = check("an exemplar", exemplar, bool)
    if trace_id:
        check("its trace", lambda: span_count(get(TRACEQL, f"/api/v2/traces/{trace_id}")), lambda n: n > 0)

sys.exit(f"{failures} checks failed" if failures else 0)
