// A gRPC server that answers as a test says, and remembers what it was asked. For what a real server does not do at will.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import * as grpc from "@grpc/grpc-js";
import { grpcServiceDefinition, LanyardClient, type LanyardClientOptions, v1 } from "@lanyard/client";

export interface Asked {
  readonly method: string;
  readonly request: unknown;
  readonly metadata: grpc.Metadata;
  readonly deadline: grpc.Deadline;
}

/** An answer, or a status, or nothing at all. */
export type Reply = object | undefined;

type Answer = (asked: Asked, count: number) => Reply | Promise<Reply>;

const SERVICES = [v1.SessionService, v1.UserService, v1.LinkedAuthService, v1.AttributeService];

export interface Fake {
  readonly asked: Asked[];
  readonly endpoint: string;
  /** The request that came at this place, from 0. */
  request<R extends object>(index: number): R;
  client(options?: LanyardClientOptions): LanyardClient;
}

/** Starts one that is gone when the test is over. */
export async function startFake(test: TestContext, answer: Answer): Promise<Fake> {
  const server = new grpc.Server();
  const asked: Asked[] = [];
  const handle = (method: string): grpc.handleUnaryCall<unknown, unknown> => {
    return async (call, callback) => {
      const one = { method, request: call.request, metadata: call.metadata, deadline: call.getDeadline() };
      asked.push(one);
      const reply = await answer(one, asked.length);
      if (reply instanceof Status) {
        callback(reply.status);
      } else if (reply) {
        callback(null, reply);
      }
    };
  };
  for (const service of SERVICES) {
    const handlers = service.methods.map((method) => [method.localName, handle(method.localName)]);
    server.addService(grpcServiceDefinition(service) as grpc.ServiceDefinition, Object.fromEntries(handlers));
  }
  const port = await new Promise<number>((resolve, reject) => {
    const done = (problem: Error | null, bound: number): void => (problem ? reject(problem) : resolve(bound));
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), done);
  });
  test.after(() => server.forceShutdown());
  const endpoint = `http://127.0.0.1:${port}`;
  const client = (options: LanyardClientOptions = {}): LanyardClient => {
    const made = new LanyardClient(endpoint, { apiKey: "lyk1_of_the_test", ...options });
    test.after(() => made.close());
    return made;
  };
  const request = <R extends object>(index: number): R => {
    const one = asked[index];
    assert.ok(one, `there were ${asked.length} calls`);
    return one.request as R;
  };
  return { asked, endpoint, request, client };
}

/** A refusal of the fake server. */
export class Status {
  constructor(readonly status: { code: grpc.status; details: string; metadata?: grpc.Metadata }) {}
}

export function unavailable(): Status {
  return new Status({ code: grpc.status.UNAVAILABLE, details: "not now" });
}
