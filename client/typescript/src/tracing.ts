// The trace that a call belongs to. `@opentelemetry/api` is an optional peer: without it nothing is carried.

import type * as Grpc from "@grpc/grpc-js";
import type { TextMapSetter } from "@opentelemetry/api";
import { require } from "./grpc.js";

const api = load();

function load(): typeof import("@opentelemetry/api") | undefined {
  try {
    return require("@opentelemetry/api");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND") {
      return undefined;
    }
    throw error;
  }
}

const setter: TextMapSetter<Grpc.Metadata> = {
  set: (metadata, key, value) => metadata.set(key, value),
};

/** Writes `traceparent` and `tracestate` of the active span, if it is part of a trace. */
export function injectTraceContext(metadata: Grpc.Metadata): void {
  api?.propagation.inject(api.context.active(), metadata, setter);
}
