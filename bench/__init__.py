"""Measures ChronoStream beside its alternatives: `python -m bench`. bench/README.md explains the results.

::

    __main__.py ── runner.py ── scenarios/  what is measured, one module for each kind
                     │            peers/      the same operations for each ring or queue, one module for each
                     │            tickers/    the same for each way to wake up at a second
                     │            limits.py   the limits of the machine (limits.c)
                     │          processes.py processes for each contender, pinned, with a time limit
                     └─ results.py ── report.py, figures.py, pictures.py
"""
