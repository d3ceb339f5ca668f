// Answers of the fake server.

import { status } from "@grpc/grpc-js";
import { create, type RequestOf, v1 } from "@lanyard/client";

export const code = status;

export function good(username: string): v1.VerifySessionResponse {
  const session = { username, sessionId: "ses_1", roles: [v1.Role.REGULAR] };
  return create(v1.VerifySessionResponseSchema, { verdict: { case: "session", value: session } });
}

export function bad(reason: v1.InactiveReason, revokeReason = v1.RevokeReason.UNSPECIFIED): v1.VerifySessionResponse {
  const inactive = { reason, revokeReason };
  return create(v1.VerifySessionResponseSchema, { verdict: { case: "inactive", value: inactive } });
}

export function page(sessionIds: string[], nextPageToken: string): v1.ListSessionsResponse {
  const sessions = sessionIds.map((sessionId) => ({ sessionId }));
  return create(v1.ListSessionsResponseSchema, { sessions, nextPageToken });
}

export type ListSessions = RequestOf<typeof v1.SessionService.method.listSessions>;
