"""How far the fuzz tests go: a fixed number of fixed examples, or as many others as ASD_FUZZ_EXAMPLES says."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONG = os.environ.get("ASD_FUZZ_EXAMPLES")
EXTREME = [0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]


def bounded(examples: int) -> settings:
    """Settings of a test that does so many examples in a second or two."""
    return settings(
        max_examples=int(LONG or examples),
        derandomize=LONG is None,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes], first: int = 128) -> bytes:
    """A valid file after a few changes: bytes and numbers overwritten, mostly among the first ones, cut, put in."""
    content = bytearray(draw(valid))
    for _ in range(draw(st.integers(1, 4))):
        end = len(content) if draw(st.booleans()) else min(first, len(content))
        at = draw(st.integers(0, max(end - 1, 0)))
        how = draw(st.sampled_from(["byte", "number", "cut", "insert", "remove"]))
        if how == "byte":
            content[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif how == "number":
            content[at : at + 4] = draw(st.sampled_from(EXTREME)).to_bytes(4, "little")
        elif how == "cut":
            del content[at:]
        elif how == "insert":
            content[at:at] = draw(st.binary(max_size=40))
        else:
            del content[at : at + draw(st.integers(1, 16))]
    return bytes(content)
