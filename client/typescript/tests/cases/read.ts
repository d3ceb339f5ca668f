// The cases as they are written. A key that is not known fails the case.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { Json } from "./pattern.js";

export type Texts = Record<string, string | null>;

export interface Step {
  readonly call: string;
  readonly via?: "wire" | "client" | "client_tls" | "client_mtls";
  readonly endpoint?: string;
  readonly metadata?: Texts;
  readonly request?: Json;
  readonly requests?: readonly Json[];
  readonly request_bytes?: string;
  readonly deadline_ms?: number;
  readonly expect?: Expect;
  readonly save?: Record<string, string>;
}

export interface Expect {
  readonly code?: string;
  readonly reason?: string | null;
  readonly field_violations?: readonly string[];
  readonly retry_info?: boolean;
  readonly correlation_id?: string | null;
  readonly message?: Json;
  readonly messages?: readonly Json[];
  readonly verified?: boolean;
  readonly items?: number;
}

export interface Case {
  readonly name: string;
  readonly steps: readonly Step[];
}

const CASE_KEYS = words("name steps");
const STEP_KEYS = words("call via endpoint metadata request requests request_bytes deadline_ms expect save");
const EXPECT_KEYS = words("code reason field_violations retry_info correlation_id message messages verified items");

export function readCases(folder: string): Case[] {
  const files = readdirSync(folder).filter((name) => name.endsWith(".yaml"));
  return files.sort().flatMap((name) => {
    const text = readFileSync(join(folder, name), "utf8");
    // Numbers beyond 2^53 stay whole.
    return parse(text, { version: "1.2", intAsBigInt: true, maxAliasCount: -1 }) as Case[];
  });
}

/** Fails where somebody wrote what this runner does not know. */
export function checkKeys(one: Case): void {
  checkKnown(one, CASE_KEYS, "a case");
  for (const step of one.steps) {
    checkKnown(step, STEP_KEYS, "a step");
    checkKnown(step.expect ?? {}, EXPECT_KEYS, "`expect`");
  }
}

function checkKnown(found: object, known: string[], where: string): void {
  const unknown = Object.keys(found).filter((key) => !known.includes(key));
  if (unknown.length > 0) {
    throw new Error(`this runner does not know ${unknown.join(", ")} in ${where}`);
  }
}

function words(text: string): string[] {
  return text.split(" ");
}
