// Sends two traces of four spans with the OpenTelemetry SDK for Node: `send.js HOW ADDRESS [gzip]`, where
// HOW is grpc, proto or json for OTLP, zipkin, or jaeger. NODE_PATH says where the packages are.
'use strict';

const {NodeTracerProvider, BatchSpanProcessor} = require('@opentelemetry/sdk-trace-node');
const {resourceFromAttributes} = require('@opentelemetry/resources');
const api = require('@opentelemetry/api');

const [how, address, compression] = process.argv.slice(2);
const otlp = {compression: compression === 'gzip' ? 'gzip' : 'none'};
const exporters = {
  grpc: () => {
    const {OTLPTraceExporter} = require('@opentelemetry/exporter-trace-otlp-grpc');
    return new OTLPTraceExporter({url: `http://${address}`, ...otlp});
  },
  proto: () => {
    const {OTLPTraceExporter} = require('@opentelemetry/exporter-trace-otlp-proto');
    return new OTLPTraceExporter({url: `http://${address}/v1/traces`, ...otlp});
  },
  json: () => {
    const {OTLPTraceExporter} = require('@opentelemetry/exporter-trace-otlp-http');
    return new OTLPTraceExporter({url: `http://${address}/v1/traces`, ...otlp});
  },
  zipkin: () => {
    const {ZipkinExporter} = require('@opentelemetry/exporter-zipkin');
    return new ZipkinExporter({url: `http://${address}/api/v2/spans`});
  },
  jaeger: () => {
    const {JaegerExporter} = require('@opentelemetry/exporter-jaeger');
    return new JaegerExporter({endpoint: `http://${address}/api/traces`});
  },
};

// What an exporter cannot send it tells nobody but its log.
let failed = false;
const fail = (...what) => { failed = true; console.error(...what); };
api.diag.setLogger({error: fail, warn: fail, info() {}, debug() {}, verbose() {}}, api.DiagLogLevel.WARN);

const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({'service.name': `node-${how}`}),
  spanProcessors: [new BatchSpanProcessor(exporters[how]())],
});
const tracer = provider.getTracer('send.js', '1.0');
for (let number = 0; number < 2; number++) {
  const attributes = {'order.number': number, vip: true, share: 0.5};
  const root = tracer.startSpan('POST /order', {kind: api.SpanKind.SERVER, attributes});
  const within = api.trace.setSpan(api.context.active(), root);
  for (let item = 0; item < 2; item++) {
    const span = tracer.startSpan('reserve item', {kind: api.SpanKind.CLIENT, attributes: {item}}, within);
    span.addEvent('reserved', {item});
    span.end();
  }
  const charge = tracer.startSpan('charge', {kind: api.SpanKind.CLIENT}, within);
  charge.setStatus({code: api.SpanStatusCode.ERROR, message: 'card declined'});
  charge.end();
  root.end();
}
provider.shutdown().then(() => process.exit(failed ? 1 : 0), error => { console.error(error); process.exit(1); });
