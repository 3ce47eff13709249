from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats.js import JetStreamContext

from chronostream import event_ids
from chronostream.bridges import reader as reader_module
from chronostream.bridges.connection import Connection
from chronostream.bridges.encoding import ZONE
from chronostream.bridges.jetstream import stream_for
from chronostream.bridges.reader import JetStreamReader
from chronostream.calendar.order import order_keys
from chronostream.errors import BridgeError
from tests.bridges.harness import (
    HEADERS,
    HELD,
    Server,
    fill,
    ids_between,
    in_jetstream,
    options_of,
    payload,
    publish,
)
from tests.ring.harness import TIMEOUT_S

IDS = event_ids(HELD).tolist()
ORDERS = order_keys(HELD).tolist()


def read(
    url: str,
    name: str,
    until: int,
    *,
    meanwhile: Callable[[int], Awaitable[None]] | None = None,
    timeout_s: float | None = None,
    **options: Any,
) -> list[str]:
    """Return the ids that a reader gives, up to a sequence; `meanwhile` is called with how many there are so far."""

    async def run() -> list[str]:
        connection = Connection(options_of(url), "test", timeout_s=timeout_s)
        ids: list[str] = []
        try:
            reader = JetStreamReader(connection, stream_for(name), name, **options)
            reader.until = until
            async for part in reader.parts():
                ids += event_ids(part.records).tolist()
                if meanwhile is not None:
                    await meanwhile(len(ids))
        finally:
            await connection.close()
        return ids

    return asyncio.run(asyncio.wait_for(run(), TIMEOUT_S))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, IDS),
        ({"after": ORDERS[2000]}, IDS[2001:]),
        ({"after": ORDERS[-1]}, []),
        ({"newest": 7}, IDS[-7:]),
    ],
    ids=["everything", "behind an order", "nothing", "the newest"],
)
def test_what_was_asked_for_is_read_once_and_in_order(
    url: str, held: str, options: dict[str, Any], expected: list[str]
) -> None:
    assert read(url, held, len(IDS), **options) == expected


def test_what_is_gone_meanwhile_is_not_waited_for(url: str, name: str) -> None:
    fill(url, name, 10)
    in_jetstream(url, lambda js: js.purge_stream(stream_for(name)))
    assert read(url, name, 10, newest=5) == []


def test_a_server_that_is_killed_meanwhile_costs_nothing(server: Server, name: str) -> None:
    fill(server.url, name, 2500)
    killed = False

    async def kill(count: int) -> None:
        nonlocal killed
        if count and not killed:
            killed = True
            server.kill()
            server.start()

    assert read(server.url, name, 2500, meanwhile=kill) == ids_between(1, 2501)
    assert killed


def test_a_consumer_that_is_deleted_meanwhile_is_made_anew(
    url: str, held: str, caplog: pytest.LogCaptureFixture
) -> None:
    deleted = False

    async def delete(count: int) -> None:
        nonlocal deleted
        if count and not deleted:
            deleted = True
            await asyncio.to_thread(in_jetstream, url, delete_consumers)

    async def delete_consumers(js: JetStreamContext) -> None:
        for consumer in await js.consumers_info(stream_for(held)):
            await js.delete_consumer(stream_for(held), consumer.name)

    assert read(url, held, len(IDS), meanwhile=delete) == IDS
    assert "the consumer on the server ended" in caplog.text


def test_messages_lost_on_the_way_are_read_again(url: str, held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    received = reader_module._Inbox._on_message
    count = 0

    async def lossy(inbox: Any, message: Any) -> None:
        nonlocal count
        count += 1
        if count not in (300, 301, 1700):
            await received(inbox, message)

    monkeypatch.setattr(reader_module._Inbox, "_on_message", lossy)
    assert read(url, held, len(IDS)) == IDS


def test_a_message_that_is_no_event_or_out_of_order_is_skipped_and_logged(
    url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(url, name, 10)
    publish(url, name, (payload(2), HEADERS), (b"nonsense", HEADERS), (payload(10), {}))
    assert read(url, name, 13) == IDS[:10]
    assert caplog.text.count("skipped message") == 3
    assert f"event {IDS[2]} comes after a later one" in caplog.text


def test_a_place_is_found_among_messages_that_are_no_events(url: str, name: str) -> None:
    fill(url, name, 4)
    publish(url, name, *[(b"nonsense", HEADERS)] * 5, (payload(4), HEADERS))
    assert read(url, name, 10, after=ORDERS[3]) == IDS[4:5]


def test_zone_data_that_change_on_the_way_are_flagged(url: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    fill(url, name, 3)
    publish(url, name, (payload(3), HEADERS | {ZONE: "UTC 0 1999a"}))
    assert read(url, name, 4) == IDS[:4]
    assert "events now have zone data UTC 0 1999a, before UTC " in caplog.text


def test_with_a_timeout_a_stream_that_does_not_exist_is_an_error_at_once(url: str, name: str) -> None:
    with pytest.raises(BridgeError, match=f"the JetStream stream {stream_for(name)} does not exist"):
        read(url, name, 1, timeout_s=TIMEOUT_S)
