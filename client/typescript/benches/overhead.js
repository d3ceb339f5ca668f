// What the layer costs over the bare generated stub, for each call of verify. Prints one line of JSON.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { credentials, Metadata } from "@grpc/grpc-js";
import { create, grpcStub, LanyardClient, v1 } from "@lanyard/client";

const ROUNDS = 30;
const CALLS = 400;
/** One call after the other, and so many at once that this process has no idle moment. */
const [ALONE, BUSY] = [1, 32];

const folder = mkdtempSync(join(tmpdir(), "lanyard-bench-"));
const env = { ...process.env, LANYARD__SERVER__LISTEN: "127.0.0.1:0", LANYARD__LOG__LEVEL: "warn" };
const server = spawn(process.env.LANYARD_BIN, ["serve", "--dev", "--json", "--data-dir", join(folder, "data")], {
  env,
  stdio: ["ignore", "pipe", "inherit"],
});
try {
  const [line] = await once(createInterface(server.stdout), "line");
  const { endpoint, credentials_file: file } = JSON.parse(line);
  console.log(JSON.stringify(await measure(endpoint, JSON.parse(readFileSync(file, "utf8")))));
} finally {
  server.kill();
  await once(server, "exit");
  rmSync(folder, { recursive: true });
}

async function measure(endpoint, { caller_key: apiKey, demo_user: demo }) {
  const lanyard = new LanyardClient(endpoint, { apiKey });
  const { ust } = await lanyard.logIn(demo.username, demo.password);

  const stub = new (grpcStub(v1.SessionService))(new URL(endpoint).host, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${apiKey}`);
  const bare = () =>
    new Promise((resolve, reject) => {
      const request = create(v1.VerifySessionRequestSchema, { ust: ust.expose() });
      const options = { deadline: Date.now() + 2_000 };
      stub.verifySession(request, metadata, options, (problem, answer) =>
        problem ? reject(problem) : resolve(answer),
      );
    });
  const layer = () => lanyard.verify(ust);

  const alone = await compare(bare, layer, ALONE);
  const busy = await compare(bare, layer, BUSY);
  lanyard.close();
  stub.close();
  return {
    language: "typescript",
    bare_us: round(alone.bare),
    layer_us: round(alone.layer),
    ratio: round(alone.layer / alone.bare, 3),
    busy_bare_us: round(busy.bare),
    busy_layer_us: round(busy.layer),
    busy_ratio: round(busy.layer / busy.bare, 3),
  };
}

/** The median round of each, in microseconds for each call. They take turns, and turns at beginning. */
async function compare(bare, layer, atOnce) {
  await time(bare, atOnce);
  await time(layer, atOnce);
  const times = { bare: [], layer: [] };
  for (let index = 0; index < ROUNDS; index += 1) {
    const turns = [
      ["bare", bare],
      ["layer", layer],
    ];
    for (const [name, call] of index % 2 ? turns : turns.reverse()) {
      times[name].push(await time(call, atOnce));
    }
  }
  return { bare: median(times.bare), layer: median(times.layer) };
}

async function time(call, atOnce) {
  let left = CALLS;
  const work = async () => {
    while (left > 0) {
      left -= 1;
      await call();
    }
  };
  const begin = performance.now();
  await Promise.all(Array.from({ length: atOnce }, work));
  return ((performance.now() - begin) * 1000) / CALLS;
}

function median(numbers) {
  return numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

function round(number, digits = 1) {
  return Number(number.toFixed(digits));
}
