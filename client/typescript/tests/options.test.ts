// How a client comes to be.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { ConfigurationError, LanyardClient, type LanyardClientOptions } from "@lanyard/client";

function refusal(endpoint: string, options: LanyardClientOptions = {}): Error {
  try {
    new LanyardClient(endpoint, options).close();
  } catch (error) {
    assert.ok(error instanceof ConfigurationError, String(error));
    return error;
  }
  return assert.fail(`${endpoint} was taken`);
}

test("what is no endpoint is refused, and a password in it is not repeated", () => {
  const none = ["", "127.0.0.1:50051", "ftp://127.0.0.1", "http://", "not an address", "http://host/path"];
  for (const endpoint of [...none, "http://host?x=1", "https://alice:secret@host"]) {
    assert.match(refusal(endpoint).message, /http:\/\/host:port or https:\/\/host:port$/);
  }
  for (const endpoint of ["http://127.0.0.1:1", "https://lanyard.example", "http://[::1]:50051/", "HTTP://HOST:80"]) {
    new LanyardClient(endpoint).close();
  }
});

test("a key that cannot be sent is refused and not repeated", () => {
  for (const apiKey of ["", "secret\n", "se cret", "secrét"]) {
    const error = refusal("http://127.0.0.1:1", { apiKey });
    assert.doesNotMatch(inspect(error).split("\n")[0] ?? "", /secr|se cret/);
  }
});

test("certificates are never forgotten on a connection in the clear", () => {
  for (const tls of [{}, { ca: "pem" }, { certificate: "pem", privateKey: "pem" }, { serverName: "lanyard" }]) {
    assert.match(refusal("http://127.0.0.1:1", { tls }).message, /https/);
  }
});

test("TLS settings that cannot be used are refused at once, and keys are not repeated", () => {
  for (const tls of [{ ca: "secret" }, { certificate: "secret", privateKey: "secret" }, { certificate: "secret" }]) {
    const error = refusal("https://127.0.0.1:1", { tls });
    assert.doesNotMatch(inspect(error), /: "?secret/);
  }
});

test("a deadline and retries that cannot be are refused", () => {
  for (const deadlineMs of [0, -1, Number.NaN]) {
    refusal("http://127.0.0.1:1", { deadlineMs });
  }
  for (const attempts of [0, 6, 1.5]) {
    refusal("http://127.0.0.1:1", { retry: { attempts } });
  }
  refusal("http://127.0.0.1:1", { retry: { initialBackoffMs: 0 } });
  new LanyardClient("http://127.0.0.1:1", { deadlineMs: Number.POSITIVE_INFINITY }).close();
});
