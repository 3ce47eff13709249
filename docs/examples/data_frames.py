"""Events as Arrow, pandas and polars: pip install 'chronostream[arrow]' pandas polars."""

from __future__ import annotations

import numpy as np
from _demo import demo

import chronostream as cs

with demo(__doc__) as wanted, cs.subscribe(wanted.name, {"second"}) as events:
    batches = [events.read()]
    while sum(map(len, batches)) < wanted.count and events.wait():
        batches.append(events.read())
    records = np.concatenate(batches)

print(cs.tables.to_arrow(records).schema, end="\n\n")
print(cs.tables.to_pandas(records)[["timestamp", "frequency", "sequence"]], end="\n\n")
print(cs.tables.to_polars(records).select("timestamp", "frequency", "sequence"))
