"""Former public names, for one release: each works, with a DeprecationWarning."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["former", "renamed"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def renamed(**names: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Let a function take keywords by their former names too, each given as ``former="present"``."""

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            if kwargs:
                for old in kwargs.keys() & names:
                    new = names[old]
                    if new in kwargs:
                        raise TypeError(f"{function.__qualname__}() got both {new!r} and {old!r}, its former name")
                    _warn(old, new)
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


def former(old: str, new: str) -> Any:
    """Return a property that reads the attribute `new` by its former name."""

    def read(instance: object) -> object:
        _warn(old, new)
        return getattr(instance, new)

    return property(read, doc=f"The former name of `{new}`.")


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old!r} is called {new!r} now, and goes with the next release", DeprecationWarning, stacklevel=3)
