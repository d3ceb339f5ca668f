// The example service, asking another one of its kind: one correlation ID and one trace go through both, and into Lanyard.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { LanyardClient } from "@lanyard/client";
import { firstLine, kill, type Lanyard, startLanyard } from "./support/server.js";

const TRACE = "0af7651916cd43dd8448eb211c80319c";

let server: Lanyard;
let lanyard: LanyardClient;
const services: ChildProcess[] = [];

before(async () => {
  server = await startLanyard();
  lanyard = new LanyardClient(server.endpoint, { apiKey: server.callerKey });
});

after(async () => {
  lanyard.close();
  await Promise.all(services.map(kill));
  await server.stop();
});

async function startWhoami(next?: string): Promise<string> {
  const env = {
    ...process.env,
    LISTEN: "127.0.0.1:0",
    LANYARD_ENDPOINT: server.endpoint,
    LANYARD_CALLER_KEY: server.callerKey,
    ...(next && { NEXT: next }),
  };
  const service = spawn(process.execPath, ["--import", "./dist/tracing.js", "dist/whoami.js"], {
    cwd: new URL("../whoami/", import.meta.url),
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  services.push(service);
  return (await firstLine(service)).replace("listening on ", "http://");
}

test("one correlation ID and one trace go through two services", async (t) => {
  // The last of the chain is one that remembers what it was told.
  const told: Record<string, unknown>[] = [];
  const last = createServer((request, response) => {
    told.push(request.headers);
    response.setHeader("content-type", "application/json").end('{"language":"none"}');
  });
  last.listen(0, "127.0.0.1");
  t.after(() => last.closeAllConnections());
  t.after(() => last.close());
  await new Promise((resolve) => last.once("listening", resolve));
  const second = await startWhoami(`http://127.0.0.1:${(last.address() as AddressInfo).port}`);
  const first = await startWhoami(second);

  const { ust } = await lanyard.logIn(server.demoUser.username, server.demoUser.password);
  const authorization = `Bearer ${ust.expose()}`;
  const headers = { authorization, "x-correlation-id": "order-4711", traceparent: `00-${TRACE}-b7ad6b7169203331-01` };
  const answer = await fetch(`${first}/whoami`, { headers });
  assert.equal(answer.status, 200);
  const one = { language: "typescript", username: server.demoUser.username, correlation_id: "order-4711", links: 1 };
  assert.deepEqual(await answer.json(), { ...one, next: { ...one, next: { language: "none" } } });
  const [{ traceparent, "x-correlation-id": id, authorization: passed } = {}] = told;
  assert.equal(id, "order-4711");
  assert.equal(passed, authorization);
  assert.match(String(traceparent), new RegExp(`^00-${TRACE}-(?!b7ad6b7169203331)[0-9a-f]{16}-01$`));
});

test("nobody is told who they are without a good token", async () => {
  const address = await startWhoami();
  assert.equal((await fetch(`${address}/whoami`)).status, 401);
  const { ust } = await lanyard.logIn(server.demoUser.username, server.demoUser.password);
  await lanyard.onBehalfOf(ust).logOut();
  const headers = { authorization: `Bearer ${ust.expose()}` };
  assert.equal((await fetch(`${address}/whoami`, { headers })).status, 401);
});
