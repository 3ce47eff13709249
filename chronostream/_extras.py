"""Optional packages, which are imported on first use."""

from __future__ import annotations

import importlib
from typing import Any

from chronostream.errors import MissingDependencyError

__all__ = ["require"]


def require(module: str, install: str) -> Any:
    """Return a module of an optional package.

    Args:
        module: what to import.
        install: the argument of ``pip install`` that brings it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != package:
            raise  # It is installed, but one of its own imports is missing.
        raise MissingDependencyError(
            f"this needs {package}, which is not installed: pip install '{install}'", name=package
        ) from error
