"""Record a stream into Parquet, and ask DuckDB about it: pip install 'chronostream[arrow]' duckdb.

The same from a shell: chronostream record NAME --to DIR
"""

from __future__ import annotations

import tempfile

import duckdb
from _demo import demo

import chronostream as cs

with demo(__doc__) as wanted, tempfile.TemporaryDirectory() as directory:
    with cs.recorder.Recorder(wanted.name, directory) as recorder:
        report = recorder.run(for_s=wanted.count)
    print(f"{report.records} records in {[file.path.name for file in report.files]}, {report.lost_records} lost")
    if report.files:
        print(duckdb.sql(f"select frequency, count(*), min(timestamp) from '{directory}/*.parquet' group by all"))
