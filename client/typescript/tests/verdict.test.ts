// A verdict is never taken for a success that it is not.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Code,
  create,
  InactiveReason,
  InactiveSessionError,
  type LanyardClient,
  LanyardError,
  RevokeReason,
  type Verdict,
  VerifiedSession,
  v1,
} from "@lanyard/client";
import { bad, good } from "./support/answers.js";
import { startFake } from "./support/fake.js";

/** Never run: tsc fails where an error that is expected here is none. */
export async function whatDoesNotCompile(lanyard: LanyardClient): Promise<void> {
  // @ts-expect-error forgotten `await`: a promise is always true
  if (lanyard.verify("ust")) {
    assert.fail("must not compile");
  }
  // @ts-expect-error only one of the two cases
  await lanyard.verify("ust", { active: () => true });
  const [verdict] = await lanyard.batchVerify(["ust"]);
  // @ts-expect-error nobody has asked yet whether it is active
  console.log(verdict?.username);
  // @ts-expect-error an acting request needs a user
  await lanyard.onBehalfOf("ust").call(v1.LinkedAuthService.method.lookupLinkedAuth, {});
}

test("verify gives the session of a good token", async (t) => {
  const answer = good("alice");
  answer.cacheFor = create((await import("@bufbuild/protobuf/wkt")).DurationSchema, { seconds: 3n });
  const fake = await startFake(t, () => answer);
  const session = await fake.client().verify("ust");
  assert.ok(session instanceof VerifiedSession);
  assert.equal(session.username, "alice");
  assert.equal(session.cacheForMs, 3_000);
  assert.equal(session.isSuperUser, false);
  assert.equal(JSON.parse(JSON.stringify(session)).sessionId, "ses_1");
});

test("verify fails for a token that is not good, and says why", async (t) => {
  const fake = await startFake(t, () => bad(InactiveReason.REVOKED, RevokeReason.USER_LOCKED));
  const call = fake.client().withCorrelationId("order-4711").verify("ust");
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof InactiveSessionError && !(error instanceof LanyardError));
    assert.equal(error.reason, InactiveReason.REVOKED);
    assert.equal(error.revokeReason, RevokeReason.USER_LOCKED);
    assert.equal(error.message, "the session is not active (REVOKED: USER_LOCKED, correlation ID order-4711)");
    return true;
  });
});

test("a condition on verify is never entered with a bad token", async (t) => {
  const fake = await startFake(t, () => bad(InactiveReason.UNKNOWN));
  const lanyard = fake.client();
  await assert.rejects(async () => {
    if (await lanyard.verify("ust")) {
      assert.fail("a bad token came in");
    }
  }, InactiveSessionError);
});

test("with a function for each case, the one that it is runs and gives the result", async (t) => {
  const fake = await startFake(t, (_, count) => (count === 1 ? good("alice") : bad(InactiveReason.IDLE_EXPIRED)));
  const lanyard = fake.client();
  const ask = (): Promise<string> =>
    lanyard.verify("ust", {
      active: ({ username }) => `hello, ${username}`,
      inactive: async ({ reason }) => `again, please: ${InactiveReason[reason]}`,
    });
  assert.equal(await ask(), "hello, alice");
  assert.equal(await ask(), "again, please: IDLE_EXPIRED");
  const careless = { active: () => assert.fail("must not run") } as unknown as Parameters<typeof lanyard.verify>[1];
  await assert.rejects(lanyard.verify("ust", careless as never), TypeError);
});

test("an answer with no case, or with a reason that nobody here knows, is inactive", async (t) => {
  for (const answer of [create(v1.VerifySessionResponseSchema), bad(999 as InactiveReason, 999 as RevokeReason)]) {
    const fake = await startFake(t, () => answer);
    await assert.rejects(fake.client().verify("ust"), (error) => {
      assert.ok(error instanceof InactiveSessionError);
      assert.deepEqual([error.reason, error.revokeReason], [InactiveReason.UNSPECIFIED, RevokeReason.UNSPECIFIED]);
      return true;
    });
  }
});

test("verify counts as activity and peek does not", async (t) => {
  const fake = await startFake(t, ({ method }) =>
    method === "verifySession"
      ? good("alice")
      : create(v1.BatchVerifySessionsResponseSchema, { verdicts: [good("a")] }),
  );
  const lanyard = fake.client();
  await lanyard.verify("ust");
  await lanyard.peek("ust");
  assert.equal(await lanyard.peek("ust", { active: () => 1, inactive: () => 2 }), 1);
  await lanyard.batchVerify(["ust"]);
  await lanyard.batchPeek(["ust"]);
  const peeks = fake.asked.map(({ request }) => (request as v1.VerifySessionRequest).peek);
  assert.deepEqual(peeks, [false, true, true, false, true]);
});

test("a batch keeps its order and must be complete", async (t) => {
  const verdicts = [good("alice"), bad(InactiveReason.MALFORMED)];
  const fake = await startFake(t, () => create(v1.BatchVerifySessionsResponseSchema, { verdicts }));
  const lanyard = fake.client();
  const [one, two] = await lanyard.batchVerify(["ust", { ust: "junk", client: { remoteAddr: "203.0.113.7" } }]);
  const name = (verdict?: Verdict): string => (verdict?.active ? verdict.username : String(verdict?.reason));
  assert.deepEqual([name(one), name(two)], ["alice", String(InactiveReason.MALFORMED)]);
  const { sessions } = fake.request<v1.BatchVerifySessionsRequest>(0);
  assert.deepEqual(
    sessions.map(({ ust, client }) => [ust, client?.remoteAddr]),
    [
      ["ust", undefined],
      ["junk", "203.0.113.7"],
    ],
  );
  await assert.rejects(lanyard.batchVerify(["only one"]), (error) => {
    assert.ok(error instanceof LanyardError);
    assert.equal(error.code, Code.INTERNAL);
    assert.match(error.message, /verdict for each token/);
    return true;
  });
});
