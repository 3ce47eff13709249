from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from chronostream.errors import ClosedError, InvalidTypeError
from chronostream.ring import Consumer, Producer
from tests.ring.harness import TIMEOUT_S, Handles, in_fork, in_thread


def test_an_inherited_handle_shows_that_it_is_the_parents(own: Handles) -> None:
    producer, consumer = own.pair()

    def child() -> None:
        assert repr(producer) == f"<Producer {own.name!r} handle of the parent process>"
        assert repr(consumer) == f"<Consumer {own.name!r} handle of the parent process>"

    assert in_fork(child) == 0


def test_a_handle_that_was_never_finished_can_be_shown() -> None:
    for kind in (Producer, Consumer):
        assert repr(object.__new__(kind)) == f"<{kind.__name__} None unfinished handle>"


def test_a_handle_whose_descriptor_is_gone_can_be_shown(own: Handles) -> None:
    own.create()
    consumer = own.attach()
    descriptor = consumer._segment._descriptor.fileno()
    kept = os.dup(descriptor)
    os.close(descriptor)
    try:
        assert repr(consumer) == f"<Consumer {own.name!r} closed handle>"
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda copied: copied.__name__)
def test_a_handle_is_neither_pickled_nor_copied(own: Handles, copied: Callable[[Any], Any]) -> None:
    for handle in own.pair():
        with pytest.raises(InvalidTypeError, match=f"send its name, {own.name!r}, and attach to the stream by that"):
            copied(handle)
        handle.close()
        with pytest.raises(InvalidTypeError, match="cannot be pickled or copied"):
            copied(handle)


def publish_and_look(producer: Producer) -> None:
    producer.publish(1)
    producer.publish_many([2, 3])
    assert producer.head > 0


@pytest.mark.parametrize(("side", "use"), [(0, publish_and_look), (1, Consumer.read)], ids=["producer", "consumer"])
@pytest.mark.parametrize("_turn", range(20))
def test_a_handle_that_another_thread_closes_between_its_calls_ends_them(
    own: Handles, side: int, use: Callable[[Any], object], _turn: int
) -> None:
    # Without the GIL, the memory could be unmapped under a call.
    handle = own.pair()[side]
    begun, refusals = threading.Event(), []

    def use_until_closed() -> None:
        try:
            while True:
                use(handle)
                begun.set()
        except ClosedError as error:
            refusals.append(error)

    with in_thread(use_until_closed):
        assert begun.wait(TIMEOUT_S)
        handle.close()
    assert len(refusals) == 1
