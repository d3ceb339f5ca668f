// What a call carries.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import {
  currentCorrelationId,
  isCorrelationId,
  LanyardClient,
  LanyardError,
  newCorrelationId,
  v1,
  withCorrelationId,
} from "@lanyard/client";
import { context, propagation, ROOT_CONTEXT, TraceFlags, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { code, good } from "./support/answers.js";
import { type Fake, Status, startFake, unavailable } from "./support/fake.js";

const correlationIds = ({ asked }: Fake): unknown[] => asked.map(({ metadata }) => metadata.get("x-correlation-id")[0]);

test("a new correlation ID is the same in all attempts and another in the next call", async (t) => {
  const fake = await startFake(t, (_, count) => (count === 1 ? unavailable() : good("alice")));
  const lanyard = fake.client();
  await lanyard.verify("ust");
  await lanyard.verify("ust");
  const [first, again, next] = correlationIds(fake);
  assert.equal(first, again);
  assert.notEqual(first, next);
  assert.ok(isCorrelationId(first) && isCorrelationId(next));
});

test("the correlation ID of the context is carried, through what is awaited, and named by the error", async (t) => {
  const fake = await startFake(t, () => new Status({ code: code.INTERNAL, details: "no" }));
  const lanyard = fake.client();
  await withCorrelationId("order-4711", async () => {
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(currentCorrelationId(), "order-4711");
    await assert.rejects(lanyard.verify("ust"), (error) => {
      assert.ok(error instanceof LanyardError);
      assert.equal(error.correlationId, "order-4711");
      assert.match(error.message, /order-4711/);
      return true;
    });
  });
  assert.deepEqual(correlationIds(fake), ["order-4711"]);
  assert.equal(currentCorrelationId(), undefined);
});

test("an explicit correlation ID goes before the one of the context", async (t) => {
  const fake = await startFake(t, () => good("alice"));
  await withCorrelationId("of-the-context", () => fake.client().withCorrelationId("explicit").verify("ust"));
  assert.deepEqual(correlationIds(fake), ["explicit"]);
});

test("only what the contract allows is a correlation ID, and what is none is not repeated", () => {
  for (const id of ["a", "order-4711", "A.b_c:d-9", "x".repeat(128), newCorrelationId()]) {
    assert.equal(withCorrelationId(id, currentCorrelationId), id);
  }
  for (const bad of ["", " ", "a b", "ä", "a\n", "a/b", "x".repeat(129)]) {
    assert.throws(
      () => withCorrelationId(bad, () => assert.fail("must not run")),
      (error) => error instanceof TypeError && (bad.trim() === "" || !error.message.includes(`${bad}.`)),
    );
    assert.throws(() => new LanyardClient("http://127.0.0.1:1").withCorrelationId(bad), TypeError);
  }
});

test("the active trace is carried, and outside of any trace there is none", async (t) => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  t.after(() => {
    context.disable();
    propagation.disable();
  });
  const fake = await startFake(t, () => good("alice"));
  const lanyard = fake.client();
  const span = {
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: "b7ad6b7169203331",
    traceFlags: TraceFlags.SAMPLED,
  };
  await context.with(trace.setSpanContext(ROOT_CONTEXT, span), () => lanyard.verify("ust"));
  await lanyard.verify("ust");
  const [inside, outside] = fake.asked.map(({ metadata }) => metadata.get("traceparent"));
  assert.deepEqual(inside, ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]);
  assert.deepEqual(outside, []);
});

test("the key is sent as a bearer and shown nowhere", async (t) => {
  const fake = await startFake(t, () => unavailable());
  const lanyard = fake.client({ apiKey: "lyk1_secret", retry: false });
  const error = await lanyard.verify("lyu1_token").catch((problem: unknown) => problem);
  assert.deepEqual(fake.asked[0]?.metadata.get("authorization"), ["Bearer lyk1_secret"]);
  const shown = inspect([lanyard, lanyard.onBehalfOf("lyu1_token"), error], { depth: 20, showHidden: true });
  assert.doesNotMatch(shown, /lyk1_secret|lyu1_token/);
});

test("where the user is goes along, and the app stays unless it is named", async (t) => {
  const fake = await startFake(t, () => good("alice"));
  const lanyard = fake.client({ currentApp: "CRM" });
  await lanyard.verify("ust");
  await lanyard.withClientInfo({ remoteAddr: "203.0.113.7", userAgent: "test" }).verify("ust");
  await lanyard.withClientInfo({ currentApp: "ERP" }).verify("ust");
  const own = await lanyard.call(v1.SessionService.method.verifySession, { ust: "ust", client: { currentApp: "HR" } });
  assert.equal(own.verdict.case, "session");
  const places = fake.asked.map(({ request }) => (request as v1.VerifySessionRequest).client);
  assert.deepEqual(
    places.map((place) => [place?.currentApp, place?.remoteAddr, place?.userAgent]),
    [
      ["CRM", "", ""],
      ["CRM", "203.0.113.7", "test"],
      ["ERP", "", ""],
      ["HR", "", ""],
    ],
  );
});

test("a request that somebody made stays as it was", async (t) => {
  const fake = await startFake(t, () => good("alice"));
  const { create, v1: contract } = await import("@lanyard/client");
  const request = create(contract.VerifySessionRequestSchema, { ust: "ust" });
  await fake.client({ currentApp: "CRM" }).call(contract.SessionService.method.verifySession, request);
  assert.equal(request.client, undefined);
  assert.equal(fake.request<v1.VerifySessionRequest>(0).client?.currentApp, "CRM");
});

test("the server is told who calls it", async (t) => {
  const fake = await startFake(t, () => good("alice"));
  await fake.client().verify("ust");
  assert.match(String(fake.asked[0]?.metadata.get("user-agent")[0]), /^lanyard-client-typescript\/\d/);
});
