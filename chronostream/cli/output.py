"""The way of text to the terminal. Text from a segment was written by another program, and may hold anything."""

from __future__ import annotations

import sys

__all__ = ["print_lines", "printable_text"]


def print_lines(*lines: str) -> None:
    """Print lines on stdout: nothing in one of them begins another line, or is a command to the terminal."""
    print("\n".join(map(printable_text, lines)), file=sys.stdout, flush=True)


def printable_text(text: str) -> str:
    """Return one line of text without line ends, escapes and other characters that are not to be seen."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
