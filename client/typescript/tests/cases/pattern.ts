// Whether an answer, in proto3 JSON, is as a pattern says.

import { inspect, isDeepStrictEqual } from "node:util";

export type Json = null | string | number | bigint | boolean | readonly Json[] | { readonly [name: string]: Json };

type Fields = { readonly [name: string]: Json };

/** Fails, with the path, where it is not. */
export function check(pattern: Json, found: Json | undefined, path: string): void {
  if (pattern === null) {
    ensure(isDefault(found), path, "is there", found);
  } else if (isList(pattern)) {
    ensure(isList(found) && found.length === pattern.length, path, `is no list of ${pattern.length}`, found);
    for (const [index, each] of pattern.entries()) {
      check(each, (found as readonly Json[])[index], `${path}.${index}`);
    }
  } else if (typeof pattern !== "object") {
    checkText(String(pattern), found, path);
  } else if (Object.keys(pattern).some((key) => key.startsWith("~"))) {
    checkList(pattern, found, path);
  } else {
    ensure(isFields(found), path, "is no message", found);
    for (const [name, each] of Object.entries(pattern)) {
      check(each, (found as Fields)[name], `${path}.${name}`);
    }
  }
}

/** Text, or a number or boolean as text; `~` begins a regular expression for the whole of it. */
export function checkText(pattern: string, found: Json | undefined, path: string): void {
  const text = found === undefined || typeof found === "object" ? undefined : String(found);
  const isAsWanted = pattern.startsWith("~")
    ? text !== undefined && new RegExp(`^(?:${pattern.slice(1)})$`, "u").test(text)
    : text === pattern;
  ensure(isAsWanted, path, `is not ${inspect(pattern)}`, found);
}

function checkList(pattern: Fields, found: Json | undefined, path: string): void {
  // A list without elements is not there.
  const list = found ?? [];
  ensure(isList(list), path, "is no list", found);
  const elements = list as readonly Json[];
  for (const [key, each] of Object.entries(pattern)) {
    switch (key) {
      case "~length":
        ensure(elements.length === Number(each), path, `has not ${each} elements`, elements.length);
        break;
      case "~each":
        for (const [index, element] of elements.entries()) {
          check(each, element, `${path}.${index}`);
        }
        break;
      case "~contains":
        ensure(
          elements.some((element) => matches(each, element)),
          path,
          `has no ${inspect(each)}`,
          found,
        );
        break;
      default:
        throw new Error(`${path}: this runner does not know the pattern ${key}`);
    }
  }
}

function matches(pattern: Json, found: Json): boolean {
  try {
    check(pattern, found, "");
    return true;
  } catch {
    return false;
  }
}

function isDefault(found: Json | undefined): boolean {
  return [undefined, null, "", "0", 0, false, []].some((each) => isDeepStrictEqual(each, found));
}

function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

function isFields(value: Json | undefined): value is Fields {
  return typeof value === "object" && value !== null && !isList(value);
}

function ensure(condition: boolean, path: string, problem: string, found: unknown): void {
  if (!condition) {
    throw new Error(`${path} ${problem}: ${inspect(found, { depth: 6 }).slice(0, 500)}`);
  }
}
