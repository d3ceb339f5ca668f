// GET /whoami says whose session it is and how many accounts are linked to them, and asks the next service the same: one
// correlation ID and one trace go through all.
//
//   LISTEN              host:port, default 127.0.0.1:8080
//   LANYARD_ENDPOINT    http://host:port or https://host:port
//   LANYARD_CALLER_KEY  the key of this service
//   NEXT                the address of the next service, if there is one

import {
  CORRELATION_ID_HEADER,
  currentCorrelationId,
  LanyardClient,
  requireSession,
  sessionOf,
  subjectOf,
} from "@lanyard/client";
import express from "express";

const {
  LISTEN = "127.0.0.1:8080",
  LANYARD_ENDPOINT = "http://127.0.0.1:50051",
  LANYARD_CALLER_KEY,
  NEXT,
} = process.env;

const lanyard = new LanyardClient(LANYARD_ENDPOINT, { ...(LANYARD_CALLER_KEY && { apiKey: LANYARD_CALLER_KEY }) });
const app = express();

app.use(requireSession(lanyard));

app.get("/whoami", async (request, response) => {
  response.json({
    language: "typescript",
    username: sessionOf(request).username,
    correlation_id: currentCorrelationId(),
    links: (await subjectOf(request).getLinkedAuthList()).length,
    ...(NEXT && { next: await ask(NEXT, request.headers.authorization) }),
  });
});

// `traceparent` is not here: the instrumentation of `fetch` sends it.
async function ask(next: string, authorization = ""): Promise<unknown> {
  const headers = { authorization, [CORRELATION_ID_HEADER]: currentCorrelationId() ?? "" };
  const answer = await fetch(`${next}/whoami`, { headers, signal: AbortSignal.timeout(5_000) });
  if (!answer.ok) {
    throw new Error(`${next} answered ${answer.status}`);
  }
  return answer.json();
}

const { hostname, port } = new URL(`http://${LISTEN}`);
const server = app.listen(Number(port || 80), hostname, (problem) => {
  if (problem) {
    throw problem;
  }
  const address = server.address();
  console.log(`listening on ${hostname}:${typeof address === "object" ? address?.port : port}`);
});
