from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from chronostream import event_ids
from chronostream.bridges.encoding import Encoding
from chronostream.bridges.publisher import BatchSizeError, ConflictError, Publisher
from tests.bridges.harness import Server, boundary_events, in_jetstream, stored, stored_ids

START_NS = 1_700_000_000_000_000_000
RECORDS = boundary_events(("second", "minute"), START_NS, START_NS + 100 * 10**9)


def make(url: str, name: str) -> None:
    """Make a JetStream stream that forgets within a tenth of a second what it must not store again."""
    config = StreamConfig(name=name, subjects=[f"chronostream.{name}.*"], allow_atomic=True, duplicate_window=0.1)
    in_jetstream(url, lambda js: js.add_stream(config))


def publisher(js: JetStreamContext, name: str, encoding: Encoding = Encoding.JSON) -> Publisher:
    client: Client = js._nc
    return Publisher(client, js, name, encoding, "UTC 0 unknown")


def test_a_batch_is_stored_as_a_whole_and_in_order(url: str, name: str) -> None:
    make(url, name)

    async def send(js: JetStreamContext) -> int:
        sender = publisher(js, name)
        return await sender.commit(await sender.stage(RECORDS, 0))

    assert in_jetstream(url, send) == len(RECORDS)
    assert stored_ids(url, name) == event_ids(RECORDS).tolist()


def test_a_message_tells_its_schema_encoding_lateness_and_zone_data(url: str, name: str) -> None:
    make(url, name)

    async def send(js: JetStreamContext) -> None:
        sender = publisher(js, name, Encoding.RECORD)
        await sender.commit(await sender.stage(RECORDS[:1], 0))

    in_jetstream(url, send)
    (message,) = stored(url, name)
    assert message["payload"] == RECORDS[:1].tobytes()
    headers = message["headers"]
    assert (headers["Chronostream-Schema"], headers["Chronostream-Encoding"]) == ("1", "record")
    assert headers["Chronostream-Zone"] == "UTC 0 unknown"
    assert int(headers["Chronostream-Lateness-Ns"]) > 0


@pytest.mark.parametrize("count", [1, 20])
def test_what_was_stored_is_not_stored_again_beyond_the_duplicate_window(server: Server, name: str, count: int) -> None:
    make(server.url, name)

    async def send(js: JetStreamContext) -> None:
        sender = publisher(js, name)
        await sender.commit(await sender.stage(RECORDS[:count], 0))

    in_jetstream(server.url, send)
    server.kill()  # What it keeps of the window is made anew from the messages within it: there are none any more.
    server.start()
    server.wait_until_ready()
    with pytest.raises(ConflictError):
        in_jetstream(server.url, send)
    assert stored_ids(server.url, name) == event_ids(RECORDS[:count]).tolist()


def test_a_batch_behind_another_message_than_the_last_is_not_stored_at_all(url: str, name: str) -> None:
    make(url, name)

    async def send(js: JetStreamContext) -> None:
        sender = publisher(js, name)
        await sender.commit(await sender.stage(RECORDS[:3], 0))
        for behind in (2, 4):
            with pytest.raises(ConflictError):
                await sender.commit(await sender.stage(RECORDS[3:6], behind))

    in_jetstream(url, send)
    assert stored_ids(url, name) == event_ids(RECORDS[:3]).tolist()


def test_of_two_that_send_the_same_at_once_one_stores_it(url: str, name: str) -> None:
    make(url, name)

    async def send(js: JetStreamContext) -> list[object]:
        senders = [publisher(js, name) for _ in range(4)]
        batches = [await sender.stage(RECORDS, 0) for sender in senders]
        sending = [sender.commit(batch) for sender, batch in zip(senders, batches, strict=True)]
        return await asyncio.gather(*sending, return_exceptions=True)

    outcomes = in_jetstream(url, send)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError"] * 3 + ["int"]
    assert stored_ids(url, name) == event_ids(RECORDS).tolist()


def test_what_was_staged_and_not_committed_is_not_there(url: str, name: str) -> None:
    make(url, name)

    async def send(js: JetStreamContext) -> None:
        sender = publisher(js, name)
        await sender.stage(RECORDS[:50], 0)
        await sender.commit(await sender.stage(RECORDS[:2], 0))

    in_jetstream(url, send)
    assert stored_ids(url, name) == event_ids(RECORDS[:2]).tolist()


def test_a_server_that_takes_smaller_batches_is_told_apart(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    config = "jetstream { limits { batch { max_msgs: 10 } } }"
    with Server(tmp_path_factory.mktemp("small"), config=config) as server:
        make(server.url, name)

        async def send(js: JetStreamContext) -> None:
            sender = publisher(js, name)
            with pytest.raises(BatchSizeError):
                await sender.commit(await sender.stage(RECORDS[:11], 0))
            await sender.commit(await sender.stage(RECORDS[:10], 0))

        in_jetstream(server.url, send)
        assert stored_ids(server.url, name) == event_ids(RECORDS[:10]).tolist()
