// How middleware lets somebody in, whatever the protocol.

import type { LanyardClient, UserPlace } from "./client.js";
import { isCorrelationId, newCorrelationId, withCorrelationId } from "./correlation.js";
import { Code, LanyardError } from "./error.js";
import { Ust } from "./secret.js";
import type { Subject } from "./subject.js";
import { InactiveSessionError, type VerifiedSession } from "./verdict.js";

/** Who was let in, by their request or call. */
const admitted = new WeakMap<object, { session: VerifiedSession; subject: Subject }>();

/**
 * Whose session a request or a call is in.
 *
 * @throws Error if neither `requireSession` nor `protect` let it in
 */
export function sessionOf(requestOrCall: object): VerifiedSession {
  return accessOf(requestOrCall).session;
}

/**
 * The client on behalf of the user of a request or a call.
 *
 * @throws Error if neither `requireSession` nor `protect` let it in
 */
export function subjectOf(requestOrCall: object): Subject {
  return accessOf(requestOrCall).subject;
}

function accessOf(requestOrCall: object): { session: VerifiedSession; subject: Subject } {
  const access = admitted.get(requestOrCall);
  if (!access) {
    throw new Error("nothing protects this: `requireSession` or `protect` must come first");
  }
  return access;
}

/** Somebody who wants to come in. */
export interface Visitor {
  /** The request or call. */
  readonly key: object;
  /** Its `authorization`. */
  readonly authorization: string | undefined;
  /** Its `x-correlation-id`. */
  readonly correlationId: unknown;
  readonly place: UserPlace;
}

/** What became of it: exactly one is called, with the correlation ID as that of the context. */
export interface Door {
  /** Before anything is asked. */
  arrived?(correlationId: string): void;
  open(correlationId: string): void;
  /** The token is missing or not good. */
  refuse(correlationId: string, hasToken: boolean): void;
  /** Lanyard did not answer. */
  fail(error: LanyardError, correlationId: string): void;
}

/** Lets somebody in whose token is good, and nobody else. */
export function admit(lanyard: LanyardClient, visitor: Visitor, door: Door): void {
  const correlationId = isCorrelationId(visitor.correlationId) ? visitor.correlationId : newCorrelationId();
  withCorrelationId(correlationId, () => {
    door.arrived?.(correlationId);
    const token = bearer(visitor.authorization);
    if (!token) {
      door.refuse(correlationId, false);
      return;
    }
    const there = lanyard.withClientInfo(visitor.place);
    // A problem of what comes behind the door is not caught here: it is not one of the verification.
    there.verify(token).then(
      (session) => {
        admitted.set(visitor.key, { session, subject: there.onBehalfOf(token) });
        door.open(correlationId);
      },
      (error: unknown) => {
        if (error instanceof InactiveSessionError) {
          door.refuse(correlationId, true);
        } else if (error instanceof LanyardError) {
          door.fail(error, correlationId);
        } else {
          throw error;
        }
      },
    );
  });
}

/** Whether it is only now that Lanyard cannot answer. */
export function isTransient({ code }: LanyardError): boolean {
  const { UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED } = Code;
  return code === UNAVAILABLE || code === DEADLINE_EXCEEDED || code === RESOURCE_EXHAUSTED;
}

function bearer(authorization: string | undefined): Ust | undefined {
  const token = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
  return token === undefined ? undefined : new Ust(token);
}
