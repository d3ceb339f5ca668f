// Services that are protected.

import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { after, before, type TestContext, test } from "node:test";
import * as grpc from "@grpc/grpc-js";
import {
  create,
  currentCorrelationId,
  type GrpcImplementation,
  grpcServiceDefinition,
  grpcStub,
  LanyardClient,
  protect,
  requireSession,
  sessionOf,
  subjectOf,
  v1,
} from "@lanyard/client";
import express from "express";
import { type Lanyard, startLanyard } from "./support/server.js";

let server: Lanyard;
let lanyard: LanyardClient;
let ust: string;

before(async () => {
  server = await startLanyard();
  lanyard = new LanyardClient(server.endpoint, { apiKey: server.callerKey });
  ust = (await lanyard.logIn(server.demoUser.username, server.demoUser.password)).ust.expose();
});

after(async () => {
  lanyard.close();
  await server.stop();
});

/** A client of a server that is not there. */
function away(t: TestContext): LanyardClient {
  const client = new LanyardClient("http://127.0.0.1:1", { apiKey: server.callerKey, retry: false });
  t.after(() => client.close());
  return client;
}

async function startHttp(t: TestContext, client: LanyardClient): Promise<string> {
  const app = express();
  app.set("env", "production");
  app.get("/open", (request, response) => void response.send(sessionOf(request).username));
  app.use(requireSession(client));
  app.use(express.json());
  app.post("/hello", async (request, response) => {
    const { userId } = await subjectOf(request).currentUser();
    assert.equal(userId, sessionOf(request).userId);
    response.json({ username: sessionOf(request).username, id: currentCorrelationId(), body: request.body as unknown });
  });
  // Express tells the console, too.
  t.mock.method(console, "error", () => undefined);
  const listening = app.listen(0, "127.0.0.1");
  t.after(() => listening.close());
  await new Promise((resolve) => listening.once("listening", resolve));
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
}

function hello(address: string, headers: Record<string, string>): Promise<Response> {
  const init = { method: "POST", body: '{"a":1}', headers: { "content-type": "application/json", ...headers } };
  return fetch(`${address}/hello`, init);
}

test("Express lets a good session through, with its correlation ID", async (t) => {
  const address = await startHttp(t, lanyard);
  const answer = await hello(address, { authorization: `Bearer ${ust}`, "x-correlation-id": "order-4711" });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("x-correlation-id"), "order-4711");
  assert.deepEqual(await answer.json(), { username: server.demoUser.username, id: "order-4711", body: { a: 1 } });
});

test("Express refuses everybody else, and does not tell why", async (t) => {
  const address = await startHttp(t, lanyard);
  const bodies = new Set<string>();
  for (const authorization of ["Bearer junk", `Bearer ${ust}x`, `Basic ${ust}`, "Bearer", `Bearer ${ust} x`, ""]) {
    const answer = await hello(address, { "x-correlation-id": "bad id", ...(authorization && { authorization }) });
    assert.equal(answer.status, 401, authorization);
    assert.match(answer.headers.get("www-authenticate") ?? "", /^Bearer/);
    const { error, correlation_id: id } = (await answer.json()) as Record<string, string>;
    assert.notEqual(id, "bad id");
    assert.equal(answer.headers.get("x-correlation-id"), id);
    bodies.add(String(error));
  }
  assert.equal(bodies.size, 1);
});

test("Express lets nobody through while Lanyard does not answer", async (t) => {
  const gone = await hello(await startHttp(t, away(t)), { authorization: `Bearer ${ust}` });
  assert.equal(gone.status, 503);
  assert.equal(gone.headers.get("retry-after"), "1");
  const nobody = new LanyardClient(server.endpoint);
  t.after(() => nobody.close());
  const misconfigured = await hello(await startHttp(t, nobody), { authorization: `Bearer ${ust}` });
  assert.equal(misconfigured.status, 500);
  assert.doesNotMatch(await misconfigured.text(), /CALLER|lyu1/);
});

test("what is not protected has no session", async (t) => {
  const answer = await fetch(`${await startHttp(t, lanyard)}/open`, { headers: { authorization: `Bearer ${ust}` } });
  assert.equal(answer.status, 500);
  assert.throws(() => subjectOf({}), /nothing protects this/);
});

type Names = Pick<GrpcImplementation<typeof v1.UserService>, "getCurrentUser">;

/** A service that answers who is there; its contract is one that is at hand. */
async function startGrpc(t: TestContext, client: LanyardClient, told: string[] = []) {
  class Users {
    readonly greeting = "hello";
    getCurrentUser: Names["getCurrentUser"] = (call, callback) => {
      const username = `${this.greeting} ${sessionOf(call).username} ${currentCorrelationId()}`;
      callback(null, create(v1.GetCurrentUserResponseSchema, { user: { username } }));
    };
  }
  const implementation = protect(client, new Users(), { onError: (error) => told.push(error.name) });
  const service = new grpc.Server();
  service.addService(grpcServiceDefinition(v1.UserService), implementation as never);
  const port = await new Promise<number>((resolve, reject) => {
    const done = (problem: Error | null, bound: number): void => (problem ? reject(problem) : resolve(bound));
    service.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), done);
  });
  t.after(() => service.forceShutdown());
  const Stub = grpcStub(v1.UserService);
  const stub = new Stub(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  t.after(() => stub.close());
  return (authorization?: string): Promise<string> => {
    const metadata = new grpc.Metadata();
    metadata.set("x-correlation-id", "order-4711");
    if (authorization) {
      metadata.set("authorization", authorization);
    }
    return new Promise((resolve, reject) => {
      stub.getCurrentUser(create(v1.GetCurrentUserRequestSchema), metadata, (problem, answer) =>
        problem ? reject(problem) : resolve(answer?.user?.username ?? ""),
      );
    });
  };
}

const codeOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => "OK",
    ({ code, metadata }: grpc.ServiceError) => [grpc.status[code], metadata.get("x-correlation-id")[0]],
  );

test("a gRPC service lets a good session through and refuses everybody else", async (t) => {
  const ask = await startGrpc(t, lanyard);
  assert.equal(await ask(`Bearer ${ust}`), `hello ${server.demoUser.username} order-4711`);
  for (const authorization of [undefined, "Bearer junk", `Basic ${ust}`]) {
    assert.deepEqual(await codeOf(ask(authorization)), ["UNAUTHENTICATED", "order-4711"]);
  }
});

test("a gRPC service lets nobody through while Lanyard does not answer, and tells its operator", async (t) => {
  const told: string[] = [];
  const ask = await startGrpc(t, away(t), told);
  assert.deepEqual(await codeOf(ask(`Bearer ${ust}`)), ["UNAVAILABLE", "order-4711"]);
  assert.deepEqual(told, ["LanyardError"]);
  const nobody = new LanyardClient(server.endpoint);
  t.after(() => nobody.close());
  assert.deepEqual(await codeOf((await startGrpc(t, nobody, told))(`Bearer ${ust}`)), ["INTERNAL", "order-4711"]);
});

test("a protected stream ends UNAUTHENTICATED", async (t) => {
  const { path } = { path: "/test.Stream/Watch" };
  const same = (bytes: Buffer): Buffer => bytes;
  const method = { path, requestStream: true, responseStream: true, requestSerialize: same, requestDeserialize: same };
  const definition = { watch: { ...method, responseSerialize: same, responseDeserialize: same } };
  const watch = (call: grpc.ServerDuplexStream<Buffer, Buffer>): void => {
    call.on("data", (bytes: Buffer) => call.write(bytes)).on("end", () => call.end());
  };
  const service = new grpc.Server();
  service.addService(definition as grpc.ServiceDefinition, protect(lanyard, { watch }) as never);
  const port = await new Promise<number>((resolve) => {
    service.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (_, bound) => resolve(bound));
  });
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  t.after(() => {
    client.close();
    service.forceShutdown();
  });
  const tell = (authorization: string): Promise<[string[], string]> => {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", authorization);
    const stream = client.makeBidiStreamRequest(path, same, same, metadata);
    const received: string[] = [];
    stream.on("data", (bytes: Buffer) => received.push(bytes.toString())).on("error", () => undefined);
    stream.write(Buffer.from("a"));
    stream.end(Buffer.from("b"));
    return new Promise((resolve) => {
      stream.on("status", ({ code }: grpc.StatusObject) => resolve([received, String(grpc.status[code])]));
    });
  };
  assert.deepEqual(await tell(`Bearer ${ust}`), [["a", "b"], "OK"]);
  assert.deepEqual(await tell("Bearer junk"), [[], "UNAUTHENTICATED"]);
});
