"""The list of the ring's peers, and loading of those that are installed."""

from __future__ import annotations

import importlib

from bench.peer import Contender

__all__ = ["OWN", "PEERS", "QUICK", "load"]

OWN = ("chronostream-native", "chronostream-portable")
"""ChronoStream's cores, measured in each run."""

PEERS = {
    "chronostream-native": ("chronostream", "Native"),
    "chronostream-portable": ("chronostream", "Portable"),
    "mp-queue": ("mp_queue", "MpQueue"),
    "mp-pipe": ("mp_pipe", "MpPipe"),
    "pyzmq-pubsub": ("pyzmq", "PubSub"),
    "pyzmq-pushpull": ("pyzmq", "PushPull"),
    "faster-fifo": ("faster_fifo", "FasterFifo"),
    "iceoryx2": ("iceoryx2", "Iceoryx2"),
    "kickmsg": ("kickmsg", "Kickmsg"),
    "global-buffer": ("global_buffer", "GlobalBuffer"),
    "zerochannel": ("zerochannel", "Zerochannel"),
    "slick-queue": ("slick_queue", "SlickQueuePy"),
    "subetha-pubsub": ("subetha", "PubSub"),
    "subetha-spsc": ("subetha", "Spsc"),
    "membridge": ("membridge", "Membridge"),
}
"""Each name with its module in this package, and its class."""

QUICK = ("mp-queue", "pyzmq-pubsub", "kickmsg", "subetha-pubsub")
"""The peers of a quick run: the two best known and the two fastest."""


def load(name: str, package: str = "bench.peers", table: dict[str, tuple[str, str]] = PEERS) -> Contender | str:
    """Return a contender, or why it is not available."""
    module, attribute = table[name]
    try:
        contender: Contender = getattr(importlib.import_module(f"{package}.{module}"), attribute)()
    except ImportError as error:
        return f"not installed ({error}): pip install '.[bench]'"
    return contender.absent() or contender
