// The package and the contract say the same.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { v1 } from "@lanyard/client";
import { required } from "./support/server.js";

const proto = join(required("LANYARD_REPOSITORY"), "proto", "lanyard", "v1");
const contract = readdirSync(proto).map((file) => readFileSync(join(proto, file), "utf8"));
const names = (pattern: RegExp): string[] =>
  contract.flatMap((text) => Array.from(text.matchAll(pattern), (m) => m[1] ?? ""));

test("every message, enum and service of the contract is there", () => {
  const there = new Set(Object.keys(v1));
  const messages = names(/^message (\w+)/gm).map((name) => `${name}Schema`);
  assert.ok(messages.length > 50);
  const wanted = [...messages, ...names(/^enum (\w+)/gm), ...names(/^service (\w+)/gm)];
  assert.deepEqual(
    wanted.filter((name) => !there.has(name)),
    [],
  );
});
