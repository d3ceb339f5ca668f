// Values that do not print.

import { inspect } from "node:util";

const REDACTED = "[redacted]";

/** Text that must not reach a log: printed, inspected or turned into JSON it is `[redacted]`. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself. Not for logs, addresses or listings. */
  expose(): string {
    return this.#text;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return `${this.constructor.name} { ${REDACTED} }`;
  }
}

/**
 * A user session token: whoever holds it *is* the user. Any text can be taken for one; whether it is a good one,
 * {@link LanyardClient.verify} says.
 */
export class Ust extends Secret {}

/** The text of a value that is given as a secret or plainly. */
export function exposed(text: Secret | string): string {
  return typeof text === "string" ? text : text.expose();
}
