from __future__ import annotations

import numpy as np
import pytest

from bench.records import FIRST, Checks, check, make_rows, positions_of

SIZE = 32


def sent(*positions: int) -> bytes:
    return b"".join(make_rows(position, 1, SIZE).tobytes() for position in positions)


def test_records_say_their_positions() -> None:
    assert positions_of(make_rows(7, 3, SIZE).tobytes(), SIZE).tolist() == [7, 8, 9]


@pytest.mark.parametrize("size", [16, 56, 65536])
def test_all_records_in_order_are_right(size: int) -> None:
    checks = check(make_rows(FIRST, 100, size).tobytes(), size, sent=100, reported=None)
    assert checks == Checks(sent=100, received=100, reported=None, torn=0, repeated=0)
    assert checks.right
    assert checks.verdict == "right"


def test_a_record_with_a_word_of_another_is_torn() -> None:
    rows = make_rows(FIRST, 4, SIZE)
    rows[1, 3] = rows[2, 3]
    checks = check(rows.tobytes(), SIZE, sent=4, reported=0)
    assert (checks.torn, checks.missing, checks.right) == (1, 1, False)
    assert checks.verdict == "WRONG: 1 torn, 1 lost but not reported"


def test_memory_that_nobody_wrote_is_torn() -> None:
    assert check(np.zeros(4, np.uint64), SIZE, sent=1, reported=None).torn == 1


def test_a_record_that_comes_again_or_late_is_repeated() -> None:
    checks = check(sent(1, 2, 2, 4, 3), SIZE, sent=4, reported=None)
    assert (checks.repeated, checks.torn) == (2, 0)


@pytest.mark.parametrize(
    ("reported", "verdict"),
    [
        (2, "right; 2 lost, all reported"),
        (None, "WRONG: 2 lost silently"),
        (1, "WRONG: 1 lost but not reported"),
        (3, "WRONG: 1 reported lost but not lost"),
    ],
)
def test_a_loss_is_right_only_if_it_is_reported_exactly(reported: int | None, verdict: str) -> None:
    assert check(sent(1, 2, 5), SIZE, sent=5, reported=reported).verdict == verdict


def test_checks_of_several_receivers_add_up() -> None:
    total = Checks(10, 8, 2, 0, 0) + Checks(10, 10, 0, 1, 0)
    assert total == Checks(20, 18, 2, 1, 0)
    assert (total + Checks(1, 1, None, 0, 0)).reported is None
