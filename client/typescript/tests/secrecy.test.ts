// Secrets do not print.

import assert from "node:assert/strict";
import { test } from "node:test";
import { format, inspect } from "node:util";
import { create, Secret, Ust, v1 } from "@lanyard/client";
import { startFake } from "./support/fake.js";

function shown(value: unknown): string {
  const json = JSON.stringify(value, (_, each) => (typeof each === "bigint" ? String(each) : each));
  return [inspect(value, { depth: 20 }), json, format("%s %o %j", value, value, json), `${value}`].join("\n");
}

test("a token and a secret show neither in text, nor in JSON, nor when inspected", () => {
  for (const secret of [new Ust("lyu1_secret"), new Secret("lyu1_secret")]) {
    assert.doesNotMatch(shown(secret) + shown({ secret, list: [secret] }), /lyu1/);
    assert.equal(`${secret}`, "[redacted]");
    assert.equal(secret.expose(), "lyu1_secret");
  }
  assert.equal(inspect(new Ust("lyu1_secret")), "Ust { [redacted] }");
});

test("a login shows its session and not its token", async (t) => {
  const fake = await startFake(t, () =>
    create(v1.CreateSessionResponseSchema, { ust: "lyu1_secret", session: { username: "alice" } }),
  );
  const lanyard = fake.client();
  const login = await lanyard.logIn("alice", new Secret("password"));
  assert.equal(login.ust.expose(), "lyu1_secret");
  assert.match(shown(login), /alice/);
  const whole = await lanyard.call(v1.SessionService.method.createSession, {});
  assert.equal(whole.ust, "lyu1_secret");
  for (const value of [login, whole, { whole }, lanyard.onBehalfOf(login.ust)]) {
    assert.doesNotMatch(shown(value), /lyu1/);
  }
});

test("what the contract marks as secret does not show, however deep it is", async (t) => {
  const attributes = [{ name: "phone", value: "+44 20 secret" }, { name: "empty" }];
  const fake = await startFake(t, ({ method }) =>
    method === "enrollTotp"
      ? create(v1.EnrollTotpResponseSchema, { secret: "JBSWsecret", otpauthUri: "otpauth://secret" })
      : create(v1.ListAttributesResponseSchema, { attributes }),
  );
  const alice = fake.client().onBehalfOf("ust");
  const [phone, empty] = await alice.listAttributes().all();
  assert.equal(phone?.value, "+44 20 secret");
  assert.equal(empty?.value, "");
  const enrollment = await alice.enrollTotp("password");
  assert.equal(enrollment.secret.expose(), "JBSWsecret");
  const page = await alice.call(v1.AttributeService.method.listAttributes, {});
  assert.match(shown(page), /phone/);
  assert.doesNotMatch(shown([phone, page, enrollment]), /44 20|JBSW|otpauth:/);
});
