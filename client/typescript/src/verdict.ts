// The answer to "is this token good?".

import { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
import {
  type AuthType,
  InactiveReason,
  RevokeReason,
  Role,
  type VerifiedSession as SessionMessage,
  type VerifySessionResponse,
} from "./v1.js";

/**
 * Whether a token is good; `active` tells which of the two it is.
 *
 * An object is true whatever it says, and a promise too. So {@link LanyardClient.verify} does not give one: it gives the
 * session or fails, or wants a function for each of the two cases.
 */
export type Verdict = VerifiedSession | InactiveSessionError;

/** What to do with either verdict. */
export interface Cases<A, I> {
  active(session: VerifiedSession): A;
  inactive(inactive: InactiveSessionError): I;
}

/** A good session: what a service needs to know about it on every request. */
export class VerifiedSession {
  readonly active = true;
  /** `ses_...`; public, safe in logs. */
  readonly sessionId: string;
  /** `usr_...`. */
  readonly userId: string;
  /** The user's name, as they write it. */
  readonly username: string;
  /** What the user may do. */
  readonly roles: readonly Role[];
  /** How the user proved who they are. */
  readonly authType: AuthType;
  /** The app into which the user logged in. */
  readonly currentApp: string;
  /** When the session ends if the user does nothing. */
  readonly idleExpireTime: Date | undefined;
  /** When the session ends whatever the user does. */
  readonly absoluteExpireTime: Date | undefined;
  /** How long this may be used again without asking, in milliseconds; 0: not at all. */
  readonly cacheForMs: number;

  constructor(session: SessionMessage, cacheForMs: number) {
    this.sessionId = session.sessionId;
    this.userId = session.userId;
    this.username = session.username;
    this.roles = session.roles;
    this.authType = session.authType;
    this.currentApp = session.currentApp;
    this.idleExpireTime = session.idleExpireTime && timestampDate(session.idleExpireTime);
    this.absoluteExpireTime = session.absoluteExpireTime && timestampDate(session.absoluteExpireTime);
    this.cacheForMs = cacheForMs;
  }

  /** Whether the user may act on everybody's behalf. */
  get isSuperUser(): boolean {
    return this.roles.includes(Role.SUPER_USER);
  }
}

/** Why a token is not good. It is for the calling service, not for the end user. */
export class InactiveSessionError extends Error {
  override readonly name = "InactiveSessionError";
  readonly active = false;
  /** Why; `UNSPECIFIED` where the server gave no reason that this client knows. */
  readonly reason: InactiveReason;
  /** Why it was revoked, with `InactiveReason.REVOKED`. */
  readonly revokeReason: RevokeReason;
  /** The ID of the call that told. */
  readonly correlationId: string;

  constructor(reason: InactiveReason, revokeReason: RevokeReason, correlationId: string) {
    const [known, knownRevoke] = [InactiveReason[reason] ? reason : 0, RevokeReason[revokeReason] ? revokeReason : 0];
    const why = knownRevoke ? `${InactiveReason[known]}: ${RevokeReason[knownRevoke]}` : InactiveReason[known];
    super(`the session is not active (${why}, correlation ID ${correlationId})`);
    this.reason = known;
    this.revokeReason = knownRevoke;
    this.correlationId = correlationId;
  }
}

/** Reads a verdict. One with neither case is inactive: a server newer than this client may know a third. */
export function verdictOf({ verdict, cacheFor }: VerifySessionResponse, correlationId: string): Verdict {
  switch (verdict.case) {
    case "session":
      return new VerifiedSession(verdict.value, cacheFor ? durationMs(cacheFor) : 0);
    case "inactive":
      return new InactiveSessionError(verdict.value.reason, verdict.value.revokeReason, correlationId);
    default:
      return new InactiveSessionError(InactiveReason.UNSPECIFIED, RevokeReason.UNSPECIFIED, correlationId);
  }
}
