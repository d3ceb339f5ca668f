// The first program of the README, as it is printed there. Its other blocks are compiled: client/typescript/test.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { type Lanyard, startLanyard } from "./support/server.js";

let server: Lanyard;

before(async () => {
  server = await startLanyard();
});

after(() => server.stop());

test("the first call of the README says who may come in", async () => {
  const env = {
    ...process.env,
    LANYARD_ENDPOINT: server.endpoint,
    LANYARD_CALLER_KEY: server.callerKey,
    LANYARD_PASSWORD: server.demoUser.password,
  };
  const { stdout } = await promisify(execFile)(process.execPath, ["first.mjs"], { env });
  assert.match(stdout, /^demo may come in\nses_[0-9a-f]{32} 127\.0\.0\.1\n$/);
});
