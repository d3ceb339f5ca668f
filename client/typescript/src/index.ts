/**
 * The TypeScript client of Lanyard: whose session is this, and is it still good?
 *
 * @module
 */

export { clone, create, fromJson, fromJsonString, toJson, toJsonString } from "@bufbuild/protobuf";
export {
  durationFromMs,
  durationMs,
  timestampDate,
  timestampFromDate,
  timestampFromMs,
  timestampMs,
} from "@bufbuild/protobuf/wkt";
export { sessionOf, subjectOf } from "./access.js";
export {
  type Credential,
  type DefinitionKey,
  LanyardClient,
  type Login,
  type TokenToVerify,
  type UserPlace,
} from "./client.js";
export {
  CORRELATION_ID_HEADER,
  currentCorrelationId,
  isCorrelationId,
  newCorrelationId,
  withCorrelationId,
} from "./correlation.js";
export { Code, type Failure, type FieldViolation, LanyardError } from "./error.js";
export { type HttpMiddleware, type RequireSessionOptions, requireSession } from "./http.js";
export {
  ConfigurationError,
  type LanyardClientOptions,
  type RetryOptions,
  type TlsOptions,
} from "./options.js";
export { type Page, Pages } from "./page.js";
export { type ProtectOptions, protect } from "./protect.js";
export type { Acting, AnswerOf, RequestOf, Rpc } from "./rpc.js";
export { Secret, Ust } from "./secret.js";
export {
  type GrpcImplementation,
  type GrpcServiceDefinition,
  type GrpcStub,
  grpcServiceDefinition,
  grpcStub,
} from "./service.js";
export type {
  AttributeOwnerKey,
  DefinitionChange,
  DefinitionFields,
  DefinitionSecretFields,
  LinkChange,
  LinkProof,
  PlatformAuth,
  Renewal,
  RevokeTarget,
  Subject,
  TotpEnrollment,
  UserChange,
} from "./subject.js";
export * as v1 from "./v1.js";
export { ApprovalStatus, AuthType, ErrorReason, InactiveReason, PlatformAuthScheme, RevokeReason, Role } from "./v1.js";
export { type Cases, InactiveSessionError, type Verdict, VerifiedSession } from "./verdict.js";
