// What the blocks of the README take for granted; what they import themselves goes before it.

import type { DescService } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import type * as Grpc from "@grpc/grpc-js";
import type * as Lanyard from "@lanyard/client";

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

  type GrpcImplementation<S extends DescService> = Lanyard.GrpcImplementation<S>;

  // A service of the reader's own.
  const server: Grpc.Server;
  const GreeterService: GenService<{
    hello: {
      methodKind: "unary";
      input: typeof Lanyard.v1.GetCurrentUserRequestSchema;
      output: typeof Lanyard.v1.GetCurrentUserResponseSchema;
    };
  }>;
  const greeting: (username: string) => Lanyard.v1.GetCurrentUserResponse;
}
