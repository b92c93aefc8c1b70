"""Which scorers of an evaluation learn from known faults, in words."""

from __future__ import annotations

from collections.abc import Sequence

from asd.data.manifest import Manifest
from asd.scorers import ScorerConfig, learns_from_faults, scorer_label


def known_faults_in_words(scorers: Sequence[ScorerConfig], manifest: Manifest) -> str | None:
    """None where no scorer learns from known faults, or the set has none."""
    learning, faults = [scorer_label(own) for own in scorers if learns_from_faults(own)], manifest.known_faults
    if not learning or not len(faults):
        return None
    machines = len(set(manifest.class_index[faults].tolist()))
    return (
        f"{len(faults)} training clips are labelled anomaly: known faults of {machines} of {len(manifest.classes)} "
        f"machines, from which {', '.join(learning)} learn{'s' * (len(learning) == 1)}"
    )
