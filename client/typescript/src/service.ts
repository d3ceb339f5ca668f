// Generated services as grpc-js knows them.

import { type DescMethod, type DescService, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type * as Grpc from "@grpc/grpc-js";
import { grpc } from "./grpc.js";

type Input<M extends DescMethod> = MessageShape<M["input"]>;
type Output<M extends DescMethod> = MessageShape<M["output"]>;

/** The definition of a generated service for `grpc.Server.addService` and `grpc.makeClientConstructor`. */
export type GrpcServiceDefinition<S extends DescService> = {
  readonly [K in keyof S["method"]]: Grpc.MethodDefinition<Input<S["method"][K]>, Output<S["method"][K]>>;
};

/** What a server of a generated service implements. */
export type GrpcImplementation<S extends DescService> = Grpc.UntypedServiceImplementation & {
  [K in keyof S["method"]]: Handler<S["method"][K]>;
};

type Handler<M extends DescMethod> = M extends { methodKind: "unary" }
  ? Grpc.handleUnaryCall<Input<M>, Output<M>>
  : M extends { methodKind: "server_streaming" }
    ? Grpc.handleServerStreamingCall<Input<M>, Output<M>>
    : M extends { methodKind: "client_streaming" }
      ? Grpc.handleClientStreamingCall<Input<M>, Output<M>>
      : Grpc.handleBidiStreamingCall<Input<M>, Output<M>>;

/** The bare stub of a generated service: grpc-js and nothing of ours. */
export type GrpcStub<S extends DescService> = Grpc.Client & {
  readonly [K in keyof S["method"]]: StubMethod<S["method"][K]>;
};

interface UnaryStubMethod<I, O> {
  (request: I, callback: Grpc.requestCallback<O>): Grpc.ClientUnaryCall;
  (request: I, metadata: Grpc.Metadata, callback: Grpc.requestCallback<O>): Grpc.ClientUnaryCall;
  (
    request: I,
    metadata: Grpc.Metadata,
    options: Grpc.CallOptions,
    callback: Grpc.requestCallback<O>,
  ): Grpc.ClientUnaryCall;
}

interface ClientStreamingStubMethod<I, O> {
  (callback: Grpc.requestCallback<O>): Grpc.ClientWritableStream<I>;
  (metadata: Grpc.Metadata, callback: Grpc.requestCallback<O>): Grpc.ClientWritableStream<I>;
  (metadata: Grpc.Metadata, options: Grpc.CallOptions, callback: Grpc.requestCallback<O>): Grpc.ClientWritableStream<I>;
}

type StubMethod<M extends DescMethod> = M extends { methodKind: "unary" }
  ? UnaryStubMethod<Input<M>, Output<M>>
  : M extends { methodKind: "server_streaming" }
    ? (request: Input<M>, metadata?: Grpc.Metadata, options?: Grpc.CallOptions) => Grpc.ClientReadableStream<Output<M>>
    : M extends { methodKind: "client_streaming" }
      ? ClientStreamingStubMethod<Input<M>, Output<M>>
      : (metadata?: Grpc.Metadata, options?: Grpc.CallOptions) => Grpc.ClientDuplexStream<Input<M>, Output<M>>;

/** Makes a generated service known to grpc-js. Methods have their names in the contract, in lower camel case. */
export function grpcServiceDefinition<S extends DescService>(service: S): GrpcServiceDefinition<S> {
  const methods = service.methods.map((method) => [method.localName, methodDefinition(method)]);
  return Object.fromEntries(methods) as GrpcServiceDefinition<S>;
}

/** Makes the class of bare stubs of a generated service. */
export function grpcStub<S extends DescService>(
  service: S,
): new (
  address: string,
  credentials: Grpc.ChannelCredentials,
  options?: Grpc.ClientOptions,
) => GrpcStub<S> {
  const definition = grpcServiceDefinition(service) as Grpc.ServiceDefinition;
  const stub: unknown = grpc.makeClientConstructor(definition, service.typeName);
  return stub as new () => GrpcStub<S>;
}

/** How one method is called. */
export function methodDefinition<M extends DescMethod>(method: M): Grpc.MethodDefinition<Input<M>, Output<M>> {
  const { input, output, methodKind } = method;
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: methodKind === "client_streaming" || methodKind === "bidi_streaming",
    responseStream: methodKind === "server_streaming" || methodKind === "bidi_streaming",
    requestSerialize: (message) => buffer(toBinary(input, message)),
    requestDeserialize: (bytes) => fromBinary(input, bytes) as Input<M>,
    responseSerialize: (message) => buffer(toBinary(output, message)),
    responseDeserialize: (bytes) => fromBinary(output, bytes) as Output<M>,
    originalName: method.localName,
  };
}

/** The same bytes, not copied. */
function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
