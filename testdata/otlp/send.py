"""Sends two traces with the OpenTelemetry SDK: `send.py grpc|http [gzip] [--fail]`.

The address comes from OTEL_EXPORTER_OTLP_ENDPOINT, as in every program that uses the SDK.
"""

import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

if "grpc" in sys.argv:
    from grpc import Compression
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

gzip = Compression.Gzip if "gzip" in sys.argv else None
provider = TracerProvider(resource=Resource.create({"service.name": "sender"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(compression=gzip)))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("send.py")

for number in range(2):
    with tracer.start_as_current_span("POST /order", kind=SpanKind.SERVER) as root:
        root.set_attribute("order.number", number)
        for item in range(3):
            with tracer.start_as_current_span("reserve item", kind=SpanKind.CLIENT) as span:
                span.set_attribute("item", item)
        with tracer.start_as_current_span("charge", kind=SpanKind.CLIENT) as span:
            if number == 1:
                span.set_status(Status(StatusCode.ERROR, "card declined"))

provider.shutdown()
sys.exit(3 if "--fail" in sys.argv else 0)
