"""The tables are the contract."""

import inspect

import pytest
from google.protobuf.descriptor_pb2 import MethodOptions

import lanyard
from lanyard import aio, enums, rpc, v1
from lanyard._channel import RetryPolicy, every_rpc
from lanyard._enum import ContractEnum
from lanyard.v1 import error_pb2, session_pb2


def test_every_rpc_of_the_contract_is_here_and_those_without_side_effects_are_reads() -> None:
    exported = [getattr(v1, name) for name in v1.__all__]
    files = {found.DESCRIPTOR.file for found in exported if hasattr(found, "DESCRIPTOR")}
    methods = [method for file in files for service in file.services_by_name.values() for method in service.methods]
    contract = {
        (
            method.containing_service.full_name,
            method.name,
            method.input_type.full_name,
            method.output_type.full_name,
            method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS,
        )
        for method in methods
    }
    here = {
        (one.service, one.name, one.request.DESCRIPTOR.full_name, one.answer.DESCRIPTOR.full_name, one.is_read)
        for one in every_rpc()
    }
    assert here == contract
    assert len(here) == len(list(every_rpc())) > 30


def test_every_request_says_where_the_user_is() -> None:
    for one in every_rpc():
        assert one.request.DESCRIPTOR.fields_by_name["client"].message_type.name == "ClientInfo"


def test_only_reads_are_in_the_service_config() -> None:
    config = RetryPolicy().service_config()
    named = {(name["service"], name["method"]) for name in config["methodConfig"][0]["name"]}  # type: ignore[index]
    assert named == {(one.service, one.name) for one in every_rpc() if one.is_read}
    assert ("lanyard.v1.SessionService", "VerifySession") in named
    assert ("lanyard.v1.SessionService", "CreateSession") not in named


def test_every_enum_of_the_contract_is_here_with_its_values() -> None:
    for name, number in error_pb2.ErrorReason.items():
        assert enums.ErrorReason[name.removeprefix("ERROR_REASON_")].value == number
    of_sessions = {enum.name for enum in session_pb2.DESCRIPTOR.enum_types_by_name.values()}
    assert of_sessions <= {name for name, found in vars(enums).items() if inspect.isclass(found)}
    assert enums.ErrorReason(9999) is enums.ErrorReason.UNSPECIFIED


def test_a_value_that_is_no_number_is_none_of_an_enum() -> None:
    with pytest.raises(ValueError):
        enums.Role("ROLE_REGULAR")  # type: ignore[arg-type]
    assert issubclass(enums.Role, ContractEnum)


def test_both_clients_have_the_same_verbs_with_the_same_arguments() -> None:
    for one, other in ((lanyard.Client, aio.Client), (lanyard.Subject, aio.Subject), (lanyard.Pages, aio.Pages)):
        verbs = [name for name, found in vars(one).items() if not name.startswith("_") and callable(found)]
        assert verbs
        for verb in verbs:
            here, there = getattr(one, verb), getattr(other, verb)
            assert list(inspect.signature(here).parameters) == list(inspect.signature(there).parameters), verb


def test_whatever_is_exported_is_there() -> None:
    for module in (lanyard, aio, v1):
        assert all(hasattr(module, name) for name in module.__all__)
    assert "SessionService" in vars(rpc)
