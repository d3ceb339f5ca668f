// OpenTelemetry as any service sets it up; nothing in it is about Lanyard. Loaded before everything else (`node --import`).
// Spans go to OTEL_EXPORTER_OTLP_ENDPOINT, if that is set; the trace goes on to others in any case.

import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { registerInstrumentations } from "@opentelemetry/instrumentation";
import { GrpcInstrumentation } from "@opentelemetry/instrumentation-grpc";
import { HttpInstrumentation } from "@opentelemetry/instrumentation-http";
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const isExported = process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] !== undefined;
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": process.env["OTEL_SERVICE_NAME"] ?? "whoami-typescript" }),
  spanProcessors: isExported ? [new BatchSpanProcessor(new OTLPTraceExporter())] : [],
});
provider.register();
registerInstrumentations({
  instrumentations: [new HttpInstrumentation(), new UndiciInstrumentation(), new GrpcInstrumentation()],
});

// What is not sent yet is sent before the end.
process.once("SIGTERM", () => void provider.shutdown().finally(() => process.exit(0)));
