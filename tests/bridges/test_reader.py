from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats.js import JetStreamContext

from chronostream import event_ids
from chronostream.bridges import reader as reader_module
from chronostream.bridges.connection import Link
from chronostream.bridges.continuity import orders_of
from chronostream.bridges.jetstream import default_stream
from chronostream.bridges.reader import Reader
from chronostream.bridges.relay import Relay
from chronostream.errors import BridgeError
from tests.bridges.harness import (
    TIMEOUT_S,
    Server,
    Source,
    boundary_events,
    deliver,
    in_jetstream,
    options_of,
)

START_NS = 1_700_000_000_000_000_000
EVENTS = boundary_events(("second",), START_NS + 1, START_NS + 2501 * 10**9)
IDS = event_ids(EVENTS).tolist()


def fill(url: str, name: str, seconds: int = 2500) -> None:
    with Source(name, START_NS) as source:
        source.advance(seconds)
    deliver(Relay(name, options_of(url)))


def read(
    url: str,
    name: str,
    until: int,
    *,
    meanwhile: Callable[[int], Awaitable[None]] | None = None,
    patience_s: float | None = None,
    **options: Any,
) -> list[str]:
    """Return the ids that a reader gives, up to a sequence; `meanwhile` is called with how many there are so far."""

    async def run() -> list[str]:
        link = Link(options_of(url), "test", patience_s=patience_s)
        ids: list[str] = []
        try:
            reader = Reader(link, default_stream(name), name, until=until, **options)
            async for part in reader.parts():
                ids += event_ids(part.records).tolist()
                if meanwhile is not None:
                    await meanwhile(len(ids))
        finally:
            await link.close()
        return ids

    return asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))


def test_everything_is_read_once_and_in_order(url: str, name: str) -> None:
    fill(url, name)
    assert read(url, name, 2500) == IDS


def test_reading_begins_behind_an_order(url: str, name: str) -> None:
    fill(url, name, 100)
    assert read(url, name, 100, after=int(orders_of(EVENTS[:60])[-1])) == IDS[60:100]


def test_reading_begins_with_so_many_of_the_newest(url: str, name: str) -> None:
    fill(url, name, 100)
    assert read(url, name, 100, newest=7) == IDS[93:100]


def test_with_nothing_to_read_it_ends(url: str, name: str) -> None:
    fill(url, name, 10)
    assert read(url, name, 10, after=int(orders_of(EVENTS[:10])[-1])) == []


def test_what_is_gone_meanwhile_is_not_waited_for(url: str, name: str) -> None:
    fill(url, name, 10)
    in_jetstream(url, lambda js: js.purge_stream(default_stream(name)))
    assert read(url, name, 10, newest=5) == []


def test_a_server_that_is_killed_meanwhile_costs_nothing(server: Server, name: str) -> None:
    fill(server.url, name)
    killed = False

    async def kill(count: int) -> None:
        nonlocal killed
        if count and not killed:
            killed = True
            server.kill()
            server.start()

    assert read(server.url, name, 2500, meanwhile=kill) == IDS
    assert killed


def test_a_consumer_that_is_deleted_meanwhile_is_made_anew(url: str, name: str) -> None:
    fill(url, name)
    deleted: list[int] = []

    async def delete(count: int) -> None:
        if 0 < count < 2500 and not deleted:
            deleted.append(await asyncio.to_thread(in_jetstream, url, _delete_consumers))

    async def _delete_consumers(js: JetStreamContext) -> int:
        consumers = await js.consumers_info(default_stream(name))
        for consumer in consumers:
            await js.delete_consumer(default_stream(name), consumer.name)
        return len(consumers)

    assert read(url, name, 2500, meanwhile=delete) == IDS
    assert deleted == [1]


def test_messages_lost_on_the_way_are_read_again(url: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(url, name)
    received = reader_module._Inbox._on_message
    count = 0

    async def lossy(inbox: Any, message: Any) -> None:
        nonlocal count
        count += 1
        if count not in (300, 301, 1700):
            await received(inbox, message)

    monkeypatch.setattr(reader_module._Inbox, "_on_message", lossy)
    assert read(url, name, 2500) == IDS


def test_what_is_no_event_or_out_of_order_is_left_out_and_said(
    url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(url, name, 10)

    async def spoil(js: JetStreamContext) -> None:
        subject = f"chronostream.{name}.second"
        third = await js.get_msg(default_stream(name), seq=3)
        headers = {key: value for key, value in (third.headers or {}).items() if key.startswith("Chronostream")}
        await js.publish(subject, third.data or b"", headers=headers)
        await js.publish(subject, b"nonsense", headers=headers)
        await js.publish(subject, third.data or b"")

    in_jetstream(url, spoil)
    assert read(url, name, 13) == IDS[:10]
    assert caplog.text.count("is left out") == 3
    assert f"event {IDS[2]} comes behind a later one" in caplog.text


def test_zone_data_that_change_on_the_way_are_flagged(url: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    fill(url, name, 3)

    async def add(js: JetStreamContext) -> None:
        last = await js.get_msg(default_stream(name), seq=3)
        headers = {key: value for key, value in (last.headers or {}).items() if key.startswith("Chronostream")}
        payload = (last.data or b"").replace(b"1700000003", b"1700000004")
        seed = 1700000004000000000 ^ 1700000004
        payload = payload.replace(str(1700000003000000000 ^ 1700000003).encode(), str(seed).encode())
        await js.publish(f"chronostream.{name}.second", payload, headers=headers | {"Chronostream-Zone": "UTC 0 1999a"})

    in_jetstream(url, add)
    assert read(url, name, 4) == IDS[:4]
    assert "from here on events come by zone data UTC 0 1999a, before by UTC " in caplog.text


def test_with_patience_a_stream_that_is_not_there_is_an_error_at_once(url: str, name: str) -> None:
    with pytest.raises(BridgeError, match=f"there is no JetStream stream {default_stream(name)}"):
        read(url, name, 1, patience_s=TIMEOUT_S)
