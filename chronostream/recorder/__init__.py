"""The recorder: a ring of any dtype into Parquet files, each complete or absent, without duplicates or silent holes.

::

    ring ──▶ recorder.py ──▶ files.py ──▶ DIR/market-clock.0001.0000000000000000-0000000000003599.2026-11-25.parquet
             what to do next  one file       stream         era  first position   last position    day of the first

Nothing but the finished files says how far a recording has come: what is unfinished at a crash is still in the ring,
and is read from there again. A file holds consecutive positions, so that the names alone tell what was recorded and
what was not; its metadata has the rest. An *era* is one life of the ring: it ends when the stream is removed, or the
machine restarts, and positions begin at 0 again.
"""

from chronostream.recorder.files import RecordedFile, recorded_files
from chronostream.recorder.recorder import Recorder, Report

__all__ = ["RecordedFile", "Recorder", "Report", "recorded_files"]
