// The client on behalf of a user.

import type { Message } from "@bufbuild/protobuf";
import { durationMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { DefinitionKey, LanyardClient } from "./client.js";
import { type Page, Pages } from "./page.js";
import type { Acting, AnswerOf, RequestOf, Rpc } from "./rpc.js";
import { exposed, Secret, Ust } from "./secret.js";
import {
  type Attribute,
  AttributeService,
  type AuditEvent,
  AuditService,
  type Definition,
  DefinitionService,
  type LinkedAuth,
  LinkedAuthService,
  type LockUserResponse,
  type PlatformAuthScheme,
  type PlatformSettings,
  type RejectUserResponse,
  type RotateDefinitionSecretResponse,
  SessionService,
  type UpdateDefinitionResponse,
  type User,
  UserService,
  type UserSession,
} from "./v1.js";

/** A session with more time. */
export interface Renewal {
  readonly session: UserSession;
  /** The new token, if there is one: hand it to the user in the place of the old one. */
  readonly ust: Ust | undefined;
  /** Until when the old token keeps working; only with a new one. */
  readonly graceTime: Timestamp | undefined;
}

/** The credential of a platform, and what there is to know for calling it. */
export interface PlatformAuth {
  /** The whole value of the header `Authorization`. For calls to `micetroUrl` only; never to be stored, logged or passed on. */
  readonly micetroAuth: Secret;
  readonly scheme: PlatformAuthScheme;
  /** The base URL. */
  readonly micetroUrl: string;
  /** The name of the platform. */
  readonly platform: string;
  /** How long it may be used before it is asked for again, in milliseconds. */
  readonly validForMs: number;
  /** How the platform is to be called. */
  readonly settings: PlatformSettings | undefined;
}

/** A user after a change that ends sessions. */
export interface UserChange {
  readonly user: User;
  /** How many live sessions ended. */
  readonly revokedCount: bigint;
}

/** A link after a change that may end sessions. */
export interface LinkChange {
  readonly link: LinkedAuth;
  /** How many live sessions ended. */
  readonly revokedCount: bigint;
}

/** A definition after a change that may end sessions. */
export interface DefinitionChange {
  readonly definition: Definition;
  /** How many live sessions ended. */
  readonly revokedCount: bigint;
}

/** A new TOTP secret, shown once. */
export interface TotpEnrollment {
  /** The secret in base32, to be typed. */
  readonly secret: Secret;
  /** The same as an `otpauth://` address, to be shown as a QR code. */
  readonly otpauthUri: Secret;
}

type OneOf<R extends Rpc, F extends keyof RequestOf<R>> = NonNullable<RequestOf<R>[F]>;

/** Which sessions {@link Subject.revokeSessions} ends. */
export type RevokeTarget = OneOf<typeof SessionService.method.revokeSessions, "target">;
/** A credential of the definition that {@link Subject.createOwnLinkedAuth} links. */
export type LinkProof = OneOf<typeof LinkedAuthService.method.createLinkedAuth, "proof">;
/** What an attribute belongs to. */
export type AttributeOwnerKey = NonNullable<OneOf<typeof AttributeService.method.setAttributes, "owner">["owner"]>;
type AttributeToSet = OneOf<typeof AttributeService.method.setAttributes, "attributes">[number];
/** A definition to create. */
export type DefinitionFields = OneOf<typeof DefinitionService.method.createDefinition, "definition">;
/** Its secret. */
export type DefinitionSecretFields = OneOf<typeof DefinitionService.method.createDefinition, "secret">;

/**
 * A user on whose behalf the service acts: a {@link LanyardClient} and the user's token. See
 * {@link LanyardClient.onBehalfOf}.
 */
export class Subject {
  readonly #client: LanyardClient;
  readonly #ust: Ust;

  /** @internal */
  constructor(client: LanyardClient, ust: Ust) {
    this.#client = client;
    this.#ust = ust;
  }

  /** The own session. */
  async currentSession(): Promise<UserSession> {
    return this.getSession("");
  }

  /** A session by its ID; another's needs a super-user. */
  async getSession(sessionId: string): Promise<UserSession> {
    return this.#callFor(SessionService.method.getSession, { sessionId }, "session", (answer) => answer.session);
  }

  /** Sessions, newest first: the own ones or, for super-users, those of a user or of everybody. */
  listSessions(request: RequestOf<typeof SessionService.method.listSessions> = {}): Pages<UserSession> {
    return this.#pages(SessionService.method.listSessions, request, (answer) => answer.sessions);
  }

  /** Gives the own session more time. If its token had been replaced already, the new one comes along. */
  async renew(): Promise<Renewal> {
    return this.#renew(false);
  }

  /** Gives the own session more time and a new token. The old one keeps working for a short grace. */
  async rotate(): Promise<Renewal> {
    return this.#renew(true);
  }

  async #renew(rotate: boolean): Promise<Renewal> {
    return this.#callFor(
      SessionService.method.renewSession,
      { rotate },
      "session or new token",
      ({ session, ust, graceTime }) =>
        session && (ust || !rotate) ? { session, ust: ust ? new Ust(ust) : undefined, graceTime } : undefined,
    );
  }

  /**
   * The credential with which the platform of the session is called. The calling service needs a grant for it, and each
   * time is written to the audit trail. Ask again after `validForMs`; with `refused` after the platform answered 401 to it.
   */
  async getPlatformAuth({ refused = false } = {}): Promise<PlatformAuth> {
    return this.#callFor(SessionService.method.getPlatformAuth, { refused }, "credential", (answer) => {
      const { micetroAuth, scheme, micetroUrl, platform, validFor, settings } = answer;
      const validForMs = validFor ? durationMs(validFor) : 0;
      return micetroAuth
        ? { micetroAuth: new Secret(micetroAuth), scheme, micetroUrl, platform, validForMs, settings }
        : undefined;
    });
  }

  /** Ends the own session. True if it was live. */
  async logOut(): Promise<boolean> {
    return this.revokeSession("");
  }

  /** Ends a session by its ID; another's needs a super-user. True if it was live. */
  async revokeSession(sessionId: string): Promise<boolean> {
    return (await this.call(SessionService.method.revokeSession, { sessionId })).revoked;
  }

  /** Ends all own sessions but this one, and returns how many were live. */
  async logOutElsewhere(): Promise<bigint> {
    return this.revokeSessions(undefined, { keepCurrent: true });
  }

  /** Ends many sessions (`undefined`: the own ones), and returns how many were live. `keepCurrent` spares this one. */
  async revokeSessions(target?: RevokeTarget, { keepCurrent = false } = {}): Promise<bigint> {
    const request = { ...(target && { target }), keepCurrent };
    return (await this.call(SessionService.method.revokeSessions, request)).revokedCount;
  }

  /** The acting user. */
  async currentUser(): Promise<User> {
    return this.#callFor(UserService.method.getCurrentUser, {}, "user", (answer) => answer.user);
  }

  /** A user by ID. Super-users only; see {@link currentUser}. */
  async getUser(userId: string): Promise<User> {
    const request = { key: { case: "userId" as const, value: userId } };
    return this.#callFor(UserService.method.getUser, request, "user", (answer) => answer.user);
  }

  /** A user by name. Super-users only. */
  async getUserByName(username: string): Promise<User> {
    const request = { key: { case: "username" as const, value: username } };
    return this.#callFor(UserService.method.getUser, request, "user", (answer) => answer.user);
  }

  /** Users in the order of their creation. Super-users only. */
  listUsers(request: RequestOf<typeof UserService.method.listUsers> = {}): Pages<User> {
    return this.#pages(UserService.method.listUsers, request, (answer) => answer.users);
  }

  /** Adds a user. Super-users only. */
  async createUser(request: RequestOf<typeof UserService.method.createUser>): Promise<User> {
    return this.#callFor(UserService.method.createUser, request, "user", (answer) => answer.user);
  }

  /** Changes the fields that the mask of the request names. */
  async updateUser(request: RequestOf<typeof UserService.method.updateUser>): Promise<User> {
    return this.#callFor(UserService.method.updateUser, request, "user", (answer) => answer.user);
  }

  /** Removes a user, and returns how many live sessions ended. Super-users only. */
  async deleteUser(userId: string): Promise<bigint> {
    return (await this.call(UserService.method.deleteUser, { userId })).revokedCount;
  }

  /** Keeps a user out and ends their sessions. Super-users only. */
  async lockUser(userId: string): Promise<UserChange> {
    return this.#callFor(UserService.method.lockUser, { userId }, "user", userChange);
  }

  /** Lets a locked user log in again. Super-users only. */
  async unlockUser(userId: string): Promise<User> {
    return this.#callFor(UserService.method.unlockUser, { userId }, "user", (answer) => answer.user);
  }

  /** Lets a user in who was waiting or rejected. Super-users only. */
  async approveUser(userId: string): Promise<User> {
    return this.#callFor(UserService.method.approveUser, { userId }, "user", (answer) => answer.user);
  }

  /** Keeps a user out for good and ends their sessions. Super-users only. */
  async rejectUser(userId: string): Promise<UserChange> {
    return this.#callFor(UserService.method.rejectUser, { userId }, "user", userChange);
  }

  /** Replaces the own password, ends all other own sessions and returns how many. */
  async changePassword(oldPassword: Secret | string, newPassword: Secret | string): Promise<bigint> {
    const request = { oldPassword: exposed(oldPassword), newPassword: exposed(newPassword) };
    return (await this.call(UserService.method.changePassword, request)).revokedCount;
  }

  /**
   * Gives a user a new password, ends their sessions and returns how many; `mustChange`: they must choose another one at
   * the next login. Super-users only.
   */
  async setPassword(userId: string, newPassword: Secret | string, { mustChange = false } = {}): Promise<bigint> {
    const request = { userId, newPassword: exposed(newPassword), mustChange };
    return (await this.call(UserService.method.setPassword, request)).revokedCount;
  }

  /** Makes a new TOTP secret for the acting user and shows it, once. It counts after {@link confirmTotp}. */
  async enrollTotp(password: Secret | string): Promise<TotpEnrollment> {
    const { secret, otpauthUri } = await this.call(UserService.method.enrollTotp, { password: exposed(password) });
    return { secret: new Secret(secret), otpauthUri: new Secret(otpauthUri) };
  }

  /** Turns the second factor on with a code, ends all other own sessions and returns how many. */
  async confirmTotp(code: Secret | string): Promise<bigint> {
    return (await this.call(UserService.method.confirmTotp, { totpCode: exposed(code) })).revokedCount;
  }

  /** Turns the own second factor off, ends all other own sessions and returns how many. */
  async disableTotp(password: Secret | string): Promise<bigint> {
    return (await this.call(UserService.method.disableTotp, { password: exposed(password) })).revokedCount;
  }

  /** Turns another's second factor off, ends their sessions and returns how many. Super-users only. */
  async disableTotpOf(userId: string): Promise<bigint> {
    return (await this.call(UserService.method.disableTotp, { userId })).revokedCount;
  }

  /**
   * The accounts that are linked to a user, oldest first, all of them (Zato SSO's `get_linked_auth_list`). Without
   * `userId` the own ones; another's need a super-user.
   */
  async getLinkedAuthList(userId = ""): Promise<LinkedAuth[]> {
    return this.listLinkedAuth({ userId, pageSize: 200 }).all();
  }

  /** The same, page by page. */
  listLinkedAuth(request: RequestOf<typeof LinkedAuthService.method.listLinkedAuth> = {}): Pages<LinkedAuth> {
    return this.#pages(LinkedAuthService.method.listLinkedAuth, request, (answer) => answer.links);
  }

  /** Links a definition to a user. Super-users only. */
  async createLinkedAuth(userId: string, definition: DefinitionKey): Promise<LinkedAuth> {
    const request = { userId, definition: { definition } };
    return this.#callFor(LinkedAuthService.method.createLinkedAuth, request, "link", (answer) => answer.link);
  }

  /**
   * Links to the acting user the definition of which `proof` is a good credential. They must have logged in with a
   * password in the last five minutes, and the policy of the app must allow it.
   */
  async createOwnLinkedAuth(proof: LinkProof): Promise<LinkedAuth> {
    return this.#callFor(LinkedAuthService.method.createLinkedAuth, { proof }, "link", (answer) => answer.link);
  }

  /** Turns a link on or off; the sessions that began with one that is turned off end. Super-users only. */
  async updateLinkedAuth(linkId: string, isActive: boolean): Promise<LinkChange> {
    return this.#callFor(
      LinkedAuthService.method.updateLinkedAuth,
      { linkId, isActive },
      "link",
      ({ link, revokedCount }) => link && { link, revokedCount },
    );
  }

  /** Removes a link, and returns how many live sessions ended: those that began with it. Super-users only. */
  async deleteLinkedAuth(linkId: string): Promise<bigint> {
    return (await this.call(LinkedAuthService.method.deleteLinkedAuth, { linkId })).revokedCount;
  }

  /** Adds a definition, with what its credentials are checked against. Super-users only, as all about definitions. */
  async createDefinition(definition: DefinitionFields, secret: DefinitionSecretFields): Promise<Definition> {
    const request = { definition, secret };
    return this.#callFor(
      DefinitionService.method.createDefinition,
      request,
      "definition",
      (answer) => answer.definition,
    );
  }

  /** A definition by its number. */
  async getDefinition(authId: bigint): Promise<Definition> {
    const request = { authId };
    return this.#callFor(DefinitionService.method.getDefinition, request, "definition", (answer) => answer.definition);
  }

  /** Definitions in the order of their numbers. */
  listDefinitions(request: RequestOf<typeof DefinitionService.method.listDefinitions> = {}): Pages<Definition> {
    return this.#pages(DefinitionService.method.listDefinitions, request, (answer) => answer.definitions);
  }

  /** Changes the fields that the mask of the request names. */
  async updateDefinition(
    request: RequestOf<typeof DefinitionService.method.updateDefinition>,
  ): Promise<DefinitionChange> {
    return this.#callFor(DefinitionService.method.updateDefinition, request, "definition", definitionChange);
  }

  /** Removes a definition with its link, and returns how many live sessions ended: those that began with it. */
  async deleteDefinition(authId: bigint): Promise<bigint> {
    return (await this.call(DefinitionService.method.deleteDefinition, { authId })).revokedCount;
  }

  /** Gives a definition another secret or other keys. */
  async rotateDefinitionSecret(
    request: RequestOf<typeof DefinitionService.method.rotateDefinitionSecret>,
  ): Promise<DefinitionChange> {
    return this.#callFor(DefinitionService.method.rotateDefinitionSecret, request, "definition", definitionChange);
  }

  /** Creates or replaces attributes of a user or session (`undefined`: the acting user): all of them or, with an error, none. */
  async setAttributes(owner: AttributeOwnerKey | undefined, attributes: AttributeToSet[]): Promise<Attribute[]> {
    const request = { ...(owner && { owner: { owner } }), attributes };
    return (await this.call(AttributeService.method.setAttributes, request)).attributes;
  }

  /** Attributes that have not expired, in the order of their names. */
  listAttributes(request: RequestOf<typeof AttributeService.method.listAttributes> = {}): Pages<Attribute> {
    return this.#pages(AttributeService.method.listAttributes, request, (answer) => answer.attributes);
  }

  /** Removes attributes of a user or session (`undefined`: the acting user): all of them or, if one is not there, none. */
  async deleteAttributes(owner: AttributeOwnerKey | undefined, names: string[]): Promise<number> {
    const request = { ...(owner && { owner: { owner } }), names };
    return (await this.call(AttributeService.method.deleteAttributes, request)).deletedCount;
  }

  /** Audit events, newest first. Super-users only. */
  listAuditEvents(request: RequestOf<typeof AuditService.method.listAuditEvents> = {}): Pages<AuditEvent> {
    return this.#pages(AuditService.method.listAuditEvents, request, (answer) => answer.events);
  }

  /** Sends any acting request of the contract with the user's token and gives the whole answer. */
  async call<R extends Rpc>(rpc: Acting<R>, request: RequestOf<R>): Promise<AnswerOf<R>> {
    return this.#client.call(rpc, this.#sign(request));
  }

  #callFor<R extends Rpc, T>(
    rpc: Acting<R>,
    request: RequestOf<R>,
    missing: string,
    part: (answer: AnswerOf<R>) => T | undefined,
  ): Promise<T> {
    return this.#client.callFor(rpc, this.#sign(request), missing, part);
  }

  #pages<R extends Rpc, T>(
    rpc: Acting<R>,
    request: RequestOf<R> & { pageToken?: string },
    items: (answer: AnswerOf<R>) => T[],
  ): Pages<T> {
    return new Pages(request.pageToken ?? "", async (pageToken): Promise<Page<T>> => {
      const answer = await this.call(rpc, { ...request, pageToken });
      return { items: items(answer), nextPageToken: (answer as Message & { nextPageToken: string }).nextPageToken };
    });
  }

  #sign<Q extends object>(request: Q): Q {
    return { ...request, ust: this.#ust.expose() };
  }
}

function userChange({ user, revokedCount }: LockUserResponse | RejectUserResponse): UserChange | undefined {
  return user && { user, revokedCount };
}

function definitionChange(
  answer: UpdateDefinitionResponse | RotateDefinitionSecretResponse,
): DefinitionChange | undefined {
  const { definition, revokedCount } = answer;
  return definition && { definition, revokedCount };
}
