// The correlation ID of the request that is being served.

import { AsyncLocalStorage } from "node:async_hooks";
import { v7 } from "uuid";

/** The metadata key, and the HTTP header, that carries it. */
export const CORRELATION_ID_HEADER = "x-correlation-id";

const PATTERN = /^[A-Za-z0-9._:-]{1,128}$/;

const current = new AsyncLocalStorage<string>();

/** Whether a text is a correlation ID: 1 to 128 of letters, digits, `.`, `_`, `:` and `-`. */
export function isCorrelationId(text: unknown): text is string {
  return typeof text === "string" && PATTERN.test(text);
}

/** Makes a new correlation ID (a UUIDv7). */
export function newCorrelationId(): string {
  return v7();
}

/** The correlation ID of the current asynchronous context, if it has one. */
export function currentCorrelationId(): string | undefined {
  return current.getStore();
}

/**
 * Runs something with a correlation ID: all calls made in it, and in what it awaits, carry it.
 *
 * @throws TypeError if it is no correlation ID; the text is not repeated, it may be anything
 */
export function withCorrelationId<T>(correlationId: string, run: () => T): T {
  return current.run(checked(correlationId), run);
}

export function checked(correlationId: string): string {
  if (!isCorrelationId(correlationId)) {
    throw new TypeError("a correlation ID is 1 to 128 of letters, digits, `.`, `_`, `:` and `-`");
  }
  return correlationId;
}
