// Middleware for HTTP services: Express, and all that call middleware as it does.

import type { IncomingMessage, ServerResponse } from "node:http";
import { admit, isTransient } from "./access.js";
import type { LanyardClient } from "./client.js";
import { CORRELATION_ID_HEADER } from "./correlation.js";
import type { LanyardError } from "./error.js";

/** How {@link requireSession} sees a request. */
export interface RequireSessionOptions<R extends IncomingMessage> {
  /**
   * Where the user is. Default: `request.ip`, which Express works out (see its `trust proxy`), else the address of the
   * connection.
   */
  remoteAddr?(request: R): string | undefined;
}

/** A function as `app.use` takes it. */
export type HttpMiddleware<R extends IncomingMessage> = (
  request: R,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * Lets through only requests with a good token in `Authorization: Bearer ...`; all others are answered with 401. What
 * comes behind finds the session with {@link sessionOf} and acts for its user with {@link subjectOf}.
 *
 * ```ts
 * app.use(requireSession(lanyard));
 * app.get("/hello", (request, response) => response.send(`hello, ${sessionOf(request).username}`));
 * ```
 *
 * The correlation ID of `X-Correlation-Id` (or a new one) is that of everything behind, and of the answer. Where Lanyard
 * does not answer, nobody is let through: the {@link LanyardError} goes to the app's error handler, with `status` 503, or
 * 500 where trying again does not help.
 */
export function requireSession<R extends IncomingMessage = IncomingMessage>(
  lanyard: LanyardClient,
  options: RequireSessionOptions<R> = {},
): HttpMiddleware<R> {
  const remoteAddr = options.remoteAddr ?? addressOf;
  return (request, response, next) => {
    const { authorization, [CORRELATION_ID_HEADER]: correlationId, "user-agent": userAgent = "" } = request.headers;
    const place = { remoteAddr: remoteAddr(request) ?? "", userAgent };
    admit(
      lanyard,
      { key: request, authorization, correlationId, place },
      {
        arrived: (id) => void response.setHeader(CORRELATION_ID_HEADER, id),
        open: () => next(),
        refuse: (id, hasToken) => refuse(response, id, hasToken),
        fail: (error) => next(withHttpStatus(error)),
      },
    );
  };
}

function addressOf(request: IncomingMessage & { ip?: string }): string | undefined {
  return request.ip ?? request.socket.remoteAddress;
}

/** Why the token is not good is not told: that is for the service, not for whoever sent it. */
function refuse(response: ServerResponse, correlationId: string, hasToken: boolean): void {
  response.statusCode = 401;
  // RFC 6750: no error code for who sent nothing.
  response.setHeader("WWW-Authenticate", hasToken ? 'Bearer error="invalid_token"' : "Bearer");
  response.setHeader("Content-Type", "application/json");
  response.setHeader("Cache-Control", "no-store");
  response.end(JSON.stringify({ error: "a good session is required", correlation_id: correlationId }));
}

/** As Express's error handler reads it. */
function withHttpStatus(error: LanyardError): LanyardError {
  if (!isTransient(error)) {
    return Object.assign(error, { status: 500 });
  }
  const seconds = Math.max(1, Math.ceil((error.retryAfterMs ?? 0) / 1000));
  return Object.assign(error, { status: 503, headers: { "Retry-After": String(seconds) } });
}
