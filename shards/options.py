"""Numeric command-line options, with their error messages."""

from __future__ import annotations

from argparse import ArgumentTypeError


def positive(text: str) -> int:
    """A whole number above 0."""
    return _whole(text, 1, "a whole number above 0")


def count(text: str) -> int:
    """A whole number from 0."""
    return _whole(text, 0, "a whole number from 0")


def _whole(text: str, least: int, what: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise ArgumentTypeError(f"{text!r} is not {what}")
    return number
