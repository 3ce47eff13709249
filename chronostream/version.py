"""The version of this program, in one place; pyproject.toml reads it from here."""

from __future__ import annotations

__all__ = ["EARLIEST_NS", "__version__"]

__version__ = "0.1.0"

EARLIEST_NS = 1_767_225_600_000_000_000
"""2026-01-01, when this version did not exist yet, Unix nanoseconds: a clock that reads less is wrong.

Move it on with each release.
"""
