from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt
import pytest
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from chronostream import event_ids
from chronostream.bridges.encoding import Encoding
from chronostream.bridges.publisher import BatchSizeError, ConflictError, Publisher
from tests.bridges.harness import HELD, Server, in_jetstream, stored, stored_ids

RECORDS = HELD[:120]


def make(url: str, name: str) -> None:
    """Make a JetStream stream that forgets within a tenth of a second what it must not store again."""
    config = StreamConfig(name=name, subjects=[f"chronostream.{name}.*"], allow_atomic=True, duplicate_window=0.1)
    in_jetstream(url, lambda js: js.add_stream(config))


def publisher(js: JetStreamContext, name: str, encoding: Encoding = Encoding.JSON) -> Publisher:
    return Publisher(js._nc, js, name, encoding, "UTC 0 unknown")


async def send(sender: Publisher, records: npt.NDArray[np.void], behind: int = 0) -> int:
    return await sender.commit(await sender.stage(records, behind))


def send_alone(url: str, name: str, records: npt.NDArray[np.void], encoding: Encoding = Encoding.JSON) -> int:
    return in_jetstream(url, lambda js: send(publisher(js, name, encoding), records))


def test_a_batch_is_stored_as_a_whole_and_in_order(url: str, name: str) -> None:
    make(url, name)
    assert send_alone(url, name, RECORDS) == len(RECORDS)
    assert stored_ids(url, name) == event_ids(RECORDS).tolist()


def test_a_message_tells_its_schema_encoding_lateness_and_zone_data(url: str, name: str) -> None:
    make(url, name)
    send_alone(url, name, RECORDS[:1], Encoding.RECORD)
    (message,) = stored(url, name)
    assert message["payload"] == RECORDS[:1].tobytes()
    headers = message["headers"]
    assert (headers["Chronostream-Schema"], headers["Chronostream-Encoding"]) == ("1", "record")
    assert headers["Chronostream-Zone"] == "UTC 0 unknown"
    assert int(headers["Chronostream-Lateness-Ns"]) > 0


def test_what_was_stored_is_not_stored_again_beyond_the_duplicate_window(server: Server, name: str) -> None:
    sent = {f"{name}-alone": RECORDS[:1], f"{name}-batch": RECORDS[:20]}
    for each, records in sent.items():
        make(server.url, each)
        send_alone(server.url, each, records)
    server.kill()  # What it keeps of the window is made anew from the messages within it: there are none any more.
    server.start()
    for each, records in sent.items():
        with pytest.raises(ConflictError):
            send_alone(server.url, each, records)
        assert stored_ids(server.url, each) == event_ids(records).tolist()


def test_a_batch_behind_another_message_than_the_last_is_not_stored_at_all(url: str, name: str) -> None:
    make(url, name)

    async def send_three_times(js: JetStreamContext) -> None:
        sender = publisher(js, name)
        await send(sender, RECORDS[:3])
        for behind in (2, 4):
            with pytest.raises(ConflictError):
                await send(sender, RECORDS[3:6], behind)

    in_jetstream(url, send_three_times)
    assert stored_ids(url, name) == event_ids(RECORDS[:3]).tolist()


def test_of_two_that_send_the_same_at_once_one_stores_it(url: str, name: str) -> None:
    make(url, name)

    async def send_at_once(js: JetStreamContext) -> list[object]:
        senders = [publisher(js, name) for _ in range(4)]
        batches = [await sender.stage(RECORDS, 0) for sender in senders]
        sending = [sender.commit(batch) for sender, batch in zip(senders, batches, strict=True)]
        return await asyncio.gather(*sending, return_exceptions=True)

    outcomes = in_jetstream(url, send_at_once)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ConflictError"] * 3 + ["int"]
    assert stored_ids(url, name) == event_ids(RECORDS).tolist()


def test_what_was_staged_and_not_committed_is_not_there(url: str, name: str) -> None:
    make(url, name)

    async def stage_and_send(js: JetStreamContext) -> None:
        sender = publisher(js, name)
        await sender.stage(RECORDS[:50], 0)
        await send(sender, RECORDS[:2])

    in_jetstream(url, stage_and_send)
    assert stored_ids(url, name) == event_ids(RECORDS[:2]).tolist()


def test_a_server_that_takes_smaller_batches_is_told_apart(small_batches: str, name: str) -> None:
    make(small_batches, name)

    async def send_too_many(js: JetStreamContext) -> None:
        sender = publisher(js, name)
        with pytest.raises(BatchSizeError):
            await send(sender, RECORDS[:101])
        await send(sender, RECORDS[:100])

    in_jetstream(small_batches, send_too_many)
    assert stored_ids(small_batches, name) == event_ids(RECORDS[:100]).tolist()
