"""The recorder writes a ring of any dtype into Parquet files. Each is complete or absent; no record is written twice.

::

    ring ──▶ recorder.py ──▶ files.py ──▶ DIR/market-clock.0001.0000000000000000-0000000000003599.2026-11-25.parquet
             what to do next  one file       stream         era  first position   last position    day of the first

Only finished files count. Records that were in no finished file at a crash are still in the ring, and are read again.
A file holds consecutive ring positions, so the file names alone tell which records are missing. An *era* is one life of
the ring. It ends when the stream is removed or the machine restarts; positions then begin at 0 again.
"""

from chronostream.recorder.files import RecordedFile, recorded_files
from chronostream.recorder.recorder import Recorder
from chronostream.recorder.report import RecordingReport
from chronostream.recorder.report import Report as Report

__all__ = ["RecordedFile", "Recorder", "RecordingReport", "recorded_files"]
