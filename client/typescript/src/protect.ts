// Middleware for gRPC services.

import type * as Grpc from "@grpc/grpc-js";
import { admit, isTransient } from "./access.js";
import type { LanyardClient } from "./client.js";
import { CORRELATION_ID_HEADER } from "./correlation.js";
import type { LanyardError } from "./error.js";
import { grpc } from "./grpc.js";

/** How {@link protect} treats calls. */
export interface ProtectOptions {
  /** Told when Lanyard does not answer; the call is refused in any case. Default: the error goes to the console. */
  onError?(error: LanyardError): void;
}

type Call =
  | Grpc.ServerUnaryCall<unknown, unknown>
  | Grpc.ServerReadableStream<unknown, unknown>
  | Grpc.ServerWritableStream<unknown, unknown>
  | Grpc.ServerDuplexStream<unknown, unknown>;
type Handler = (call: Call, callback?: Grpc.sendUnaryData<unknown>) => void;

/**
 * Lets through only calls with a good token in the metadata `authorization: Bearer ...`; all others end UNAUTHENTICATED.
 * The handlers find the session with {@link sessionOf} and act for its user with {@link subjectOf}.
 *
 * ```ts
 * const greeter: GrpcImplementation<typeof GreeterService> = {
 *   hello: (call, callback) => callback(null, greeting(sessionOf(call).username)),
 * };
 * server.addService(grpcServiceDefinition(GreeterService), protect(lanyard, greeter));
 * ```
 *
 * The correlation ID of `x-correlation-id` (or a new one) is that of everything the handlers do. Where Lanyard does not
 * answer, nobody is let through: the call ends UNAVAILABLE, or INTERNAL where trying again does not help.
 */
export function protect<I extends object>(lanyard: LanyardClient, implementation: I, options: ProtectOptions = {}): I {
  const onError = options.onError ?? ((error) => console.error(error.message));
  return new Proxy(implementation, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      // grpc-js takes the methods that it finds by their names; what is no function is no method.
      return typeof member === "function" ? protectedHandler(lanyard, member.bind(target), onError) : member;
    },
  });
}

function protectedHandler(lanyard: LanyardClient, handler: Handler, onError: (error: LanyardError) => void): Handler {
  return (call, callback) => {
    const end = (code: Grpc.status, details: string, correlationId: string): void => {
      const metadata = new grpc.Metadata();
      metadata.set(CORRELATION_ID_HEADER, correlationId);
      const status = Object.assign(new Error(details), { code, details, metadata });
      if (callback) {
        callback(status);
      } else {
        call.emit("error", status);
      }
    };
    const visitor = {
      key: call,
      authorization: text(call.metadata, "authorization"),
      correlationId: text(call.metadata, CORRELATION_ID_HEADER),
      place: { remoteAddr: call.getPeer(), userAgent: text(call.metadata, "user-agent") ?? "" },
    };
    admit(lanyard, visitor, {
      open: () => handler(call, callback),
      refuse: (id) => end(grpc.status.UNAUTHENTICATED, "a good session is required", id),
      fail: (error, id) => {
        onError(error);
        const code = isTransient(error) ? grpc.status.UNAVAILABLE : grpc.status.INTERNAL;
        end(code, "the session cannot be verified", id);
      },
    });
  };
}

function text(metadata: Grpc.Metadata, key: string): string | undefined {
  const [value] = metadata.get(key);
  return typeof value === "string" ? value : undefined;
}
