// The gRPC runtime, loaded so that it can be traced.
//
// The standard instrumentation of OpenTelemetry hears of a module by `require`. An ESM `import` would pass it by unless
// every service were started with a loader hook; `require` needs none.

import { createRequire } from "node:module";

export const require = createRequire(import.meta.url);
export const grpc = require("@grpc/grpc-js") as typeof import("@grpc/grpc-js");
