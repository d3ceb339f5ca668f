// Why a call failed.

import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { type Any, anyUnpack, durationMs } from "@bufbuild/protobuf/wkt";
import type * as Grpc from "@grpc/grpc-js";
import { CORRELATION_ID_HEADER, isCorrelationId } from "./correlation.js";
import {
  BadRequestSchema,
  type ErrorInfo,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "./gen/google/rpc/status_pb.js";
import { ErrorReason } from "./gen/lanyard/v1/error_pb.js";
import { grpc } from "./grpc.js";

const DOMAIN = "lanyard";
const DETAILS_KEY = "grpc-status-details-bin";

/** The gRPC status codes. */
export const Code: typeof Grpc.status = grpc.status;
export type Code = Grpc.status;

/** A field that was refused, and why. */
export interface FieldViolation {
  readonly field: string;
  readonly description: string;
}

/** What {@link LanyardError} is made of. */
export interface Failure {
  readonly code: Code;
  readonly details: string;
  readonly correlationId: string;
  readonly reason?: ErrorReason;
  readonly fieldViolations?: readonly FieldViolation[];
  readonly retryAfterMs?: number | undefined;
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Why a call failed. Decide by `reason`; where that is `ErrorReason.UNSPECIFIED` (the connection failed, something
 * between here and the server answered, or the server is newer than this client), by `code`.
 */
export class LanyardError extends Error {
  override readonly name = "LanyardError";
  /** The reason, one of the contract's list. */
  readonly reason: ErrorReason;
  /** The gRPC status code. */
  readonly code: Code;
  /** What the server says, for people; may change at any time. `message` adds reason, fields and correlation ID. */
  readonly details: string;
  /** Find the call in logs, traces and the audit trail by it. */
  readonly correlationId: string;
  /** Which fields were refused, and why. */
  readonly fieldViolations: readonly FieldViolation[];
  /** How long the server asks to wait before trying again, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** What else there is to know about the reason; the contract says what, where there is something. */
  readonly metadata: Readonly<Record<string, string>>;

  constructor(failure: Failure) {
    super(messageOf(failure));
    this.reason = failure.reason ?? ErrorReason.UNSPECIFIED;
    this.code = failure.code;
    this.details = failure.details;
    this.correlationId = failure.correlationId;
    this.fieldViolations = failure.fieldViolations ?? [];
    this.retryAfterMs = failure.retryAfterMs;
    this.metadata = failure.metadata ?? {};
  }

  /** The acting user's token is not good: they must log in again. */
  get isSessionInvalid(): boolean {
    return this.reason === ErrorReason.SESSION_INVALID;
  }

  /** No such session, user or attribute, or not one that the acting user may see. */
  get isNotFound(): boolean {
    return this.code === Code.NOT_FOUND;
  }

  /** The number that a platform gives its error, where the call failed for one. */
  get upstreamCode(): number | undefined {
    const code = Number(this.metadata["upstream_code"]);
    return Number.isSafeInteger(code) ? code : undefined;
  }

  /** The server could not be reached or cannot answer now. It says nothing about any session. */
  get isUnavailable(): boolean {
    return this.code === Code.UNAVAILABLE;
  }
}

/** The error of a call that ended with this status; `sent` is the correlation ID that it was sent with. */
export function errorOfStatus(status: Grpc.StatusObject, sent: string): LanyardError {
  const details = detailsOf(status.metadata);
  const info = find(details, ErrorInfoSchema);
  const retryDelay = find(details, RetryInfoSchema)?.retryDelay;
  const violations = find(details, BadRequestSchema)?.fieldViolations ?? [];
  return new LanyardError({
    code: status.code,
    details: status.details,
    reason: reasonOf(status.code, info),
    correlationId: correlationIdOf(status.metadata, details) ?? sent,
    fieldViolations: violations.map(({ field, description }) => ({ field, description })),
    retryAfterMs: retryDelay && durationMs(retryDelay),
    metadata: info?.domain === DOMAIN ? info.metadata : {},
  });
}

/** The server answered OK and yet not what the contract says. */
export function incompleteAnswer(missing: string, sent: string): LanyardError {
  return new LanyardError({
    code: Code.INTERNAL,
    details: `the answer has no ${missing}`,
    correlationId: sent,
  });
}

/** What a status carries, whoever wrote it: bytes that are no details count as none. */
function detailsOf(metadata: Grpc.Metadata): readonly Any[] {
  const [bytes] = metadata.get(DETAILS_KEY);
  if (!Buffer.isBuffer(bytes)) {
    return [];
  }
  try {
    return fromBinary(StatusSchema, bytes).details;
  } catch {
    return [];
  }
}

function find<D extends DescMessage>(details: readonly Any[], schema: D): MessageShape<D> | undefined {
  for (const detail of details) {
    try {
      const message = anyUnpack(detail, schema);
      if (message) {
        return message;
      }
    } catch {
      // Not what it says it is.
    }
  }
  return undefined;
}

/** Only what Lanyard itself says is a reason of Lanyard; a proxy may send an `ErrorInfo` of its own. */
function reasonOf(code: Code, info: ErrorInfo | undefined): ErrorReason {
  if (info?.domain === DOMAIN) {
    const reason: unknown = ErrorReason[info.reason as keyof typeof ErrorReason];
    return typeof reason === "number" ? reason : ErrorReason.UNSPECIFIED;
  }
  // This side keeps the deadline, too; then nobody sends details.
  return code === Code.DEADLINE_EXCEEDED && !info ? ErrorReason.DEADLINE_EXCEEDED : ErrorReason.UNSPECIFIED;
}

/** The server replaces an ID that it cannot take, so its word counts before what was sent. */
function correlationIdOf(metadata: Grpc.Metadata, details: readonly Any[]): string | undefined {
  const told = [find(details, RequestInfoSchema)?.requestId, metadata.get(CORRELATION_ID_HEADER)[0]];
  return told.find(isCorrelationId);
}

function messageOf({ code, details, reason, fieldViolations, correlationId }: Failure): string {
  const name = reason ? ErrorReason[reason] : Code[code];
  const fields = (fieldViolations ?? []).map(({ field, description }) => `, ${field}: ${description}`);
  return `${details || "the call failed"} (${name}${fields.join("")}, correlation ID ${correlationId})`;
}
