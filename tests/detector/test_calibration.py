"""Which scorers can be taught anew, and how far a threshold goes down for missed faults."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest

from asd.detector.calibration import check_scorers, lowered
from asd.errors import UserError
from asd.scorers import SCORERS, ScorerConfig

CONFIG: pydantic.TypeAdapter[ScorerConfig] = pydantic.TypeAdapter(ScorerConfig)
OF_CLASSES = {"softmax", "neg_log_softmax", "log_odds", "fault_head"}


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_of_classes_are_refused_for_a_new_machine_alone(name: str) -> None:
    config = CONFIG.validate_python({"name": name})
    if name == "selective_mahalanobis":
        with pytest.raises(UserError, match="scorer selective_mahalanobis needs the residuals"):
            check_scorers([config], is_new=False)
        return
    check_scorers([config], is_new=False)
    if name not in OF_CLASSES:
        check_scorers([config], is_new=True)
        return
    with pytest.raises(UserError, match=f"scorer {name} reads .*: keep others, by --scorer"):
        check_scorers([CONFIG.validate_python({"name": "knn"}), config], is_new=True)


def test_a_threshold_goes_below_missed_faults_while_few_normals_lie_above() -> None:
    normal = np.arange(10.0)
    assert lowered(8.5, [9.0], normal, 1) == (8.5, [])
    threshold, below = lowered(8.5, [7.5, 3.0, 8.2], normal, 2)
    assert (threshold < 7.5, threshold > 7.4) == (True, True)
    assert below == [3.0]
    assert lowered(8.5, [7.5], normal, 1) == (8.5, [7.5])
    threshold, below = lowered(9.5, [9.0], normal, 1)
    assert threshold < 9.0
    assert below == []
