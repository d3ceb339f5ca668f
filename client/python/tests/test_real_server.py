"""The verbs, on a real server."""

from collections.abc import Iterator

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from lanyard import (
    Active,
    CallerRefusedError,
    Client,
    Inactive,
    InactiveReason,
    InvalidArgumentError,
    LoginError,
    NotFoundError,
    Role,
    SessionInvalidError,
    Subject,
    correlation,
    new_correlation_id,
    v1,
)
from tests.cases.story import totp
from tests.support import DEADLINE, Lanyard

PASSWORD = "correct horse battery staple"


@pytest.fixture
def client(lanyard: Lanyard) -> Iterator[Client]:
    with Client(lanyard.address, api_key=lanyard.api_key, deadline=DEADLINE) as client:
        yield client


@pytest.fixture
def admin(client: Client, lanyard: Lanyard) -> Subject:
    return client.on_behalf_of(client.log_in(*lanyard.admin).ust)


@pytest.fixture
def alice(admin: Subject) -> v1.User:
    """A new user, each time."""
    username = f"alice-{new_correlation_id()}"
    return admin.create_user(v1.CreateUserRequest(user=v1.User(username=username), password=PASSWORD))


def test_a_session_lives_from_login_to_logout(client: Client, alice: v1.User) -> None:
    login = client.log_in(alice.username, PASSWORD)
    session = client.verify_or_raise(login.ust)
    assert (session.user_id, session.session_id) == (alice.user_id, login.session.session_id)
    assert (session.roles, session.is_super_user) == ((Role.REGULAR,), False)

    user = client.on_behalf_of(login.ust)
    assert user.current_session().username == alice.username
    assert user.current_user().user_id == alice.user_id
    renewal = user.rotate()
    assert renewal.ust is not None and renewal.ust != login.ust and renewal.grace_time is not None
    renewed = client.on_behalf_of(renewal.ust)
    assert renewed.renew().ust is None
    client.log_in(alice.username, PASSWORD)
    assert renewed.log_out_elsewhere() == 1
    assert renewed.log_out()
    verdict = client.peek(renewal.ust)
    assert isinstance(verdict, Inactive) and verdict.reason is InactiveReason.REVOKED
    with pytest.raises(SessionInvalidError):
        renewed.log_out()


def test_many_tokens_are_verified_at_once(client: Client, alice: v1.User) -> None:
    ust = client.log_in(alice.username, PASSWORD).ust
    assert [type(verdict) for verdict in client.batch_verify([ust, "junk", ust])] == [Active, Inactive, Active]


def test_sessions_and_users_are_listed_over_all_pages(client: Client, admin: Subject, alice: v1.User) -> None:
    made = {client.log_in(alice.username, PASSWORD).session.session_id for _ in range(3)}
    request = v1.ListSessionsRequest(user_id=alice.user_id, page_size=1)
    assert {session.session_id for session in admin.list_sessions(request)} == made
    found = admin.list_users(v1.ListUsersRequest(search=alice.username))
    assert [user.user_id for user in found] == [alice.user_id]
    assert admin.revoke_sessions(v1.RevokeSessionsRequest(user_id=alice.user_id)) == 3


def test_users_are_managed(client: Client, admin: Subject, alice: v1.User) -> None:
    assert admin.get_user(alice.user_id) == admin.get_user_by_name(alice.username)
    changed = admin.update_user(
        v1.UpdateUserRequest(
            user=v1.User(user_id=alice.user_id, display_name="Älice"), update_mask=FieldMask(paths=["display_name"])
        )
    )
    assert changed.display_name == "Älice"
    user = client.on_behalf_of(client.log_in(alice.username, PASSWORD).ust)
    assert user.change_password(PASSWORD, PASSWORD + "!") == 0
    assert admin.set_password(alice.user_id, PASSWORD) == 1
    client.log_in(alice.username, PASSWORD)
    assert admin.lock_user(alice.user_id).revoked_count == 1
    with pytest.raises(LoginError):
        client.log_in(alice.username, PASSWORD)
    assert not admin.unlock_user(alice.user_id).is_locked
    assert admin.reject_user(alice.user_id).user.approval_status == v1.APPROVAL_STATUS_REJECTED
    assert admin.approve_user(alice.user_id).approval_status == v1.APPROVAL_STATUS_APPROVED
    assert admin.delete_user(alice.user_id) == 0
    with pytest.raises(NotFoundError, match="USER_NOT_FOUND"):
        admin.get_user(alice.user_id)


def test_attributes_are_kept(client: Client, alice: v1.User) -> None:
    user = client.on_behalf_of(client.log_in(alice.username, PASSWORD).ust)
    stored = user.set_attributes([v1.AttributeToSet(name=name, value="1", seal=True) for name in "ab"])
    assert [attribute.name for attribute in stored] == ["a", "b"]
    assert [attribute.value for attribute in user.list_attributes()] == ["1", "1"]
    assert user.delete_attributes(["a", "b"]) == 2


def test_definitions_are_linked_and_log_in(client: Client, admin: Subject, alice: v1.User) -> None:
    name = f"definition-{alice.username}"[:100]
    definition = v1.Definition(name=name, is_active=True, basic_auth=v1.BasicAuthDefinition(username=name))
    made = admin.create_definition(definition, v1.DefinitionSecret(secret="a secret of length"))
    assert admin.get_definition(made.auth_id).name == name
    assert made.auth_id in [one.auth_id for one in admin.list_definitions()]
    reference = v1.DefinitionRef(auth_id=made.auth_id)
    link = admin.create_linked_auth(alice.user_id, reference)
    nobody = v1.DefinitionRef(auth_id=made.auth_id + 1_000)
    found, missing = client.lookup_linked_auth([reference, nobody])
    assert found is not None and found.user_id == alice.user_id and missing is None
    login = client.log_in_basic_auth(name, "a secret of length")
    assert client.verify_or_raise(login.ust).user_id == alice.user_id
    assert [one.auth_id for one in client.on_behalf_of(login.ust).get_linked_auth_list()] == [made.auth_id]
    assert admin.update_linked_auth(link.link_id, False).revoked_count == 1
    assert admin.update_linked_auth(link.link_id, True).link.is_active
    changed = v1.UpdateDefinitionRequest(
        definition=v1.Definition(auth_id=made.auth_id, is_active=False), update_mask=FieldMask(paths=["is_active"])
    )
    assert not admin.update_definition(changed).definition.is_active
    rotated = admin.rotate_definition_secret(
        v1.RotateDefinitionSecretRequest(auth_id=made.auth_id, secret=v1.DefinitionSecret(secret="another of length"))
    )
    assert rotated.definition.auth_id == made.auth_id
    assert admin.delete_linked_auth(link.link_id) == 0
    assert admin.delete_definition(made.auth_id) == 0


def test_the_audit_trail_is_found_by_the_id_of_the_context(client: Client, admin: Subject, alice: v1.User) -> None:
    with correlation() as correlation_id:
        client.log_in(alice.username, PASSWORD)
    events = list(admin.list_audit_events(v1.ListAuditEventsRequest(correlation_id=correlation_id)))
    assert [(event.operation, event.subject_user_id) for event in events] == [("session.create", alice.user_id)]


def test_a_second_factor_is_asked_for(client: Client, admin: Subject, alice: v1.User) -> None:
    user = client.on_behalf_of(client.log_in(alice.username, PASSWORD).ust)
    secret = user.enroll_totp(PASSWORD).secret
    with pytest.raises(LoginError):
        user.confirm_totp("000000x")
    assert user.confirm_totp(totp(secret)) == 0
    with pytest.raises(LoginError, match="TOTP_REQUIRED"):
        client.log_in(alice.username, PASSWORD)
    assert user.disable_totp(PASSWORD) == 0
    client.log_in(alice.username, PASSWORD)
    with pytest.raises(Exception, match="TOTP_NOT_ENROLLED"):
        admin.disable_totp_of(alice.user_id)


def test_refusals_say_what_is_wrong(client: Client, admin: Subject, lanyard: Lanyard) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        admin.create_user(v1.CreateUserRequest(user=v1.User()))
    assert [violation.field for violation in raised.value.field_violations] == ["user.username"]
    with Client(lanyard.address, api_key="lyk1_wrong") as stranger, pytest.raises(CallerRefusedError):
        stranger.verify("junk")


def test_health_is_asked_without_a_key(lanyard: Lanyard) -> None:
    with Client(lanyard.address) as stranger:
        assert stranger.is_serving()
        with pytest.raises(NotFoundError):
            stranger.is_serving("nothing")
