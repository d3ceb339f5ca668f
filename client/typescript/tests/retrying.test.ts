// When a call is tried again, and when it is given up.

import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { ErrorReason, LanyardClient, LanyardError } from "@lanyard/client";
import { code, good } from "./support/answers.js";
import { Status, startFake, unavailable } from "./support/fake.js";

const HASTY = { retry: { initialBackoffMs: 1, maxBackoffMs: 1 } };

async function errorOf(call: Promise<unknown>): Promise<LanyardError> {
  const error = await call.then(
    () => assert.fail("it was answered"),
    (problem: unknown) => problem,
  );
  assert.ok(error instanceof LanyardError, String(error));
  return error;
}

test("a read that finds the server unavailable is tried again", async (t) => {
  const fake = await startFake(t, (_, count) => (count < 3 ? unavailable() : good("alice")));
  assert.equal((await fake.client(HASTY).verify("ust")).username, "alice");
  assert.equal(fake.asked.length, 3);
});

test("a read is sent as often as it is said and no oftener", async (t) => {
  const fake = await startFake(t, unavailable);
  const error = await errorOf(fake.client({ retry: { ...HASTY.retry, attempts: 2 } }).verify("ust"));
  assert.ok(error.isUnavailable);
  assert.equal(fake.asked.length, 2);
});

test("without retries a read is sent once", async (t) => {
  const fake = await startFake(t, unavailable);
  await errorOf(fake.client({ retry: false }).verify("ust"));
  await errorOf(fake.client({ retry: { attempts: 1 } }).verify("ust"));
  assert.equal(fake.asked.length, 2);
});

test("a write is never tried again", async (t) => {
  const fake = await startFake(t, unavailable);
  await errorOf(fake.client(HASTY).logIn("alice", "password"));
  await errorOf(fake.client(HASTY).onBehalfOf("ust").logOut());
  assert.deepEqual(
    fake.asked.map(({ method }) => method),
    ["createSession", "revokeSession"],
  );
});

test("only UNAVAILABLE is tried again", async (t) => {
  for (const each of [code.INTERNAL, code.RESOURCE_EXHAUSTED, code.ABORTED, code.UNKNOWN, code.DEADLINE_EXCEEDED]) {
    const fake = await startFake(t, () => new Status({ code: each, details: "no" }));
    assert.equal((await errorOf(fake.client(HASTY).verify("ust"))).code, each);
    assert.equal(fake.asked.length, 1, code[each]);
  }
});

test("a server that is down is not met with ever more attempts", async (t) => {
  const fake = await startFake(t, unavailable);
  const lanyard = fake.client(HASTY);
  for (let call = 0; call < 5; call += 1) {
    await errorOf(lanyard.verify("ust"));
  }
  // Ten tokens: five attempts are paid for by those above half; then each call is sent once.
  assert.equal(fake.asked.length, 4 + 1 + 1 + 1 + 1);
});

test("a server that does not answer is given up at the deadline, which it is told", async (t) => {
  const fake = await startFake(t, () => undefined);
  const begin = Date.now();
  const error = await errorOf(fake.client({ deadlineMs: 150 }).verify("ust"));
  assert.equal(error.code, code.DEADLINE_EXCEEDED);
  assert.equal(error.reason, ErrorReason.DEADLINE_EXCEEDED);
  const told = new Date(fake.asked[0]?.deadline ?? 0).getTime() - begin;
  assert.ok(told > 50 && told <= 1_000, `${told} ms`);
});

test("the deadline is one for all attempts", async (t) => {
  const fake = await startFake(t, unavailable);
  const begin = performance.now();
  const patient = { retry: { attempts: 5, initialBackoffMs: 60_000, maxBackoffMs: 60_000 }, deadlineMs: 200 };
  const error = await errorOf(fake.client(patient).verify("ust"));
  assert.ok([code.DEADLINE_EXCEEDED, code.UNAVAILABLE].includes(error.code), error.message);
  assert.ok(performance.now() - begin < 5_000);
});

test("a connection that never stands is given up at the deadline", async (t) => {
  const silent = createServer((socket) => void socket.unref());
  silent.listen(0, "127.0.0.1").unref();
  await new Promise((resolve) => silent.once("listening", resolve));
  const { port } = silent.address() as { port: number };
  const lanyard = new LanyardClient(`http://127.0.0.1:${port}`, { deadlineMs: 150 });
  t.after(() => lanyard.close());
  const error = await errorOf(lanyard.verify("ust"));
  assert.ok([code.DEADLINE_EXCEEDED, code.UNAVAILABLE].includes(error.code), error.message);
});

test("a server that cannot be reached is unavailable, and says nothing about any session", async (t) => {
  const lanyard = new LanyardClient("http://127.0.0.1:1", HASTY);
  t.after(() => lanyard.close());
  const error = await errorOf(lanyard.verify("ust"));
  assert.ok(error.isUnavailable && !error.isSessionInvalid);
  assert.equal(error.reason, ErrorReason.UNSPECIFIED);
  assert.match(error.message, /\(UNAVAILABLE, correlation ID [^)]+\)$/);
  assert.ok((await errorOf(lanyard.connect(50))).isUnavailable);
});

test("a call ends when its signal says so, also if it said so before", async (t) => {
  const fake = await startFake(t, () => undefined);
  const stop = new AbortController();
  const lanyard = fake.client().withSignal(stop.signal);
  const pending = errorOf(lanyard.verify("ust"));
  setTimeout(() => stop.abort(), 20);
  assert.equal((await pending).code, code.CANCELLED);
  assert.equal((await errorOf(lanyard.verify("ust"))).code, code.CANCELLED);
});
