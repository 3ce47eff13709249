from __future__ import annotations

import pytest

from bench.host import Cores, find_cores
from bench.limits import Limits
from bench.processes import FailedError


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with Limits(Cores(None, None, "")) as limits, pytest.raises(FailedError, match="no C compiler 'no-such-compiler'"):
        limits.timer(1, 1_000_000)


def test_a_compiler_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    with Limits(Cores(None, None, "")) as limits:
        assert limits.unavailable is not None
        assert "failed" in limits.unavailable


@pytest.mark.measures
def test_the_machine_is_measured() -> None:
    cores = find_cores()
    with Limits(cores) as limits:
        assert [len(limits.memcpy(how, 4096, 65536, 3)) for how in ("FILL", "DRAIN")] == [3, 3]
        assert (limits.timer(2, 1_000_000) >= 0).all()
        assert (limits.futex(3, 1_000_000) > 0).all()
        if cores.apart:
            assert (limits.line(10) > 0).all()
        else:
            with pytest.raises(FailedError, match="two cores"):
                limits.line(10)
