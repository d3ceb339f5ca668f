// The client: how a call is made, and what a service asks for itself.

import { clone, create } from "@bufbuild/protobuf";
import type * as Grpc from "@grpc/grpc-js";
import { CORRELATION_ID_HEADER, checked, currentCorrelationId, newCorrelationId } from "./correlation.js";
import { Code, errorOfStatus, incompleteAnswer, LanyardError } from "./error.js";
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from "./gen/health/v1/health_pb.js";
import { grpc } from "./grpc.js";
import { authorizationOf, connectionOf, deadlineOf, type LanyardClientOptions } from "./options.js";
import { redactWhenPrinted } from "./redaction.js";
import type { AnswerOf, RequestOf, Rpc } from "./rpc.js";
import { exposed, type Secret, Ust } from "./secret.js";
import { methodDefinition } from "./service.js";
import { Subject } from "./subject.js";
import { injectTraceContext } from "./tracing.js";
import {
  type ClientInfo,
  ClientInfoSchema,
  type DefinitionRef,
  LinkedAuthService,
  type LinkedUser,
  SessionService,
  type UserSession,
  type Warning,
} from "./v1.js";
import { type Cases, type Verdict, type VerifiedSession, verdictOf } from "./verdict.js";

const CONNECT_TIMEOUT_MS = 5_000;

/** A login that succeeded. */
export interface Login {
  /** The token. That of a login with a password cannot be shown again. */
  readonly ust: Ust;
  /** The new session, or the live one of the same external credential. */
  readonly session: UserSession;
  /** What the user should know: the password expires soon, ... */
  readonly warnings: readonly Warning[];
}

/** Where a user is, as the calling service sees it. */
export type UserPlace = RequestFields<ClientInfo>;

/** One token of a batch. */
export type TokenToVerify = Ust | string | { ust: Ust | string; client?: UserPlace };

/** What a user logs in with. */
export type Credential = NonNullable<RequestOf<typeof SessionService.method.createSession>["credential"]>;

/** A definition, by its number or by type and username. */
export type DefinitionKey = NonNullable<Extract<DefinitionRef["definition"], { case: string }>>;

type RequestFields<M> = { [K in keyof M as K extends `$${string}` ? never : K]?: M[K] };

interface Shared {
  readonly connection: Grpc.Client;
  readonly authorization: string | undefined;
}

interface Settings {
  readonly deadlineMs: number;
  readonly place: UserPlace | undefined;
  readonly correlationId?: string;
  readonly signal?: AbortSignal;
}

/** A client that was made from another shares its connection. */
class Derived {
  constructor(
    readonly shared: Shared,
    readonly settings: Settings,
  ) {}
}

/**
 * A connection to Lanyard. One for the whole service; those made from it (`withClientInfo`, ...) are cheap and share it.
 *
 * ```ts
 * const lanyard = new LanyardClient("http://127.0.0.1:50051", { apiKey, currentApp: "CRM" });
 * const session = await lanyard.verify(ust);
 * ```
 */
export class LanyardClient {
  readonly #shared: Shared;
  readonly #settings: Settings;

  /**
   * Makes a client of the server at `endpoint`: `http://host:port` or `https://host:port`. It connects with the first call.
   *
   * @throws ConfigurationError if an option is not good
   */
  constructor(endpoint: string, options?: LanyardClientOptions);
  /** @internal */
  constructor(derived: Derived);
  constructor(from: string | Derived, options: LanyardClientOptions = {}) {
    if (from instanceof Derived) {
      this.#shared = from.shared;
      this.#settings = from.settings;
      return;
    }
    this.#settings = {
      deadlineMs: deadlineOf(options.deadlineMs),
      place: options.currentApp === undefined ? undefined : { currentApp: options.currentApp },
    };
    const authorization = authorizationOf(options);
    this.#shared = { authorization, connection: connectionOf(from, options) };
  }

  /** The same client for a user who is elsewhere. Where `currentApp` is empty, the one so far stays. */
  withClientInfo(place: UserPlace): LanyardClient {
    const currentApp = place.currentApp || (this.#settings.place?.currentApp ?? "");
    return this.#with({ place: { ...place, currentApp } });
  }

  /** The same client with a correlation ID for all its calls; it goes before the one of the context. */
  withCorrelationId(correlationId: string): LanyardClient {
    return this.#with({ correlationId: checked(correlationId) });
  }

  /** The same client with another deadline. */
  withDeadline(deadlineMs: number): LanyardClient {
    return this.#with({ deadlineMs: deadlineOf(deadlineMs) });
  }

  /** The same client, whose calls end (CANCELLED) when the signal says so. */
  withSignal(signal: AbortSignal): LanyardClient {
    return this.#with({ signal });
  }

  #with(changes: Partial<Settings>): LanyardClient {
    return new LanyardClient(new Derived(this.#shared, { ...this.#settings, ...changes }));
  }

  /** The client on behalf of the user whose token this is. */
  onBehalfOf(ust: Ust | string): Subject {
    return new Subject(this, typeof ust === "string" ? new Ust(ust) : ust);
  }

  /** Connects now, and fails if the server cannot be reached in time. */
  async connect(timeoutMs = CONNECT_TIMEOUT_MS): Promise<void> {
    const problem = await new Promise<Error | undefined>((resolve) => {
      this.#shared.connection.waitForReady(Date.now() + timeoutMs, resolve);
    });
    if (problem) {
      throw new LanyardError({
        code: Code.UNAVAILABLE,
        details: `the server cannot be reached within ${timeoutMs} ms`,
        correlationId: this.idOfCall(),
      });
    }
  }

  /** Closes the connection, also of the clients made from this one. */
  close(): void {
    this.#shared.connection.close();
  }

  /** Logs a user in with username and password. For a code or a new password see {@link createSession}. */
  async logIn(username: string, password: Secret | string): Promise<Login> {
    return this.createSession({ case: "password", value: { username, password: exposed(password) } });
  }

  /** Logs in the user that a basic-auth definition is linked to, into the live session of that definition or a new one. */
  async logInBasicAuth(username: string, secret: Secret | string): Promise<Login> {
    return this.createSession({ case: "basicAuth", value: { username, secret: exposed(secret) } });
  }

  /**
   * Logs in the user that the definition of a JWT is linked to, into the live session of that token or a new one. For a
   * code see {@link createSession}.
   */
  async logInJwt(token: Secret | string): Promise<Login> {
    return this.createSession({ case: "jwt", value: { token: exposed(token) } });
  }

  /**
   * Logs in the user who has this name on a platform, with the password there. For a code or a unique name see
   * {@link createSession}.
   */
  async logInPlatform(platform: string, username: string, password: Secret | string): Promise<Login> {
    return this.createSession({ case: "platform", value: { platform, username, password: exposed(password) } });
  }

  /** Logs a user in. */
  async createSession(credential: Credential): Promise<Login> {
    return this.callFor(
      SessionService.method.createSession,
      { credential },
      "session or token",
      ({ ust, session, warnings }) => (ust && session ? { ust: new Ust(ust), session, warnings } : undefined),
    );
  }

  /**
   * Whose session is this? Gives the session of a good token, and fails for every other, so that nothing can be taken
   * for a success that is none:
   *
   * ```ts
   * const session = await lanyard.verify(ust);
   * ```
   *
   * Where a token that is not good is an answer like any other, say what to do in both cases. What the function of the
   * case returns comes back:
   *
   * ```ts
   * const greeting = await lanyard.verify(ust, {
   *   active: (session) => `hello, ${session.username}`,
   *   inactive: (inactive) => `log in again: ${inactive.message}`,
   * });
   * ```
   *
   * It counts as the user's activity.
   *
   * @throws InactiveSessionError (without cases) if the token is not good
   * @throws LanyardError if there is no answer; it says nothing about the token
   */
  verify(ust: Ust | string): Promise<VerifiedSession>;
  verify<A, I>(ust: Ust | string, cases: Cases<A, I>): Promise<Awaited<A> | Awaited<I>>;
  async verify(ust: Ust | string, cases?: Cases<unknown, unknown>): Promise<unknown> {
    return decide(await this.#verdict(ust, false), cases);
  }

  /** The same as {@link verify}, but not counted as the user's activity. */
  peek(ust: Ust | string): Promise<VerifiedSession>;
  peek<A, I>(ust: Ust | string, cases: Cases<A, I>): Promise<Awaited<A> | Awaited<I>>;
  async peek(ust: Ust | string, cases?: Cases<unknown, unknown>): Promise<unknown> {
    return decide(await this.#verdict(ust, true), cases);
  }

  async #verdict(ust: Ust | string, peek: boolean): Promise<Verdict> {
    const id = this.idOfCall();
    const answer = await this.#call(SessionService.method.verifySession, { ust: exposed(ust), peek }, id);
    return verdictOf(answer, id);
  }

  /** Asks about up to 500 tokens at once: one verdict each, in the same order. Counts as the users' activity. */
  async batchVerify(tokens: Iterable<TokenToVerify>): Promise<Verdict[]> {
    return this.#verdicts(tokens, false);
  }

  /** The same as {@link batchVerify}, but not counted as the users' activity. */
  async batchPeek(tokens: Iterable<TokenToVerify>): Promise<Verdict[]> {
    return this.#verdicts(tokens, true);
  }

  async #verdicts(tokens: Iterable<TokenToVerify>, peek: boolean): Promise<Verdict[]> {
    const sessions = Array.from(tokens, sessionToVerify);
    const id = this.idOfCall();
    const { verdicts } = await this.#call(SessionService.method.batchVerifySessions, { sessions, peek }, id);
    if (verdicts.length !== sessions.length) {
      // A verdict that is one place off is somebody else's.
      throw incompleteAnswer("verdict for each token", id);
    }
    return verdicts.map((verdict) => verdictOf(verdict, id));
  }

  /**
   * Whom up to 500 definitions are linked to: one answer each, in the same order. `undefined`: there is no such
   * definition, or it is linked to nobody.
   */
  async lookupLinkedAuth(definitions: Iterable<DefinitionKey>): Promise<(LinkedUser | undefined)[]> {
    const refs = Array.from(definitions, (definition) => ({ definition }));
    // An answer that is one place off is of somebody else.
    return this.callFor(
      LinkedAuthService.method.lookupLinkedAuth,
      { definitions: refs },
      "answer for each definition",
      ({ users }) => (users.length === refs.length ? users.map((user) => (user.userId ? user : undefined)) : undefined),
    );
  }

  /**
   * Asks the server whether it serves (`grpc.health.v1`); needs no key. `service` is empty for the server as a whole. Not
   * tried again: the answer is about this moment.
   */
  async isServing(service = ""): Promise<boolean> {
    const { status } = await this.call(Health.method.check, { service });
    return status === ServingStatus.SERVING;
  }

  /**
   * Sends any request of the contract and gives the whole answer: `call(SessionService.method.verifySession, { ust })`.
   * `client` is filled in if it is absent; `ust` is sent as it is: see {@link Subject.call}.
   */
  async call<R extends Rpc>(rpc: R, request: RequestOf<R>): Promise<AnswerOf<R>> {
    return this.#call(rpc, request, this.idOfCall());
  }

  /** A call that must have some part of its answer.
   * @internal */
  async callFor<R extends Rpc, T>(
    rpc: R,
    request: RequestOf<R>,
    missing: string,
    part: (answer: AnswerOf<R>) => T | undefined,
  ): Promise<T> {
    const id = this.idOfCall();
    const found = part(await this.#call(rpc, request, id));
    if (found === undefined) {
      throw incompleteAnswer(missing, id);
    }
    return found;
  }

  /** The ID that a call made here and now has.
   * @internal */
  idOfCall(): string {
    return this.#settings.correlationId ?? currentCorrelationId() ?? newCorrelationId();
  }

  async #call<R extends Rpc>(rpc: R, request: RequestOf<R>, correlationId: string): Promise<AnswerOf<R>> {
    const outcome = await this.#send(rpc, this.#message(rpc, request), correlationId);
    if ("answer" in outcome) {
      return redactWhenPrinted(rpc.output, outcome.answer);
    }
    throw errorOfStatus(outcome.status, correlationId);
  }

  #message<R extends Rpc>(rpc: R, request: RequestOf<R>): object {
    const made = create(rpc.input, request);
    const { place } = this.#settings;
    if (place === undefined || rpc.input.field["client"]?.message?.typeName !== ClientInfoSchema.typeName) {
      return made;
    }
    // `create` gives a message back as it is; that of the caller stays as it was.
    const message = (made === request ? clone(rpc.input, made) : made) as { client?: ClientInfo };
    message.client ??= create(ClientInfoSchema, place);
    return message;
  }

  #send<R extends Rpc>(rpc: R, message: object, correlationId: string): Promise<Outcome<AnswerOf<R>>> {
    const { connection } = this.#shared;
    const { deadlineMs, signal } = this.#settings;
    const { path, requestSerialize, responseDeserialize } = definitionOf(rpc);
    return new Promise((resolve) => {
      const done = (status: Grpc.ServiceError | null, answer?: unknown): void => {
        signal?.removeEventListener("abort", cancel);
        resolve(status ? { status } : { answer: answer as AnswerOf<R> });
      };
      const options = { deadline: Date.now() + deadlineMs };
      const metadata = this.#metadata(correlationId);
      const call = connection.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        message,
        metadata,
        options,
        done,
      );
      const cancel = (): void => call.cancel();
      signal?.addEventListener("abort", cancel, { once: true });
      if (signal?.aborted) {
        cancel();
      }
    });
  }

  #metadata(correlationId: string): Grpc.Metadata {
    const metadata = new grpc.Metadata();
    metadata.set(CORRELATION_ID_HEADER, correlationId);
    if (this.#shared.authorization) {
      metadata.set("authorization", this.#shared.authorization);
    }
    injectTraceContext(metadata);
    return metadata;
  }
}

type Outcome<A> = { answer: A } | { status: Grpc.ServiceError };

const definitions = new WeakMap<Rpc, Grpc.MethodDefinition<object, object>>();

function definitionOf(rpc: Rpc): Grpc.MethodDefinition<object, object> {
  let definition = definitions.get(rpc);
  if (!definition) {
    definition = methodDefinition(rpc) as unknown as Grpc.MethodDefinition<object, object>;
    definitions.set(rpc, definition);
  }
  return definition;
}

function decide(verdict: Verdict, cases: Cases<unknown, unknown> | undefined): unknown {
  if (cases) {
    return verdict.active ? cases.active(verdict) : cases.inactive(verdict);
  }
  if (verdict.active) {
    return verdict;
  }
  throw verdict;
}

function sessionToVerify(token: TokenToVerify): { ust: string; client?: UserPlace } {
  if (typeof token === "string" || token instanceof Ust) {
    return { ust: exposed(token) };
  }
  return { ...token, ust: exposed(token.ust) };
}
