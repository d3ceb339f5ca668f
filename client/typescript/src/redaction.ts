// Answers with fields that must not be printed: those that the contract marks `debug_redact`.

import { inspect } from "node:util";
import type { DescField, DescMessage } from "@bufbuild/protobuf";

type Fields = Record<string, unknown>;

interface Plan {
  /** Local names of the fields that hold secrets. */
  readonly secrets: readonly string[];
  /** Fields with messages that may hold some. */
  readonly inner: readonly DescField[];
}

const plans = new Map<string, Plan>();

/** Makes a message, and those in it, print and turn into JSON without their secrets. */
export function redactWhenPrinted<M extends object>(schema: DescMessage, message: M): M {
  const { secrets, inner } = planOf(schema);
  for (const field of inner) {
    for (const value of messagesIn(field, message as Fields)) {
      redactWhenPrinted(field.message as DescMessage, value);
    }
  }
  if (secrets.length > 0) {
    const hidden = () => withoutSecrets(message as Fields, secrets);
    Object.defineProperty(message, inspect.custom, { value: hidden });
    Object.defineProperty(message, "toJSON", { value: hidden });
  }
  return message;
}

function withoutSecrets(message: Fields, secrets: readonly string[]): Fields {
  const copy: Fields = { ...message };
  for (const name of secrets) {
    if (copy[name]) {
      copy[name] = "[redacted]";
    }
  }
  return copy;
}

function* messagesIn(field: DescField, message: Fields): Iterable<object> {
  const value = field.oneof ? chosen(message[field.oneof.localName], field) : message[field.localName];
  if (Array.isArray(value)) {
    yield* value;
  } else if (typeof value === "object" && value !== null) {
    yield value;
  }
}

function chosen(oneof: unknown, field: DescField): unknown {
  const { case: name, value } = oneof as { case?: string; value?: unknown };
  return name === field.localName ? value : undefined;
}

function planOf(schema: DescMessage): Plan {
  const known = plans.get(schema.typeName);
  if (known) {
    return known;
  }
  const plan: Plan = {
    secrets: schema.fields.filter(isSecret).map((field) => field.localName),
    inner: schema.fields.filter((field) => field.message !== undefined && holdsSecrets(field.message)),
  };
  plans.set(schema.typeName, plan);
  return plan;
}

function holdsSecrets(schema: DescMessage): boolean {
  const { secrets, inner } = planOf(schema);
  return secrets.length > 0 || inner.length > 0;
}

function isSecret(field: DescField): boolean {
  return field.proto.options?.debugRedact === true;
}
