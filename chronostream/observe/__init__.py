"""What can be seen of the streams of this machine by somebody who only looks: facts and figures, no rendering.

::

    survey.py ──▶ change.py      one look at everything; what happened between two of them
        └───────▶ metrics.py     the same for Prometheus
    doctor.py, host.py           whether this machine is fit for it

Nothing here writes into a stream or takes part in it, and nothing knows how its findings are shown (that is
`chronostream.cli`).
"""
