// Steps through the client layer, as its page shows it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  Code,
  ErrorReason,
  InactiveSessionError,
  LanyardClient,
  type LanyardClientOptions,
  LanyardError,
  withCorrelationId,
} from "@lanyard/client";
import { check, checkText, type Json } from "./pattern.js";
import type { Expect, Step } from "./read.js";
import type { Variables } from "./variables.js";
import { textsOf } from "./wire.js";

/** What the layer gave. */
type Given = { verified: boolean } | { message: Json } | { items: number };

export async function take(step: Step, variables: Variables): Promise<Json> {
  const texts = textsOf(step, variables);
  const id = String(texts["x-correlation-id"]);
  const lanyard = connect(step, variables, texts["authorization"] ?? null);
  try {
    const given = await withCorrelationId(id, () => call(lanyard, step));
    checkGiven(step.expect ?? {}, given);
    return "message" in given ? given.message : {};
  } catch (error) {
    if (!(error instanceof LanyardError)) {
      throw error;
    }
    checkError(step.expect ?? {}, error, id);
    return {};
  } finally {
    lanyard.close();
  }
}

function connect(step: Step, variables: Variables, authorization: string | null): LanyardClient {
  const options: LanyardClientOptions = {};
  const file = (name: string): Buffer => readFileSync(variables.get(name));
  const isSecure = step.via !== "client";
  if (isSecure) {
    options.tls = { ca: file("tls_ca_file") };
  }
  if (step.via === "client_mtls") {
    options.tls = {
      ...options.tls,
      certificate: file("tls_client_cert_file"),
      privateKey: file("tls_client_key_file"),
    };
  } else if (authorization !== null) {
    options.apiKey = authorization.replace(/^Bearer /, "");
  }
  if (step.deadline_ms !== undefined) {
    options.deadlineMs = Number(step.deadline_ms);
  }
  const endpoint = step.endpoint ?? variables.get(isSecure ? "tls_endpoint" : "endpoint");
  return new LanyardClient(`${isSecure ? "https" : "http"}://${endpoint}`, options);
}

async function call(lanyard: LanyardClient, step: Step): Promise<Given> {
  const request = step.request as { ust?: string; user_id?: string; password?: { username: string; password: string } };
  const { ust = "", user_id: userId = "", password } = request;
  switch (step.call) {
    case "lanyard.v1.SessionService/VerifySession":
      return { verified: await isVerified(lanyard, ust) };
    case "lanyard.v1.SessionService/CreateSession": {
      const { session } = await lanyard.logIn(password?.username ?? "", password?.password ?? "");
      return { message: { session: { username: session.username } } };
    }
    case "lanyard.v1.LinkedAuthService/ListLinkedAuth": {
      let items = 0;
      for await (const _ of lanyard.onBehalfOf(ust).listLinkedAuth({ userId })) {
        items += 1;
      }
      return { items };
    }
    default:
      throw new Error(`${step.call} is not called through the client layer`);
  }
}

async function isVerified(lanyard: LanyardClient, ust: string): Promise<boolean> {
  try {
    const session = await lanyard.verify(ust);
    return session.username !== "";
  } catch (error) {
    if (error instanceof InactiveSessionError) {
      return false;
    }
    throw error;
  }
}

function checkGiven(expect: Expect, given: Given): void {
  assert.equal("OK", expect.code ?? "OK", "it was answered");
  if ("verified" in given) {
    assert.equal(given.verified, expect.verified, "verified");
  } else if ("items" in given) {
    assert.equal(given.items, Number(expect.items), "items");
  } else {
    check(expect.message ?? {}, given.message, "message");
  }
}

function checkError(expect: Expect, error: LanyardError, id: string): void {
  assert.equal(Code[error.code], expect.code ?? "OK", error.message);
  if (expect.reason !== undefined) {
    assert.equal(ErrorReason[error.reason], expect.reason ?? "UNSPECIFIED", "reason");
  }
  if (expect.field_violations) {
    assert.deepEqual(
      error.fieldViolations.map(({ field }) => field),
      expect.field_violations,
    );
  }
  if (expect.retry_info !== undefined) {
    assert.equal((error.retryAfterMs ?? 0) > 0, expect.retry_info, "retry_info");
  }
  if (expect.correlation_id !== null) {
    checkText(expect.correlation_id ?? id, error.correlationId, "correlation_id");
    assert.ok(error.message.includes(error.correlationId), "its text does not tell its ID");
  }
}
