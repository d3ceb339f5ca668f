// The client and a real server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { credentials, Metadata } from "@grpc/grpc-js";
import {
  ErrorReason,
  grpcStub,
  InactiveReason,
  InactiveSessionError,
  LanyardClient,
  LanyardError,
  newCorrelationId,
  timestampDate,
  v1,
  withCorrelationId,
} from "@lanyard/client";
import { type Lanyard, startLanyard } from "./support/server.js";

let server: Lanyard;
let lanyard: LanyardClient;

before(async () => {
  server = await startLanyard();
  lanyard = new LanyardClient(server.endpoint, { apiKey: server.callerKey });
  await lanyard.connect();
});

after(async () => {
  lanyard.close();
  await server.stop();
});

async function logIn(who: "superUser" | "demoUser" = "demoUser") {
  return lanyard.logIn(server[who].username, server[who].password);
}

test("a user logs in, is verified, and is no more after logging out", async () => {
  const { ust, session } = await logIn();
  const verified = await lanyard.verify(ust);
  assert.equal(verified.sessionId, session.sessionId);
  assert.ok(verified.idleExpireTime && verified.idleExpireTime > new Date());
  assert.equal(await lanyard.onBehalfOf(ust).logOut(), true);
  await assert.rejects(lanyard.verify(ust), (error) => {
    assert.ok(error instanceof InactiveSessionError);
    assert.equal(error.reason, InactiveReason.REVOKED);
    return true;
  });
  await assert.rejects(lanyard.onBehalfOf(ust).currentUser(), (error) => {
    assert.ok(error instanceof LanyardError && error.isSessionInvalid);
    return true;
  });
});

test("a batch tells the good from the bad", async () => {
  const { ust } = await logIn();
  const verdicts = await lanyard.batchPeek([ust, "junk"]);
  assert.deepEqual(
    verdicts.map(({ active }) => active),
    [true, false],
  );
});

test("a rotated token takes the place of the old one", async () => {
  const { ust } = await logIn();
  const { ust: next } = await lanyard.onBehalfOf(ust).rotate();
  assert.ok(next);
  assert.equal((await lanyard.verify(next)).username, server.demoUser.username);
});

test("the linked accounts of a user are listed, by themself and by a super-user, and looked up", async () => {
  const demo = await logIn();
  const root = await logIn("superUser");
  const own = await lanyard.onBehalfOf(demo.ust).getLinkedAuthList();
  const asked = await lanyard.onBehalfOf(root.ust).getLinkedAuthList(demo.session.userId);
  assert.deepEqual(asked, own);
  const [link] = own;
  assert.ok(link?.creationTime);
  assert.ok(timestampDate(link.creationTime) <= new Date());
  assert.deepEqual([link.authType, link.authUsername], ["basic_auth", server.demoDefinition.username]);
  assert.equal(typeof link.authId, "bigint");
  const [user, nobody] = await lanyard.lookupLinkedAuth([
    { case: "authId", value: link.authId },
    { case: "authId", value: 9_223_372_036_854_775_807n },
  ]);
  assert.equal(user?.userId, demo.session.userId);
  assert.equal(nobody, undefined);
  const { username, secret } = server.demoDefinition;
  assert.equal((await lanyard.logInBasicAuth(username, secret)).session.userId, demo.session.userId);
});

test("a refusal names its reason, its fields and the correlation ID, by which the audit trail finds it", async () => {
  const root = lanyard.onBehalfOf((await logIn("superUser")).ust);
  const id = newCorrelationId();
  await withCorrelationId(id, async () => {
    await assert.rejects(lanyard.logIn(server.demoUser.username, "wrong-password"), (error) => {
      assert.ok(error instanceof LanyardError);
      assert.equal(error.reason, ErrorReason.LOGIN_FAILED);
      assert.match(error.message, new RegExp(`LOGIN_FAILED, correlation ID ${id}`));
      return true;
    });
  });
  const events = await root.listAuditEvents({ correlationId: id }).all();
  assert.deepEqual(
    events.map(({ operation, outcome }) => [operation, outcome]),
    [["session.create", v1.AuditOutcome.REFUSED]],
  );
  await assert.rejects(root.createUser({ user: { username: "" } }), (error) => {
    assert.ok(error instanceof LanyardError);
    assert.equal(error.fieldViolations[0]?.field, "user.username");
    return true;
  });
});

test("users, attributes and definitions are made, listed and removed", async () => {
  const root = lanyard.onBehalfOf((await logIn("superUser")).ust);
  const user = await root.createUser({
    user: { username: "bob", displayName: "Bob" },
    password: "correct horse battery",
  });
  assert.equal((await root.getUserByName("BOB")).userId, user.userId);
  assert.equal((await root.lockUser(user.userId)).user.isLocked, true);
  const unlocked = await root.unlockUser(user.userId);
  assert.equal(unlocked.isLocked, false);
  const changed = await root.updateUser({
    user: { userId: user.userId, displayName: "Robert", etag: unlocked.etag },
    updateMask: { paths: ["display_name"] },
  });
  assert.equal(changed.displayName, "Robert");
  const owner = { case: "userId", value: user.userId } as const;
  await root.setAttributes(owner, [{ name: "team", value: "north" }]);
  const attributes = await root.listAttributes({ owner: { owner } }).all();
  assert.deepEqual(
    attributes.map(({ name, value }) => [name, value]),
    [["team", "north"]],
  );
  assert.equal(await root.deleteAttributes(owner, ["team"]), 1);
  const definition = await root.createDefinition(
    { name: "batch", isActive: true, kind: { case: "basicAuth", value: { username: "batch" } } },
    { secret: "a secret of some length" },
  );
  const link = await root.createLinkedAuth(user.userId, { case: "authId", value: definition.authId });
  assert.equal((await root.updateLinkedAuth(link.linkId, false)).link.isActive, false);
  await root.deleteLinkedAuth(link.linkId);
  assert.equal(await root.deleteDefinition(definition.authId), 0n);
  assert.ok((await root.listUsers({ pageSize: 1 }).all()).length >= 3);
  assert.equal(await root.deleteUser(user.userId), 0n);
  await assert.rejects(root.getUser(user.userId), (error) => error instanceof LanyardError && error.isNotFound);
});

test("the server tells whether it serves, without a key", async (t) => {
  const stranger = new LanyardClient(server.endpoint);
  t.after(() => stranger.close());
  assert.equal(await stranger.isServing(), true);
  await assert.rejects(stranger.isServing("no.such.Service"), LanyardError);
  await assert.rejects(stranger.verify("ust"), (error) => {
    assert.ok(error instanceof LanyardError);
    assert.equal(error.reason, ErrorReason.CALLER_UNAUTHENTICATED);
    return true;
  });
});

test("the bare stub of grpc-js and Connect-ES speak with the same generated services", async (t) => {
  const authorization = `Bearer ${server.callerKey}`;
  const { ust } = await logIn();
  const SessionStub = grpcStub(v1.SessionService);
  const stub = new SessionStub(new URL(server.endpoint).host, credentials.createInsecure());
  t.after(() => stub.close());
  const metadata = new Metadata();
  metadata.set("authorization", authorization);
  const request = { $typeName: "lanyard.v1.VerifySessionRequest" as const, ust: ust.expose(), peek: true };
  const bare = await new Promise<v1.VerifySessionResponse | undefined>((resolve, reject) => {
    stub.verifySession(request, metadata, (problem, answer) => (problem ? reject(problem) : resolve(answer)));
  });
  assert.equal(bare?.verdict.case, "session");

  const transport = createGrpcTransport({ baseUrl: server.endpoint });
  const connect = createClient(v1.SessionService, transport);
  const answer = await connect.verifySession({ ust: ust.expose() }, { headers: { authorization } });
  assert.equal(answer.verdict.case, "session");
});
