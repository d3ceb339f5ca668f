// What a refusal says.

import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata } from "@grpc/grpc-js";
import { Code, ErrorReason, type LanyardError } from "@lanyard/client";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
  StatusSchema,
} from "@lanyard/client/google/rpc";
import { Status, startFake } from "./support/fake.js";

type Detail = Any;

function detail<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Detail {
  return anyPack(schema, create(schema, init));
}

const info = (reason: string, domain = "lanyard"): Detail => detail(ErrorInfoSchema, { reason, domain });

function status(code: Code, details: string, ...packed: Detail[]): Status {
  const metadata = new Metadata();
  metadata.set(
    "grpc-status-details-bin",
    Buffer.from(toBinary(StatusSchema, create(StatusSchema, { code, details: packed }))),
  );
  return new Status({ code, details, metadata });
}

async function errorOf(t: Parameters<typeof startFake>[0], refusal: Status): Promise<LanyardError> {
  const fake = await startFake(t, () => refusal);
  return fake
    .client({ retry: false })
    .withCorrelationId("sent-id")
    .verify("ust")
    .then(
      () => assert.fail("it was answered"),
      (error) => error,
    );
}

test("everything that a refusal says is decoded", async (t) => {
  const error = await errorOf(
    t,
    status(
      Code.INVALID_ARGUMENT,
      "a field is not good",
      detail(ErrorInfoSchema, { reason: "INVALID_FIELD", domain: "lanyard", metadata: { upstream_code: "7" } }),
      detail(RequestInfoSchema, { requestId: "server-id" }),
      detail(BadRequestSchema, { fieldViolations: [{ field: "user.username", description: "must not be empty" }] }),
      detail(RetryInfoSchema, { retryDelay: { seconds: 0n, nanos: 250_000_000 } }),
    ),
  );
  assert.equal(error.name, "LanyardError");
  assert.equal(error.reason, ErrorReason.INVALID_FIELD);
  assert.equal(error.code, Code.INVALID_ARGUMENT);
  assert.equal(error.details, "a field is not good");
  assert.equal(error.correlationId, "server-id");
  assert.deepEqual(error.fieldViolations, [{ field: "user.username", description: "must not be empty" }]);
  assert.equal(error.retryAfterMs, 250);
  assert.deepEqual(error.metadata, { upstream_code: "7" });
  assert.equal(error.upstreamCode, 7);
  assert.equal(
    error.message,
    "a field is not good (INVALID_FIELD, user.username: must not be empty, correlation ID server-id)",
  );
});

test("a reason of another domain, of the future or of nowhere is unspecified", async (t) => {
  for (const detail of [info("LOGIN_FAILED", "proxy.example"), info("FROM_THE_FUTURE"), info("4"), info("toString")]) {
    const error = await errorOf(t, status(Code.UNAUTHENTICATED, "no", detail));
    assert.equal(error.reason, ErrorReason.UNSPECIFIED);
    assert.match(error.message, /^no \(UNAUTHENTICATED, /);
    assert.equal(error.upstreamCode, undefined);
  }
});

test("a status without details keeps its code and the ID that was sent", async (t) => {
  const error = await errorOf(t, new Status({ code: Code.UNAVAILABLE, details: "" }));
  assert.deepEqual([error.reason, error.code], [ErrorReason.UNSPECIFIED, Code.UNAVAILABLE]);
  assert.match(error.message, /\(UNAVAILABLE, correlation ID sent-id\)$/);
});

test("details that are none count as none", async (t) => {
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from([0xff, 0xff]));
  const error = await errorOf(t, new Status({ code: Code.INTERNAL, details: "no", metadata }));
  assert.equal(error.code, Code.INTERNAL);
  const broken = { ...info("LOGIN_FAILED"), value: new Uint8Array([0xff]) };
  assert.equal((await errorOf(t, status(Code.INTERNAL, "no", broken))).reason, ErrorReason.UNSPECIFIED);
  // Other details than those that count do not disturb.
  const foreign = { ...info("x"), typeUrl: "type.googleapis.com/example.Foreign" };
  const named = await errorOf(t, status(Code.UNAUTHENTICATED, "no", foreign, info("SESSION_INVALID")));
  assert.ok(named.isSessionInvalid);
});

test("the ID of the metadata counts where the details have none, and a bad one never", async (t) => {
  const metadata = new Metadata();
  metadata.set("x-correlation-id", "server-id");
  assert.equal(
    (await errorOf(t, new Status({ code: Code.INTERNAL, details: "no", metadata }))).correlationId,
    "server-id",
  );
  const bad = status(Code.INTERNAL, "no", detail(RequestInfoSchema, { requestId: "bad\nid" }));
  assert.equal((await errorOf(t, bad)).correlationId, "sent-id");
});

test("an error tells where the call was made", async (t) => {
  const error = await errorOf(t, new Status({ code: Code.INTERNAL, details: "no" }));
  assert.match(error.stack ?? "", /verify/);
});
