"""How a client comes to be."""

import pytest

from lanyard import Client
from lanyard._channel import ChannelSettings, RetryPolicy

PEM = b"-----BEGIN CERTIFICATE-----"


def is_encrypted(address: str, **options: object) -> bool:
    settings = {"tls": None, "ca": None, "certificate": None, "private_key": None, "server_name": None, **options}
    return ChannelSettings(address, retry=RetryPolicy(), **settings)._credentials is not None  # type: ignore[arg-type]


@pytest.mark.parametrize("address", ["", "ftp://127.0.0.1:1", "http://", "https://host:1/", "grpc://a:1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="the address must be"):
        Client(address)


@pytest.mark.parametrize("address", ["127.0.0.1:50051", "localhost:50051", "[::1]:50051", "unix:/run/lanyard"])
def test_a_server_on_this_machine_is_talked_to_in_the_clear(address: str) -> None:
    assert not is_encrypted(address)
    assert is_encrypted(address, tls=True)


@pytest.mark.parametrize("address", ["lanyard:50051", "192.0.2.1:443", "https://localhost:1", "[2001:db8::1]:1"])
def test_a_server_elsewhere_is_talked_to_with_tls(address: str) -> None:
    assert is_encrypted(address)


def test_in_the_clear_elsewhere_takes_a_word() -> None:
    assert not is_encrypted("http://lanyard:50051")
    assert not is_encrypted("lanyard:50051", tls=False)


@pytest.mark.parametrize("options", [{"ca": PEM}, {"certificate": PEM, "private_key": PEM}, {"server_name": "lanyard"}])
def test_certificates_are_never_forgotten_on_a_connection_in_the_clear(options: dict[str, bytes]) -> None:
    assert is_encrypted("127.0.0.1:1", **options)
    with pytest.raises(ValueError, match="certificates need TLS"):
        is_encrypted("http://127.0.0.1:1", **options)
    with pytest.raises(ValueError, match="certificates need TLS"):
        is_encrypted("127.0.0.1:1", tls=False, **options)


def test_what_contradicts_itself_is_refused() -> None:
    for address, tls in (("https://127.0.0.1:1", False), ("http://127.0.0.1:1", True)):
        with pytest.raises(ValueError, match="TLS"):
            is_encrypted(address, tls=tls)
    with pytest.raises(ValueError, match="a certificate needs its private key"):
        is_encrypted("127.0.0.1:1", certificate=PEM)


@pytest.mark.parametrize("key", ["", "secret\n", "se cret", "secrét"])
def test_a_key_that_cannot_be_sent_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="the API key is empty or holds characters that no key has"):
        Client("127.0.0.1:1", api_key=key)
