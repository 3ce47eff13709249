"""ChronoStream measured beside what one would use instead: `python -m bench`, and bench/README.md for what it means.

::

    __main__.py ── runner.py ── scenarios/  what is measured, one module for a kind
                     │            peers/      the same operations for each ring or queue, one module a peer
                     │            tickers/    the same for each way to be woken at a second
                     │            limits.py   what the machine itself can do (limits.c)
                     │          processes.py each contender in processes of its own, pinned, with a time limit
                     └─ results.py ── report.py, figures.py, pictures.py
"""
