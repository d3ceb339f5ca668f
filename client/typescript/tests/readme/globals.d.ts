// What the blocks of the README take for granted; what they import themselves goes before it.

import type * as Lanyard from "@lanyard/client";
import type * as Grpc from "@grpc/grpc-js";

declare global {
  const lanyard: Lanyard.LanyardClient;
  const ust: Lanyard.Ust;
  const cid: string;
  const userId: string;
  const password: string;
  const ErrorReason: typeof Lanyard.ErrorReason;
  const LanyardError: typeof Lanyard.LanyardError;
  const grpcServiceDefinition: typeof Lanyard.grpcServiceDefinition;
  const protect: typeof Lanyard.protect;
  const sessionOf: typeof Lanyard.sessionOf;
  const withCorrelationId: typeof Lanyard.withCorrelationId;

  // A service of the reader's own. Any generated one will do.
  const server: Grpc.Server;
  const GreeterService: typeof Lanyard.v1.UserService;
  const greeting: (username: string) => never;
}
