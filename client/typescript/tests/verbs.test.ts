// What the verbs send, and what they make of the answers.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { Code, create, LanyardError, v1 } from "@lanyard/client";
import { type ListSessions, page } from "./support/answers.js";
import { startFake, unavailable } from "./support/fake.js";

function isIncomplete(error: unknown): boolean {
  assert.ok(error instanceof LanyardError);
  assert.equal(error.code, Code.INTERNAL);
  assert.match(error.message, /^the answer has no /);
  return true;
}

test("an answer that lacks what the contract promises is an error", async (t) => {
  const fake = await startFake(t, ({ method }) => {
    const service = [v1.SessionService, v1.UserService, v1.LinkedAuthService].find((each) => method in each.method);
    const schema = service?.methods.find(({ localName }) => localName === method)?.output;
    return schema && create(schema);
  });
  const lanyard = fake.client();
  const alice = lanyard.onBehalfOf("ust");
  const calls = [
    () => lanyard.logIn("alice", "password"),
    () => alice.currentSession(),
    () => alice.renew(),
    () => alice.currentUser(),
    () => alice.lockUser("usr_1"),
    () => alice.updateLinkedAuth("lnk_1", false),
    () => lanyard.lookupLinkedAuth([{ case: "authId", value: 7n }]),
  ];
  for (const call of calls) {
    await assert.rejects(call, isIncomplete);
  }
});

test("what a user does is signed with their token", async (t) => {
  const fake = await startFake(t, () => create(v1.RevokeSessionResponseSchema, { revoked: true }));
  assert.equal(await fake.client().onBehalfOf("of-alice").logOut(), true);
  assert.equal(fake.request<v1.RevokeSessionRequest>(0).ust, "of-alice");
});

test("a rotation gives the new token and a renewal none", async (t) => {
  const fake = await startFake(t, ({ request }) => {
    const ust = (request as v1.RenewSessionRequest).rotate ? "new" : "";
    return create(v1.RenewSessionResponseSchema, { session: { username: "alice" }, ust });
  });
  const alice = fake.client().onBehalfOf("ust");
  assert.equal((await alice.rotate()).ust?.expose(), "new");
  assert.equal((await alice.renew()).ust, undefined);
});

test("a rotation without a new token is an error", async (t) => {
  const fake = await startFake(t, () => create(v1.RenewSessionResponseSchema, { session: {} }));
  await assert.rejects(fake.client().onBehalfOf("ust").rotate(), isIncomplete);
});

test("pages follow one another until the last, each asked for when it is needed", async (t) => {
  const pages = [page(["ses_1", "ses_2"], "second"), page([], "third"), page(["ses_3"], "")];
  const fake = await startFake(t, (_, count) => pages[(count - 1) % pages.length]);
  const list = fake.client().onBehalfOf("ust").listSessions({ pageSize: 2 });
  assert.equal(fake.asked.length, 0);
  const found: string[] = [];
  for await (const { sessionId } of list) {
    found.push(sessionId);
  }
  assert.deepEqual(found, ["ses_1", "ses_2", "ses_3"]);
  const requests = fake.asked.map(({ request }) => request as v1.ListSessionsRequest);
  assert.deepEqual(
    requests.map(({ pageToken, pageSize }) => [pageToken, pageSize]),
    [
      ["", 2],
      ["second", 2],
      ["third", 2],
    ],
  );
  assert.equal((await list.all()).length, 3);
  for await (const first of list.pages()) {
    assert.equal(first.nextPageToken, "second");
    break;
  }
  assert.equal(fake.asked.length, 7);
});

test("a list goes on where somebody else stopped, and a page that failed may be asked for again", async (t) => {
  const fake = await startFake(t, (_, count) => (count === 1 ? unavailable() : page(["ses_3"], "")));
  const alice = fake.client({ retry: false }).onBehalfOf("ust");
  const request: ListSessions = { pageToken: "second" };
  await assert.rejects(alice.listSessions(request).all(), LanyardError);
  assert.equal((await alice.listSessions(request).all()).length, 1);
  assert.deepEqual(
    fake.asked.map(({ request: sent }) => (sent as v1.ListSessionsRequest).pageToken),
    ["second", "second"],
  );
});

test("numbers of 64 bits come whole", async (t) => {
  const authId = 9_223_372_036_854_775_807n;
  const fake = await startFake(t, ({ method, request }) =>
    method === "lookupLinkedAuth"
      ? create(v1.LookupLinkedAuthResponseSchema, {
          users: (request as v1.LookupLinkedAuthRequest).definitions.map(({ definition }) => ({
            userId: "usr_1",
            authId: definition.case === "authId" ? definition.value : 0n,
          })),
        })
      : create(v1.ListLinkedAuthResponseSchema, { links: [{ authId }] }),
  );
  const lanyard = fake.client();
  const [link] = await lanyard.onBehalfOf("ust").getLinkedAuthList();
  assert.equal(link?.authId, authId);
  const [user] = await lanyard.lookupLinkedAuth([{ case: "authId", value: authId }]);
  assert.equal(user?.authId, authId);
});

test("the credential of a platform is handed out and does not print", async (t) => {
  const fake = await startFake(t, ({ method }) =>
    method === "createSession"
      ? create(v1.CreateSessionResponseSchema, { ust: "lyu1_new", session: { sessionAuth: "lyu1_new" } })
      : create(v1.GetPlatformAuthResponseSchema, {
          micetroAuth: "Bearer of-micetro",
          micetroUrl: "https://micetro.example",
          validFor: { seconds: 60n },
        }),
  );
  const lanyard = fake.client();
  const { ust, session } = await lanyard.logInPlatform("lab", "alice", "password");
  const platform = await lanyard.onBehalfOf(ust).getPlatformAuth({ refused: true });
  assert.equal(platform.micetroAuth.expose(), "Bearer of-micetro");
  assert.equal(platform.validForMs, 60_000);
  assert.equal(fake.request<v1.GetPlatformAuthRequest>(1).refused, true);
  assert.equal(session.sessionAuth, "lyu1_new");
  assert.doesNotMatch(inspect([platform, session], { depth: 9 }), /of-micetro|lyu1/);
});
