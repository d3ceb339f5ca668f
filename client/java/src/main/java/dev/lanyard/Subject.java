package dev.lanyard;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import com.google.protobuf.Timestamp;
import dev.lanyard.v1.*;
import io.grpc.MethodDescriptor;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;

/**
 * A user on whose behalf the service acts: a {@link LanyardClient} and the user's token. It does not print the token. Every verb
 * throws {@link LanyardException}; {@link LanyardException#isSessionInvalid} says that the user must log in again.
 */
public final class Subject {
    private final LanyardClient client;
    private final Ust ust;

    Subject(LanyardClient client, Ust ust) {
        this.client = client;
        this.ust = Objects.requireNonNull(ust, "ust");
    }

    /** Sends any acting request of the contract with the user's token and gives the whole answer. */
    public <Q extends Message, A> A call(MethodDescriptor<Q, A> method, Q request) {
        return client.newCall().send(method, sign(request));
    }

    // ---------------------------------------------------------------- sessions

    /** The own session; without {@code session_auth}, which is the token. */
    public UserSession currentSession() {
        return getSession("");
    }

    /** A session by its ID; another's needs a super-user. */
    public UserSession getSession(String sessionId) {
        var request = GetSessionRequest.newBuilder().setSessionId(sessionId).build();
        return part(SessionServiceGrpc.getGetSessionMethod(), request, "session",
                GetSessionResponse::hasSession, answer -> Login.withoutToken(answer.getSession()));
    }

    /** Sessions, newest first: the own ones or, for super-users, those of a user or of everybody. */
    public Pages<UserSession> listSessions(ListSessionsRequest request) {
        return new Pages<>(request.getPageToken(), token -> {
            var page = request.toBuilder().setPageToken(token).build();
            var answer = call(SessionServiceGrpc.getListSessionsMethod(), page);
            return new Page<>(answer.getSessionsList(), answer.getNextPageToken());
        });
    }

    /** Gives the own session more time. If its token had been replaced already, the new one comes along. */
    public Renewal renew() {
        return renew(false);
    }

    /** Gives the own session more time and a new token. The old one keeps working for a short grace. */
    public Renewal rotate() {
        return renew(true);
    }

    private Renewal renew(boolean rotate) {
        var request = RenewSessionRequest.newBuilder().setRotate(rotate).build();
        return part(SessionServiceGrpc.getRenewSessionMethod(), request, "session or new token",
                answer -> answer.hasSession() && !(rotate && answer.getUst().isEmpty()),
                answer -> new Renewal(
                        Login.withoutToken(answer.getSession()),
                        Optional.of(answer.getUst()).filter(token -> !token.isEmpty()).map(Ust::of),
                        answer.hasGraceTime() ? Optional.of(instant(answer.getGraceTime())) : Optional.empty()));
    }

    /** Ends the own session. True if it was live. */
    public boolean logOut() {
        return revokeSession("");
    }

    /** Ends a session by its ID; another's needs a super-user. True if it was live. */
    public boolean revokeSession(String sessionId) {
        var request = RevokeSessionRequest.newBuilder().setSessionId(sessionId).build();
        return call(SessionServiceGrpc.getRevokeSessionMethod(), request).getRevoked();
    }

    /** Ends all own sessions but this one, and returns how many were live. */
    public long logOutElsewhere() {
        return revokeSessions(RevokeSessionsRequest.newBuilder().setKeepCurrent(true).build());
    }

    /** Ends many sessions (without a target: the own ones), and returns how many were live. */
    public long revokeSessions(RevokeSessionsRequest request) {
        return call(SessionServiceGrpc.getRevokeSessionsMethod(), request).getRevokedCount();
    }

    /**
     * The credential with which the platform of the session is called, for a service that may have it. Each time is written to the
     * audit trail.
     */
    public PlatformAuth getPlatformAuth() {
        return getPlatformAuth(false);
    }

    /** The same after the platform answered 401 with it: a new one, or the session is revoked. */
    public PlatformAuth getPlatformAuthAfterRefusal() {
        return getPlatformAuth(true);
    }

    private PlatformAuth getPlatformAuth(boolean refused) {
        var request = GetPlatformAuthRequest.newBuilder().setRefused(refused).build();
        return part(SessionServiceGrpc.getGetPlatformAuthMethod(), request, "credential",
                answer -> !answer.getMicetroAuth().isEmpty(),
                answer -> new PlatformAuth(
                        answer.getPlatform(),
                        answer.getMicetroUrl(),
                        answer.getMicetroAuth(),
                        answer.getScheme(),
                        Durations.toJava(answer.getValidFor()),
                        answer.getSettings()));
    }

    // ---------------------------------------------------------------- linked accounts

    /**
     * The accounts that are linked to the user, oldest first, all of them (Zato SSO's {@code get_linked_auth_list}).
     */
    public List<LinkedAuth> getLinkedAuthList() {
        return getLinkedAuthList("");
    }

    /** The accounts that are linked to a user (empty: the own ones). Another's need a super-user. */
    public List<LinkedAuth> getLinkedAuthList(String userId) {
        var request = ListLinkedAuthRequest.newBuilder().setUserId(userId).setPageSize(Integer.MAX_VALUE);
        return listLinkedAuth(request.build()).stream().toList();
    }

    /** The same, page by page. */
    public Pages<LinkedAuth> listLinkedAuth(ListLinkedAuthRequest request) {
        return new Pages<>(request.getPageToken(), token -> {
            var page = request.toBuilder().setPageToken(token).build();
            var answer = call(LinkedAuthServiceGrpc.getListLinkedAuthMethod(), page);
            return new Page<>(answer.getLinksList(), answer.getNextPageToken());
        });
    }

    /** Links a definition to a user. Super-users only. */
    public LinkedAuth createLinkedAuth(String userId, DefinitionRef definition) {
        return createLinkedAuth(
                CreateLinkedAuthRequest.newBuilder().setUserId(userId).setDefinition(definition).build());
    }

    /**
     * Links a definition: with {@code user_id} and {@code definition} as a super-user, or with {@code proof}, a good credential of
     * it, to the acting user. They must have logged in with a password in the last five minutes, and the policy of the app must
     * allow it.
     */
    public LinkedAuth createLinkedAuth(CreateLinkedAuthRequest request) {
        return part(LinkedAuthServiceGrpc.getCreateLinkedAuthMethod(), request, "link",
                CreateLinkedAuthResponse::hasLink, CreateLinkedAuthResponse::getLink);
    }

    /** Turns a link on or off; the sessions that began with one that is turned off end. Super-users only. */
    public LinkChange updateLinkedAuth(String linkId, boolean isActive) {
        var request = UpdateLinkedAuthRequest.newBuilder().setLinkId(linkId).setIsActive(isActive).build();
        return part(LinkedAuthServiceGrpc.getUpdateLinkedAuthMethod(), request, "link",
                UpdateLinkedAuthResponse::hasLink,
                answer -> new LinkChange(answer.getLink(), answer.getRevokedCount()));
    }

    /** Removes a link, and returns how many live sessions ended: those that began with it. Super-users only. */
    public long deleteLinkedAuth(String linkId) {
        var request = DeleteLinkedAuthRequest.newBuilder().setLinkId(linkId).build();
        return call(LinkedAuthServiceGrpc.getDeleteLinkedAuthMethod(), request).getRevokedCount();
    }

    // ---------------------------------------------------------------- users

    /** Adds a user. Super-users only. */
    public User createUser(CreateUserRequest request) {
        return part(UserServiceGrpc.getCreateUserMethod(), request, "user",
                CreateUserResponse::hasUser, CreateUserResponse::getUser);
    }

    /** A user by ID. Super-users only; see {@link #currentUser}. */
    public User getUser(String userId) {
        return getUser(GetUserRequest.newBuilder().setUserId(userId).build());
    }

    /** A user by name. Super-users only. */
    public User getUserByName(String username) {
        return getUser(GetUserRequest.newBuilder().setUsername(username).build());
    }

    private User getUser(GetUserRequest request) {
        return part(UserServiceGrpc.getGetUserMethod(), request, "user", GetUserResponse::hasUser, GetUserResponse::getUser);
    }

    /** The acting user. */
    public User currentUser() {
        return part(UserServiceGrpc.getGetCurrentUserMethod(), GetCurrentUserRequest.getDefaultInstance(), "user",
                GetCurrentUserResponse::hasUser, GetCurrentUserResponse::getUser);
    }

    /** Users in the order of their creation. Super-users only. */
    public Pages<User> listUsers(ListUsersRequest request) {
        return new Pages<>(request.getPageToken(), token -> {
            var page = request.toBuilder().setPageToken(token).build();
            var answer = call(UserServiceGrpc.getListUsersMethod(), page);
            return new Page<>(answer.getUsersList(), answer.getNextPageToken());
        });
    }

    /** Changes the fields that the mask of the request names. */
    public User updateUser(UpdateUserRequest request) {
        return part(UserServiceGrpc.getUpdateUserMethod(), request, "user",
                UpdateUserResponse::hasUser, UpdateUserResponse::getUser);
    }

    /** Removes a user, and returns how many live sessions ended. Super-users only. */
    public long deleteUser(String userId) {
        var request = DeleteUserRequest.newBuilder().setUserId(userId).build();
        return call(UserServiceGrpc.getDeleteUserMethod(), request).getRevokedCount();
    }

    /** Keeps a user out and ends their sessions. Super-users only. */
    public UserChange lockUser(String userId) {
        var request = LockUserRequest.newBuilder().setUserId(userId).build();
        return part(UserServiceGrpc.getLockUserMethod(), request, "user",
                LockUserResponse::hasUser, answer -> new UserChange(answer.getUser(), answer.getRevokedCount()));
    }

    /** Lets a locked user log in again. Super-users only. */
    public User unlockUser(String userId) {
        var request = UnlockUserRequest.newBuilder().setUserId(userId).build();
        return part(UserServiceGrpc.getUnlockUserMethod(), request, "user",
                UnlockUserResponse::hasUser, UnlockUserResponse::getUser);
    }

    /** Lets a user in who was waiting or rejected. Super-users only. */
    public User approveUser(String userId) {
        var request = ApproveUserRequest.newBuilder().setUserId(userId).build();
        return part(UserServiceGrpc.getApproveUserMethod(), request, "user",
                ApproveUserResponse::hasUser, ApproveUserResponse::getUser);
    }

    /** Keeps a user out for good and ends their sessions. Super-users only. */
    public UserChange rejectUser(String userId) {
        var request = RejectUserRequest.newBuilder().setUserId(userId).build();
        return part(UserServiceGrpc.getRejectUserMethod(), request, "user",
                RejectUserResponse::hasUser, answer -> new UserChange(answer.getUser(), answer.getRevokedCount()));
    }

    /** Replaces the own password, ends all other own sessions and returns how many. */
    public long changePassword(String oldPassword, String newPassword) {
        var request = ChangePasswordRequest.newBuilder().setOldPassword(oldPassword).setNewPassword(newPassword);
        return call(UserServiceGrpc.getChangePasswordMethod(), request.build()).getRevokedCount();
    }

    /**
     * Gives a user a new password, ends their sessions and returns how many; {@code mustChange}: they must choose another one at the
     * next login. Super-users only.
     */
    public long setPassword(String userId, String newPassword, boolean mustChange) {
        var request = SetPasswordRequest.newBuilder()
                .setUserId(userId)
                .setNewPassword(newPassword)
                .setMustChange(mustChange);
        return call(UserServiceGrpc.getSetPasswordMethod(), request.build()).getRevokedCount();
    }

    /** Makes a new TOTP secret for the acting user and shows it, once. It counts after {@link #confirmTotp}. */
    public TotpEnrollment enrollTotp(String password) {
        var request = EnrollTotpRequest.newBuilder().setPassword(password).build();
        var answer = call(UserServiceGrpc.getEnrollTotpMethod(), request);
        return new TotpEnrollment(answer.getSecret(), answer.getOtpauthUri());
    }

    /** Turns the second factor on with a code, ends all other own sessions and returns how many. */
    public long confirmTotp(String code) {
        var request = ConfirmTotpRequest.newBuilder().setTotpCode(code).build();
        return call(UserServiceGrpc.getConfirmTotpMethod(), request).getRevokedCount();
    }

    /** Turns the own second factor off, ends all other own sessions and returns how many. */
    public long disableTotp(String password) {
        return disableTotp(DisableTotpRequest.newBuilder().setPassword(password).build());
    }

    /** Turns another's second factor off, ends their sessions and returns how many. Super-users only. */
    public long disableTotpOf(String userId) {
        return disableTotp(DisableTotpRequest.newBuilder().setUserId(userId).build());
    }

    private long disableTotp(DisableTotpRequest request) {
        return call(UserServiceGrpc.getDisableTotpMethod(), request).getRevokedCount();
    }

    // ---------------------------------------------------------------- attributes

    /** Creates or replaces attributes of the owner (default: the acting user): all of them or, with an error, none. */
    public List<Attribute> setAttributes(AttributeOwner owner, List<AttributeToSet> attributes) {
        var request = SetAttributesRequest.newBuilder().setOwner(owner).addAllAttributes(attributes);
        return call(AttributeServiceGrpc.getSetAttributesMethod(), request.build()).getAttributesList();
    }

    /** Attributes that have not expired, in the order of their names. */
    public Pages<Attribute> listAttributes(ListAttributesRequest request) {
        return new Pages<>(request.getPageToken(), token -> {
            var page = request.toBuilder().setPageToken(token).build();
            var answer = call(AttributeServiceGrpc.getListAttributesMethod(), page);
            return new Page<>(answer.getAttributesList(), answer.getNextPageToken());
        });
    }

    /** Removes attributes of the owner (default: the acting user): all of them or, if one is not there, none. */
    public int deleteAttributes(AttributeOwner owner, List<String> names) {
        var request = DeleteAttributesRequest.newBuilder().setOwner(owner).addAllNames(names);
        return call(AttributeServiceGrpc.getDeleteAttributesMethod(), request.build()).getDeletedCount();
    }

    // ---------------------------------------------------------------- definitions

    /** Adds a definition, with what its credentials are checked against. Super-users only, like all of definitions. */
    public Definition createDefinition(Definition definition, DefinitionSecret secret) {
        var request = CreateDefinitionRequest.newBuilder().setDefinition(definition).setSecret(secret).build();
        return part(DefinitionServiceGrpc.getCreateDefinitionMethod(), request, "definition",
                CreateDefinitionResponse::hasDefinition, CreateDefinitionResponse::getDefinition);
    }

    /** A definition by its number. */
    public Definition getDefinition(long authId) {
        var request = GetDefinitionRequest.newBuilder().setAuthId(authId).build();
        return part(DefinitionServiceGrpc.getGetDefinitionMethod(), request, "definition",
                GetDefinitionResponse::hasDefinition, GetDefinitionResponse::getDefinition);
    }

    /** Definitions in the order of their numbers. */
    public Pages<Definition> listDefinitions(ListDefinitionsRequest request) {
        return new Pages<>(request.getPageToken(), token -> {
            var page = request.toBuilder().setPageToken(token).build();
            var answer = call(DefinitionServiceGrpc.getListDefinitionsMethod(), page);
            return new Page<>(answer.getDefinitionsList(), answer.getNextPageToken());
        });
    }

    /** Changes the fields that the mask of the request names. */
    public DefinitionChange updateDefinition(UpdateDefinitionRequest request) {
        return part(DefinitionServiceGrpc.getUpdateDefinitionMethod(), request, "definition",
                UpdateDefinitionResponse::hasDefinition,
                answer -> new DefinitionChange(answer.getDefinition(), answer.getRevokedCount()));
    }

    /** Removes a definition with its link, and returns how many live sessions ended: those that began with it. */
    public long deleteDefinition(long authId) {
        var request = DeleteDefinitionRequest.newBuilder().setAuthId(authId).build();
        return call(DefinitionServiceGrpc.getDeleteDefinitionMethod(), request).getRevokedCount();
    }

    /** Gives a definition another secret or other keys. */
    public DefinitionChange rotateDefinitionSecret(RotateDefinitionSecretRequest request) {
        return part(DefinitionServiceGrpc.getRotateDefinitionSecretMethod(), request, "definition",
                RotateDefinitionSecretResponse::hasDefinition,
                answer -> new DefinitionChange(answer.getDefinition(), answer.getRevokedCount()));
    }

    // ---------------------------------------------------------------- the audit trail

    /** Audit events, newest first. Super-users only. */
    public Pages<AuditEvent> listAuditEvents(ListAuditEventsRequest request) {
        return new Pages<>(request.getPageToken(), token -> {
            var page = request.toBuilder().setPageToken(token).build();
            var answer = call(AuditServiceGrpc.getListAuditEventsMethod(), page);
            return new Page<>(answer.getEventsList(), answer.getNextPageToken());
        });
    }

    // ----------------------------------------------------------------

    /** A call whose answer must have a part. */
    private <Q extends Message, A, T> T part(
            MethodDescriptor<Q, A> method, Q request, String name, Function<A, Boolean> isThere, Function<A, T> part) {
        Call call = client.newCall();
        A answer = call.send(method, sign(request));
        call.require(isThere.apply(answer), name);
        return part.apply(answer);
    }

    /** The request, with the user's token and where they are. */
    @SuppressWarnings("unchecked") // the builder of a Q builds a Q
    private <Q extends Message> Q sign(Q request) {
        FieldDescriptor token = request.getDescriptorForType().findFieldByName("ust");
        if (token == null) {
            throw new IllegalArgumentException(request.getDescriptorForType().getName() + " is not on behalf of a user");
        }
        return client.complete((Q) request.toBuilder().setField(token, ust.expose()).build());
    }

    private static Instant instant(Timestamp time) {
        return Instant.ofEpochSecond(time.getSeconds(), time.getNanos());
    }
}
