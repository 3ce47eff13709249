from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import nkeys  # type: ignore[import-untyped]  # it brings no types
import pytest
import trustme

from chronostream.bridges.connection import ConnectionOptions, Link, redact
from chronostream.errors import BridgeError, InvalidValueError
from tests.bridges.harness import TIMEOUT_S, Server, free_port, wait_until

SECRET = "s3cr3t/of@ours"
PLAIN_SECRET = "s3cr3t-of-ours"


def connect(options: ConnectionOptions, patience_s: float | None = TIMEOUT_S) -> None:
    """Connect once, or raise what keeps from it."""

    async def run() -> None:
        link = Link(options, "test", patience_s=patience_s)
        try:
            js = await link.ready()
            await js.account_info()
        finally:
            await link.close()

    asyncio.run(run())


def options(server: Server, **more: object) -> ConnectionOptions:
    return ConnectionOptions(servers=(server.url,), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nats://user:pw@host:4222", "nats://***@host:4222"),
        ("nats://token@host", "nats://***@host"),
        ("at tls://u:p@ss@host/x, nats://a:b@c", "at tls://***@host/x, nats://***@c"),
        ("nats://host:4222", "nats://host:4222"),
        ("me@example.org", "me@example.org"),
    ],
)
def test_the_user_part_of_urls_is_never_shown(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_options_show_nothing_secret_of_themselves() -> None:
    options = ConnectionOptions(
        servers=(f"nats://me:{PLAIN_SECRET}@host:1",), user="me", password=PLAIN_SECRET, token=PLAIN_SECRET
    )
    assert PLAIN_SECRET not in repr(options)
    assert options.label == "host:1"
    assert options.redact(f"it says {PLAIN_SECRET}") == "it says ***"


@pytest.mark.parametrize("server", ["", "host:4222", "http://host", "nats://", "nats://:4222", "nats://h:99999"])
def test_what_is_no_url_of_a_server_is_refused(server: str) -> None:
    with pytest.raises(InvalidValueError, match="expected nats://HOST:PORT"):
        ConnectionOptions(servers=(server,))


def test_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(InvalidValueError) as caught:
        ConnectionOptions(servers=(f"http://me:{PLAIN_SECRET}@host",))
    assert PLAIN_SECRET not in str(caught.value)


def test_no_server_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="no NATS server"):
        ConnectionOptions(servers=())


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="give both"):
        ConnectionOptions(servers=("nats://host",), tls_certificate=tmp_path)


@pytest.mark.parametrize("which", ["credentials", "nkey_seed"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, which: str) -> None:
    with pytest.raises(InvalidValueError, match="is no file"):
        ConnectionOptions(servers=("nats://host",), **{which: tmp_path / "none"})  # type: ignore[arg-type]


def test_tls_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("nothing")
    with pytest.raises(InvalidValueError, match="TLS cannot use"):
        ConnectionOptions(servers=("nats://host",), tls_ca=tmp_path / "ca")


def test_without_a_server_it_ends_when_its_patience_does(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with pytest.raises(BridgeError, match=f"no NATS server at 127.0.0.1:{port} within 0.5 s"):
        connect(ConnectionOptions(servers=(f"nats://me:{PLAIN_SECRET}@127.0.0.1:{port}",)), 0.5)
    assert caplog.text.count("Connect call failed") == 1  # said once, though it tried more often
    assert PLAIN_SECRET not in caplog.text


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants a user and a password."""
    config = f'authorization {{ user: me, password: "{SECRET}" }}'
    with Server(tmp_path_factory.mktemp("guarded"), config=config) as server:
        yield server


@pytest.fixture(scope="module")
def with_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants a token."""
    config = f'authorization {{ token: "{PLAIN_SECRET}" }}'
    with Server(tmp_path_factory.mktemp("token"), config=config) as server:
        yield server


def test_a_user_with_a_password_is_let_in(guarded: Server) -> None:
    connect(options(guarded, user="me", password=SECRET))


def test_a_token_is_let_in(with_token: Server) -> None:
    connect(options(with_token, token=PLAIN_SECRET))


def test_a_token_in_the_url_is_let_in(with_token: Server) -> None:
    connect(ConnectionOptions(servers=(f"nats://{PLAIN_SECRET}@127.0.0.1:{with_token.port}",)))


@pytest.mark.parametrize("token", [None, f"not-{PLAIN_SECRET}"])
def test_who_is_not_let_in_is_told_at_once_and_nothing_secret_is_said(
    with_token: Server, token: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(BridgeError, match="does not let us in") as caught:
        connect(options(with_token, token=token), None)
    assert PLAIN_SECRET not in caplog.text + str(caught.value)


def test_nothing_secret_is_said_while_a_connection_comes_and_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    config = f'authorization {{ user: me, password: "{PLAIN_SECRET}" }}'

    async def run(server: Server) -> None:
        link = Link(ConnectionOptions(servers=(f"nats://me:{PLAIN_SECRET}@127.0.0.1:{server.port}",)), "test")
        await link.ready()
        server.kill()
        await asyncio.to_thread(wait_until, lambda: not link.connected)
        server.start()
        await link.ready()
        await link.close()

    with Server(tmp_path, config=config) as server:
        asyncio.run(asyncio.wait_for(run(server), TIMEOUT_S))
    assert "connected again" in caplog.text
    assert PLAIN_SECRET not in caplog.text


def test_a_key_is_let_in(tmp_path: Path) -> None:
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    (tmp_path / "seed").write_bytes(bytes(seed))
    with Server(tmp_path, config=f"authorization {{ users: [ {{ nkey: {public} }} ] }}") as server:
        connect(options(server, nkey_seed=tmp_path / "seed"))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def encrypted(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants TLS from the first byte, and a certificate of who comes."""
    directory = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    mine = authority.issue_cert("relay@example.org")
    mine.private_key_pem.write_to_path(directory / "key.pem")
    mine.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    tls = f"cert_file: '{directory}/server.pem', key_file: '{directory}/server.pem', ca_file: '{directory}/ca.pem'"
    with Server(directory, config=f"tls {{ {tls}, verify: true, handshake_first: auto }}") as server:
        yield server


@pytest.mark.parametrize("first", [False, True])
def test_tls_with_a_certificate_is_let_in(encrypted: Server, first: bool) -> None:
    home = encrypted.directory
    connect(
        options(
            encrypted,
            tls_ca=home / "ca.pem",
            tls_certificate=home / "cert.pem",
            tls_key=home / "key.pem",
            tls_first=first,
        )
    )


def test_a_server_whose_certificate_is_not_trusted_is_refused_at_once(encrypted: Server, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with pytest.raises(BridgeError, match="not to be trusted"):
        connect(options(encrypted, tls_ca=tmp_path / "other.pem"), None)


def test_tls_first_does_not_talk_to_a_server_in_the_clear(server: Server) -> None:
    with pytest.raises(BridgeError):
        connect(options(server, tls_first=True), 1)
