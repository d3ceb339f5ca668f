// A real server, with a folder of its own, that is gone when the tests are over.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

interface Person {
  readonly username: string;
  readonly password: string;
}

export interface Lanyard {
  readonly endpoint: string;
  readonly callerKey: string;
  readonly superUser: Person;
  readonly demoUser: Person;
  readonly demoDefinition: { readonly username: string; readonly secret: string };
  stop(): Promise<void>;
}

/** Starts `lanyard serve --dev` ($LANYARD_BIN) on a free port. */
export async function startLanyard(): Promise<Lanyard> {
  const program = required("LANYARD_BIN");
  const folder = mkdtempSync(join(tmpdir(), "lanyard-typescript-"));
  const env = { ...process.env, LANYARD__SERVER__LISTEN: "127.0.0.1:0", LANYARD__LOG__LEVEL: "warn" };
  const server = spawn(program, ["serve", "--dev", "--json", "--data-dir", join(folder, "data")], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { endpoint, credentials_file: file } = JSON.parse(await firstLine(server)) as Record<string, string>;
  const credentials = JSON.parse(readFileSync(file ?? "", "utf8"));
  return {
    endpoint: endpoint ?? "",
    callerKey: credentials.caller_key,
    superUser: credentials.super_user,
    demoUser: credentials.demo_user,
    demoDefinition: credentials.demo_definition,
    stop: async () => {
      await kill(server);
      rmSync(folder, { recursive: true });
    },
  };
}

/** The first line that a program says; the test fails if it says none. */
export async function firstLine(program: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    program.once("error", reject);
    program.once("exit", (code) => reject(new Error(`${program.spawnfile} ended (${code}) before it said a word`)));
    if (program.stdout) {
      createInterface(program.stdout).once("line", resolve);
    }
  });
}

export async function kill(program: ChildProcess): Promise<void> {
  if (program.exitCode !== null) {
    return;
  }
  const ended = new Promise((resolve) => program.once("exit", resolve));
  program.kill("SIGTERM");
  await ended;
}

export function required(variable: string): string {
  const value = process.env[variable];
  if (!value) {
    throw new Error(`$${variable} is not set: client/typescript/test sets it`);
  }
  return value;
}
