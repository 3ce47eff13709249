"""What every test needs: property tests that try the same examples each time, however slow the machine is."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("chronostream", deadline=None, derandomize=True, database=None)
settings.load_profile("chronostream")
