from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nkeys  # type: ignore[import-untyped]  # it brings no types
import pytest
import trustme
from nats.js.errors import ServiceUnavailableError

from chronostream.bridges.connection import Connection, ConnectionOptions, redact
from chronostream.bridges.history import fetch, fetch_origin
from chronostream.bridges.mirror import Mirror
from chronostream.bridges.relay import Relay
from chronostream.errors import BridgeError, InvalidTypeError, InvalidValueError
from tests.bridges.harness import START_NS, Running, S, Server, deliver, emit, free_port, options_of
from tests.ring.harness import TIMEOUT_S, wait_until

SECRET = "s3cr3t/of@ours"
PLAIN_SECRET = "s3cr3t-of-ours"


def connect(options: ConnectionOptions, timeout_s: float | None = TIMEOUT_S) -> None:
    """Connect once."""

    async def run() -> None:
        connection = Connection(options, "test", timeout_s=timeout_s)
        try:
            js = await connection.ready()
            await js.account_info()
        finally:
            await connection.close()

    asyncio.run(run())


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


@pytest.mark.parametrize(
    "server",
    ["", "host:4222", f"http://me:{PLAIN_SECRET}@host", "nats://", "nats://:4222", f"nats://{PLAIN_SECRET}@h:99999"],
)
def test_what_is_no_url_of_a_server_is_refused(server: str) -> None:
    with pytest.raises(InvalidValueError, match="expected nats://HOST:PORT") as caught:
        ConnectionOptions(servers=(server,))
    assert PLAIN_SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"servers": ()}, InvalidValueError, "no NATS server"),
        ({"servers": "nats://host"}, InvalidTypeError, "not a tuple of URLs"),
        ({"servers": (4222,)}, InvalidTypeError, "not a tuple of URLs"),
        ({"tls_certificate": Path("/dev/null")}, InvalidValueError, "give both"),
        ({"credentials": Path("/nowhere")}, InvalidValueError, "/nowhere is not a file"),
        ({"nkey_seed": "/nowhere"}, InvalidValueError, "/nowhere is not a file"),
        ({"nkey_seed": __file__}, InvalidValueError, "no credentials for NATS, expected only the seed of a user's key"),
        ({"credentials": __file__}, InvalidValueError, "no credentials for NATS, expected a JWT and the seed"),
        ({"servers": ("nats://a", "ws://b")}, InvalidValueError, "give all by one kind of URL"),
        ({"servers": ("nats://me:pw@a", "nats://you:pw@b")}, InvalidValueError, "servers has different users"),
        ({"servers": ("ws://a",), "tls_first": True}, InvalidValueError, "ws:// has no TLS"),
        ({"domain": "a.b"}, InvalidValueError, "domain is 'a.b'"),
        ({"domain": 5}, InvalidTypeError, "domain is int"),
    ],
    ids=str,
)
def test_bad_options_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ConnectionOptions(**{"servers": ("nats://host",)} | options)


@pytest.mark.parametrize(("timeout_s", "error"), [(-1, InvalidValueError), ("long", InvalidTypeError)])
def test_a_timeout_that_is_no_time_is_refused(timeout_s: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="timeout_s"):
        Connection(ConnectionOptions(servers=("nats://host",)), "test", timeout_s=timeout_s)


def test_tls_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("nothing")
    with pytest.raises(InvalidValueError, match="TLS cannot use"):
        ConnectionOptions(servers=("nats://host",), tls_ca=tmp_path / "ca")


def test_without_a_server_it_ends_after_its_timeout(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with pytest.raises(BridgeError, match=f"no NATS server at 127.0.0.1:{port} within 0.5 s"):
        connect(ConnectionOptions(servers=(f"nats://me:{PLAIN_SECRET}@127.0.0.1:{port}",)), 0.5)
    assert caplog.text.count("Connect call failed") == 1  # logged once, though it tried more often
    assert PLAIN_SECRET not in caplog.text


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants a password, of one user or another, or a key, whose seed is in the file `seed`."""
    directory = tmp_path_factory.mktemp("guarded")
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    (directory / "seed").write_bytes(bytes(seed))
    users = [
        f'{{ user: me, password: "{SECRET}" }}',
        f'{{ user: you, password: "{PLAIN_SECRET}" }}',
        f"{{ nkey: {nkeys.from_seed(bytearray(seed)).public_key.decode()} }}",
    ]
    with Server(directory, config=f"authorization {{ users: [ {', '.join(users)} ] }}") as server:
        yield server


@pytest.fixture(scope="module")
def with_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants a token."""
    config = f'authorization {{ token: "{PLAIN_SECRET}" }}'
    with Server(tmp_path_factory.mktemp("token"), config=config) as server:
        yield server


def test_a_user_with_a_password_is_let_in(guarded: Server) -> None:
    connect(options_of(guarded.url, user="me", password=SECRET))


def test_a_password_in_the_url_is_percent_encoded(guarded: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    urls = f"nats://me:{quote(SECRET, safe='')}@127.0.0.1:{guarded.port}", f"nats://127.0.0.1:{free_port()}"
    connect(ConnectionOptions(servers=urls))
    with pytest.raises(BridgeError, match="refuses access") as caught:
        connect(ConnectionOptions(servers=(urls[0].replace("//me", "//you"),)))
    for secret in (SECRET, quote(SECRET, safe="")):
        assert secret not in caplog.text + str(caught.value)


def test_a_key_is_let_in(guarded: Server) -> None:
    connect(options_of(guarded.url, nkey_seed=guarded.directory / "seed"))


def test_a_token_is_let_in(with_token: Server) -> None:
    connect(options_of(with_token.url, token=PLAIN_SECRET))


def test_a_token_in_the_url_is_let_in(with_token: Server) -> None:
    connect(ConnectionOptions(servers=(f"nats://{PLAIN_SECRET}@127.0.0.1:{with_token.port}",)))


@pytest.mark.parametrize("token", [None, f"not-{PLAIN_SECRET}"])
def test_refused_access_is_an_error_at_once_and_no_secret_is_shown(
    with_token: Server, token: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(BridgeError, match="refuses access") as caught:
        connect(options_of(with_token.url, token=token), None)
    assert PLAIN_SECRET not in caplog.text + str(caught.value)


def test_no_secret_is_shown_while_a_connection_comes_and_goes(
    guarded: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def run() -> None:
        connection = Connection(
            ConnectionOptions(servers=(f"nats://you:{PLAIN_SECRET}@127.0.0.1:{guarded.port}",)), "test"
        )
        await connection.ready()
        guarded.kill()
        await asyncio.to_thread(wait_until, lambda: not connection.connected)
        guarded.start()
        await connection.ready()
        await connection.close()

    asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))
    assert "reconnected to NATS" in caplog.text
    assert PLAIN_SECRET not in caplog.text


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that wants TLS from the first byte, and a certificate of who comes."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
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
    files = {"tls_ca": home / "ca.pem", "tls_certificate": home / "cert.pem", "tls_key": home / "key.pem"}
    connect(options_of(encrypted.url, **files, tls_first=first))


def test_a_server_whose_certificate_is_not_trusted_is_refused_at_once(encrypted: Server, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with pytest.raises(BridgeError, match="is not trusted"):
        connect(options_of(encrypted.url, tls_ca=tmp_path / "other.pem"), None)


@pytest.mark.parametrize("tls", ["scheme", "option"])
def test_a_server_without_tls_gets_nothing_in_the_clear(with_token: Server, tmp_path: Path, tls: str) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    url = with_token.url.replace("nats://", "tls://") if tls == "scheme" else with_token.url
    before = (with_token.directory / "log").read_text()
    with pytest.raises(BridgeError, match="is not asked in the clear"):
        connect(options_of(url, token=PLAIN_SECRET, tls_ca=tmp_path / "ca.pem"), None)
    assert "auth" not in (with_token.directory / "log").read_text()[len(before) :]


def test_a_server_that_only_offers_tls_is_talked_to_by_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = f"tls {{ cert_file: '{tmp_path}/server.pem', key_file: '{tmp_path}/server.pem' }}"

    async def run(server: Server) -> object:
        url = server.url.replace("nats://", "tls://")
        connection = Connection(options_of(url, tls_ca=tmp_path / "ca.pem"), "test", timeout_s=TIMEOUT_S)
        await connection.ready()
        transport = connection.client._transport
        await connection.close()
        assert transport is not None
        return transport._io_writer.get_extra_info("cipher")  # type: ignore[attr-defined]

    with Server(tmp_path, config=f"{tls}\nallow_non_tls: true") as server:
        assert asyncio.run(run(server)) is not None


def test_without_its_certificate_a_server_that_wants_one_is_an_error_at_once(encrypted: Server) -> None:
    with pytest.raises(BridgeError, match="expects a certificate of this side"):
        connect(options_of(encrypted.url, tls_ca=encrypted.directory / "ca.pem"), None)


def test_a_domain_is_that_of_the_jetstream_that_answers(tmp_path: Path) -> None:
    config = "jetstream { domain: hub }\naccounts { A: { jetstream: enabled, users: [ { user: a, password: a } ] } }"
    with Server(tmp_path, config=config) as server:
        url = server.url.replace("//", "//a:a@")
        connect(options_of(url, domain="hub"))
        with pytest.raises(ServiceUnavailableError):
            connect(options_of(url, domain="elsewhere"))


def test_events_go_through_a_leaf_node_to_the_domain_of_its_hub_and_back(tmp_path: Path, name: str) -> None:
    port = free_port()
    hub_home, leaf_home = tmp_path / "hub", tmp_path / "leaf"
    for home in (hub_home, leaf_home):
        home.mkdir()
    hub = f"jetstream {{ domain: hub }}\nleafnodes {{ listen: '127.0.0.1:{port}' }}"
    leaf = f"jetstream {{ domain: leaf }}\nleafnodes {{ remotes: [ {{ url: 'nats-leaf://127.0.0.1:{port}' }} ] }}"
    emit(name, 2000)
    with Server(hub_home, config=hub) as at_hub, Server(leaf_home, config=leaf) as at_leaf:
        options = options_of(at_leaf.url, domain="hub")
        assert deliver(Relay(name, options)).delivered == 2000
        assert sum(map(len, fetch(options, name))) == 2000
        assert sum(map(len, fetch(options_of(at_hub.url), name, start_ns=START_NS + 1001 * S))) == 1000
        with pytest.raises(BridgeError, match="does not exist"):
            fetch_origin(options_of(at_leaf.url), name)


def test_that_no_jetstream_answers_is_said_in_words() -> None:
    connection = Connection(options_of("nats://host"), "test")
    assert connection.describe(ServiceUnavailableError()).startswith("no JetStream answers; check that the server")
    assert connection.describe(TimeoutError()) == "no answer in time"


@pytest.mark.parametrize(
    ("config", "user", "message"),
    [
        ("", "", "cannot store or read the events: no JetStream answers"),
        ("accounts { A: { users: [ { user: me, password: pw } ] } }", "me:pw@", "JetStream not enabled"),
        (
            "authorization { users: [ { user: me, password: pw, permissions: { publish: { deny: '$JS.API.>' } } } ] }",
            "me:pw@",
            "denies a subject: check the permissions of this user .*for publish",
        ),
        (
            "authorization { users: [ { user: me, password: pw, permissions: { subscribe: { deny: '_INBOX.>' } } } ] }",
            "me:pw@",
            "denies a subject: check the permissions of this user .*for subscription",
        ),
    ],
    ids=["no JetStream", "none for the account", "publish denied", "subscribe denied"],
)
def test_what_cannot_heal_by_itself_ends_a_bridge_with_one_line(
    tmp_path: Path, name: str, config: str, user: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    emit(name, 3)
    with Server(tmp_path, config=config, jetstream=bool(config)) as server:
        options = options_of(server.url.replace("//", f"//{user}"))
        with pytest.raises(BridgeError, match=message):
            deliver(Relay(name, options))
        with pytest.raises(BridgeError, match=message):
            Running(Mirror(name, options)).start().join()
    assert "will retry" not in caplog.text


def test_tls_first_does_not_talk_to_a_server_in_the_clear(url: str) -> None:
    with pytest.raises(BridgeError):
        connect(options_of(url, tls_first=True), 0.5)
