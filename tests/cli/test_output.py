from __future__ import annotations

import pytest

from chronostream.cli.output import print_lines, printable_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("Zürich 東京 ½", "Zürich 東京 ½"),
        ("\x1b[31mred", "�[31mred"),
        ("a\nb\r\tc", "a�b��c"),
        ("\x9b2J\x07", "�2J�"),
        ("left \u202e right", "left � right"),
        ("\ud800", "�"),
    ],
)
def test_what_is_not_to_be_seen_is_replaced(text: str, shown: str) -> None:
    assert printable_text(text) == shown


def test_lines_stay_as_many_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines("one\ntwo", "", "three")
    assert capsys.readouterr().out == "one�two\n\nthree\n"
