// Steps by the bare runtime with the generated messages; where there are none (reflection, health), with dynamic ones.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  createFileRegistry,
  createRegistry,
  type DescMessage,
  type DescMethod,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonValue,
  type MessageShape,
  type Registry,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type Any, anyUnpack, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { v1 } from "@lanyard/client";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
  StatusSchema,
} from "@lanyard/client/google/rpc";
import { check, checkText, type Json } from "./pattern.js";
import type { Expect, Step, Texts } from "./read.js";
import type { Variables } from "./variables.js";

const CORRELATION_ID = "x-correlation-id";
const DEADLINE_MS = 10_000;

interface Outcome {
  readonly messages: Json[];
  /** Not there where the runner ended the call itself. */
  readonly status: grpc.StatusObject | undefined;
  readonly initial: grpc.Metadata | undefined;
}

export class Wire {
  readonly #dynamic: FileRegistry;
  readonly #generated: Registry;
  readonly #channels = new Map<string, grpc.Client>();

  constructor(descriptorFile: string) {
    this.#dynamic = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptorFile)));
    const all = Object.values(v1).filter((each) => typeof each === "object" && "kind" in each);
    this.#generated = createRegistry(...(all as never[]));
  }

  /** Takes the step, and gives the answer. */
  async take(step: Step, variables: Variables): Promise<Json> {
    const metadata = metadataOf(step, variables);
    const outcome = await this.#call(step, this.#connect(step.endpoint ?? variables.get("endpoint")), metadata);
    const { code: wantedCode = "OK", message, messages, ...expect } = step.expect ?? {};
    if (outcome.status) {
      const code = grpc.status[outcome.status.code];
      assert.equal(code, wantedCode, `code: is ${code}: ${outcome.status.details}`);
      checkStatus(expect, outcome.status);
      checkCorrelationId(expect.correlation_id, outcome, metadata);
    }
    if (messages) {
      check(messages, outcome.messages, "messages");
    }
    if (message !== undefined) {
      check(message, outcome.messages[0], "message");
    }
    return step.requests ? outcome.messages : (outcome.messages[0] ?? {});
  }

  close(): void {
    for (const channel of this.#channels.values()) {
      channel.close();
    }
  }

  #connect(endpoint: string): grpc.Client {
    const known = this.#channels.get(endpoint);
    if (known) {
      return known;
    }
    // Nothing is tried again by itself.
    const options = { "grpc.enable_retries": 0 };
    const channel = new grpc.Client(endpoint, grpc.credentials.createInsecure(), options);
    this.#channels.set(endpoint, channel);
    return channel;
  }

  #methodOf(call: string): DescMethod | undefined {
    const [service = "", name] = call.split("/");
    const found = this.#generated.getService(service) ?? this.#dynamic.getService(service);
    return found?.methods.find((method) => method.name === name);
  }

  async #call(step: Step, channel: grpc.Client, metadata: grpc.Metadata): Promise<Outcome> {
    const method = this.#methodOf(step.call);
    const registry = method && this.#generated.getMessage(method.input.typeName) ? this.#generated : this.#dynamic;
    const bytes = (request: Json): Buffer =>
      method
        ? Buffer.from(toBinary(method.input, fromJson(method.input, jsonOf(request), { registry })))
        : Buffer.alloc(0);
    const json = (answer: Buffer): Json => (method ? shown(method.output, answer, registry) : {});
    const options = { deadline: Date.now() + Number(step.deadline_ms ?? DEADLINE_MS) };
    const [path, same] = [`/${step.call}`, (each: Buffer): Buffer => each];
    if (method && method.methodKind !== "unary") {
      const stream = startStream(channel, method, path, (step.requests ?? []).map(bytes), metadata, options);
      return readStream(stream, json, step.expect?.messages?.length);
    }
    const request =
      step.request_bytes === undefined ? bytes(step.request ?? {}) : Buffer.from(step.request_bytes, "base64");
    return new Promise((resolve) => {
      let initial: grpc.Metadata | undefined;
      let answer: Buffer | undefined;
      const call = channel.makeUnaryRequest(path, same, same, request, metadata, options, (_, value) => {
        answer = value;
      });
      call.on("metadata", (received: grpc.Metadata) => {
        initial = received;
      });
      call.on("status", (status) => resolve({ initial, status, messages: answer ? [json(answer)] : [] }));
    });
  }
}

type Stream = grpc.ClientReadableStream<Buffer>;

function startStream(
  channel: grpc.Client,
  method: DescMethod,
  path: string,
  requests: Buffer[],
  metadata: grpc.Metadata,
  options: grpc.CallOptions,
): Stream {
  const same = (each: Buffer): Buffer => each;
  if (method.methodKind === "server_streaming") {
    return channel.makeServerStreamRequest(path, same, same, requests[0] ?? Buffer.alloc(0), metadata, options);
  }
  assert.equal(method.methodKind, "bidi_streaming", "this runner knows no streams that only the client sends");
  const stream = channel.makeBidiStreamRequest(path, same, same, metadata, options);
  for (const request of requests) {
    stream.write(request);
  }
  stream.end();
  return stream;
}

/** Reads until as many have come as are expected; to the end, where none are. */
function readStream(stream: Stream, json: (answer: Buffer) => Json, wanted = 0): Promise<Outcome> {
  return new Promise((resolve) => {
    const messages: Json[] = [];
    let initial: grpc.Metadata | undefined;
    stream.on("metadata", (received: grpc.Metadata) => {
      initial = received;
    });
    stream.on("error", () => {
      // It is told as the status.
    });
    stream.on("data", (answer: Buffer) => {
      messages.push(json(answer));
      if (messages.length === wanted) {
        stream.cancel();
        resolve({ messages, initial, status: undefined });
      }
    });
    stream.on("status", (status: grpc.StatusObject) => resolve({ messages, initial, status }));
  });
}

export function metadataOf(step: Step, variables: Variables): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [key, value] of Object.entries(textsOf(step, variables))) {
    if (value !== null) {
      metadata.set(key, value);
    }
  }
  return metadata;
}

export function textsOf(step: Step, variables: Variables): Texts {
  return {
    authorization: `Bearer ${variables.get("caller_key")}`,
    [CORRELATION_ID]: `case-${variables.get("unique")}`,
    ...step.metadata,
  };
}

function checkStatus(expect: Expect, status: grpc.StatusObject): void {
  const infos = details(status, ErrorInfoSchema);
  if (expect.reason) {
    assert.deepEqual(
      infos.map(({ reason, domain }) => [reason, domain]),
      [[expect.reason, "lanyard"]],
    );
    assert.notEqual(status.details, "");
  }
  if (expect.reason === null) {
    assert.equal(infos.length, 0, "it has a reason");
  }
  if (expect.field_violations) {
    const violations = details(status, BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
    assert.deepEqual(
      violations.map(({ field }) => field),
      expect.field_violations,
    );
  }
  if (expect.retry_info !== undefined) {
    const delays = details(status, RetryInfoSchema).map(({ retryDelay }) => retryDelay);
    const isThere = delays.some((delay) => delay && (delay.seconds > 0n || delay.nanos > 0));
    assert.equal(isThere, expect.retry_info, "retry_info");
  }
}

function checkCorrelationId(
  wanted: string | null | undefined,
  { initial, status }: Outcome,
  sent: grpc.Metadata,
): void {
  if (wanted === null || !status) {
    return;
  }
  const pattern = wanted ?? String(sent.get(CORRELATION_ID)[0]);
  const places: [string, unknown[]][] = [["the trailers", status.metadata.get(CORRELATION_ID)]];
  // Of an answer that is trailers only, grpc-js shows no initial metadata.
  if (initial || status.code === grpc.status.OK) {
    places.push(["the initial metadata", initial?.get(CORRELATION_ID) ?? []]);
  }
  if (status.code !== grpc.status.OK) {
    places.push(["the details", details(status, RequestInfoSchema).map(({ requestId }) => requestId)]);
  }
  const [id] = status.metadata.get(CORRELATION_ID);
  checkText(pattern, String(id), "correlation_id");
  for (const [place, ids] of places) {
    assert.deepEqual(ids, [id], `correlation_id in ${place}`);
  }
}

function details<D extends DescMessage>({ metadata }: grpc.StatusObject, schema: D): MessageShape<D>[] {
  const [bytes] = metadata.get("grpc-status-details-bin");
  const found = Buffer.isBuffer(bytes) ? fromBinary(StatusSchema, bytes).details : [];
  return found.map((detail: Any) => anyUnpack(detail, schema)).filter((each) => each !== undefined);
}

function shown(schema: DescMessage, bytes: Buffer, registry: Registry): Json {
  return toJson(schema, fromBinary(schema, bytes), { useProtoFieldName: true, registry }) as Json;
}

/** YAML's whole numbers as JSON knows them. */
function jsonOf(value: Json): JsonValue {
  const text = JSON.stringify(value, (_, each) => (typeof each === "bigint" ? wholeNumber(each) : each));
  return JSON.parse(text) as JsonValue;
}

function wholeNumber(number: bigint): number | string {
  return Number.isSafeInteger(Number(number)) ? Number(number) : String(number);
}
