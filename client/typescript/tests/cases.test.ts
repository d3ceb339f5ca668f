// The cases that every client language runs: tests/cases in the repository says what a runner does.

import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync } from "node:fs";
import { after, before, test } from "node:test";
import * as layer from "./cases/layer.js";
import type { Json } from "./cases/pattern.js";
import { type Case, checkKeys, readCases } from "./cases/read.js";
import { Variables } from "./cases/variables.js";
import { Wire } from "./cases/wire.js";
import { firstLine, kill, required } from "./support/server.js";

const report = process.env["LANYARD_CASES_REPORT"];

let server: ChildProcess;
let shared: Record<string, string>;
let wire: Wire;

before(async () => {
  server = spawn(required("LANYARD_CASE_SERVER"), { stdio: ["pipe", "pipe", "inherit"] });
  shared = JSON.parse(await firstLine(server)) as Record<string, string>;
  wire = new Wire(shared["descriptor_file"] ?? "");
});

after(async () => {
  wire?.close();
  // It ends when nobody holds its standard input.
  server.stdin?.end();
  await kill(server);
});

for (const one of readCases(required("LANYARD_CASES"))) {
  test(one.name, async () => {
    try {
      await tell(one);
      note(one, { result: "passed" });
    } catch (problem) {
      note(one, { result: "failed", reason: problem instanceof Error ? problem.message : String(problem) });
      throw problem;
    }
  });
}

async function tell(one: Case): Promise<void> {
  checkKeys(one);
  const variables = new Variables(shared);
  for (const written of one.steps) {
    const step = variables.replaceIn(written);
    const answer =
      (step.via ?? "wire") === "wire" ? await wire.take(step, variables) : await layer.take(step, variables);
    for (const [name, path] of Object.entries(step.save ?? {})) {
      variables.set(name, valueAt(answer, path));
    }
  }
}

function valueAt(answer: Json, path: string): string {
  let value: unknown = answer;
  for (const part of path.split(".")) {
    value = (value as Record<string, unknown> | undefined)?.[part];
  }
  if (value === undefined) {
    throw new Error(`save: there is no ${path}`);
  }
  return String(value);
}

function note(one: Case, outcome: { result: string; reason?: string }): void {
  if (report) {
    appendFileSync(report, `${JSON.stringify({ language: "typescript", case: one.name, ...outcome })}\n`);
  }
}
