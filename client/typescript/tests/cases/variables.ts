// `${name}` in the strings of a step.

import { createHmac, randomBytes } from "node:crypto";
import type { Json } from "./pattern.js";

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

export class Variables {
  readonly #values: Map<string, string>;

  constructor(shared: Record<string, string>) {
    this.#values = new Map(Object.entries(shared)).set("unique", randomBytes(6).toString("hex"));
  }

  get(name: string): string {
    const value = this.#values.get(name);
    if (value === undefined) {
      throw new Error(`there is no variable ${name}`);
    }
    return value;
  }

  set(name: string, value: string): void {
    this.#values.set(name, value);
  }

  /** The same with its variables replaced; what is put in is not looked at again. */
  replaceIn<T>(value: T): T {
    return this.#replace(value as Json) as T;
  }

  #replace(value: Json): Json {
    if (typeof value === "string") {
      return value.replace(/\$\{(totp:)?([^}]*)\}/g, (_, isTotp: string | undefined, name: string) =>
        isTotp ? totp(this.get(name)) : this.get(name),
      );
    }
    if (Array.isArray(value)) {
      return value.map((each: Json) => this.#replace(each));
    }
    if (typeof value === "object" && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, this.#replace(each)]));
    }
    return value;
  }
}

/** The code of now (RFC 6238: SHA-1, six digits, 30 seconds). */
function totp(secret: string): string {
  const bits = Array.from(secret, (character) => BASE32.indexOf(character).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const digest = createHmac("sha1", key).update(counter).digest();
  const offset = (digest.at(-1) ?? 0) & 0xf;
  const number = digest.readUInt32BE(offset) & 0x7fff_ffff;
  return String(number % 1_000_000).padStart(6, "0");
}
