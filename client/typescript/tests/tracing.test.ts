// One trace goes through, by the standard instrumentation and nothing else. Set up as a service does it: before the client
// is loaded, which is why that is imported late.

import assert from "node:assert/strict";
import { test } from "node:test";
import { SpanKind, trace } from "@opentelemetry/api";
import { registerInstrumentations } from "@opentelemetry/instrumentation";
import { GrpcInstrumentation } from "@opentelemetry/instrumentation-grpc";
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const exporter = new InMemorySpanExporter();
new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();
registerInstrumentations({ instrumentations: [new GrpcInstrumentation()] });

test("a call is a span of the trace it is made in, and the server hears of that span", async (t) => {
  const { startFake } = await import("./support/fake.js");
  const { good } = await import("./support/answers.js");
  const fake = await startFake(t, () => good("alice"));
  const lanyard = fake.client();
  await trace.getTracer("test").startActiveSpan("request", async (request) => {
    await lanyard.verify("lyu1_secret");
    request.end();
  });
  const spans = exporter.getFinishedSpans();
  const call = spans.find(
    ({ kind, name }) => kind === SpanKind.CLIENT && name.endsWith("SessionService/VerifySession"),
  );
  const request = spans.find(({ name }) => name === "request");
  assert.ok(call && request, spans.map(({ name }) => name).join());
  assert.equal(call.parentSpanContext?.spanId, request.spanContext().spanId);
  const { traceId, spanId } = call.spanContext();
  assert.deepEqual(fake.asked[0]?.metadata.get("traceparent"), [`00-${traceId}-${spanId}-01`]);
  assert.doesNotMatch(JSON.stringify(spans.map(({ attributes, events }) => [attributes, events])), /lyu1|lyk1/);
});
