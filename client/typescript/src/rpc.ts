// What the contract says about its RPCs.

import type { DescMessage, DescMethod, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { file_lanyard_v1_attribute } from "./gen/lanyard/v1/attribute_pb.js";
import { file_lanyard_v1_audit } from "./gen/lanyard/v1/audit_pb.js";
import { file_lanyard_v1_definition } from "./gen/lanyard/v1/definition_pb.js";
import { file_lanyard_v1_linked_auth } from "./gen/lanyard/v1/linked_auth_pb.js";
import { file_lanyard_v1_session } from "./gen/lanyard/v1/session_pb.js";
import { file_lanyard_v1_user } from "./gen/lanyard/v1/user_pb.js";

/** A unary RPC of the contract, such as `SessionService.method.verifySession`. */
export type Rpc<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> = DescMethod & {
  readonly methodKind: "unary";
  readonly input: I;
  readonly output: O;
};

/** Only an {@link Rpc} that acts on behalf of a user. */
export type Acting<R extends Rpc> = MessageShape<R["input"]> extends { ust: string } ? R : never;

/** What may be given for the request of an RPC: any of its fields. */
export type RequestOf<R extends Rpc> = MessageInitShape<R["input"]>;

/** What comes back from an RPC. */
export type AnswerOf<R extends Rpc> = MessageShape<R["output"]>;

/** All services of the contract. */
export const SERVICES: readonly DescService[] = [
  file_lanyard_v1_session,
  file_lanyard_v1_user,
  file_lanyard_v1_linked_auth,
  file_lanyard_v1_definition,
  file_lanyard_v1_attribute,
  file_lanyard_v1_audit,
].flatMap((file) => file.services);

/** Whether an RPC has no side effects and may be tried again. */
export function isRead(method: DescMethod): boolean {
  return method.idempotency === IdempotencyLevel.NO_SIDE_EFFECTS;
}
