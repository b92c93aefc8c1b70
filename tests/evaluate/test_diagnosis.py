"""The warning comes where the proxy task teaches nothing, and only there."""

import pytest

from asd.evaluate.diagnosis import compare, diagnose
from asd.scorers.learnt import Learnt


def verdict(accuracy: float, loss: float = 1.0, classes: int = 41, spectrum: float | None = 0.8, **when) -> str | None:
    found = diagnose(accuracy, loss, classes, when.get("epoch", 10.0), when.get("step", 1000), spectrum)
    return None if found is None else found.text


@pytest.mark.parametrize(("accuracy", "spectrum", "code"), [(0.02, 0.5, "no_learning"), (1.0, 1.0, "trivial_task")])
def test_a_warning_has_a_code(accuracy, spectrum, code):
    found = diagnose(accuracy, 1e-6, 41, 10.0, 1000, spectrum)
    assert found is not None and found.code == code


@pytest.mark.parametrize(("accuracy", "classes"), [(1 / 41, 41), (0.06, 41), (0.0, 41), (0.51, 2), (0.27, 4)])
def test_chance_is_not_learning(accuracy, classes):
    found = verdict(accuracy, classes=classes)
    assert found is not None
    assert f"accuracy {100 * accuracy:.1f} % after 10 epochs, chance is {100 / classes:.1f} %" in found


@pytest.mark.parametrize(("accuracy", "classes"), [(0.10, 41), (0.6, 2), (0.35, 4), (0.9, 41)])
def test_above_chance_is_learning(accuracy, classes):
    assert verdict(accuracy, classes=classes) is None


@pytest.mark.parametrize("when", [{"epoch": 1.5}, {"step": 60}])
def test_a_run_that_has_only_begun_is_left_alone(when):
    assert verdict(1 / 41, **when) is None


def test_a_task_that_the_mean_spectrum_solves_is_trivial():
    found = verdict(1.0, loss=1e-5, spectrum=0.995)
    assert found is not None
    assert "trivial: accuracy 100.0 % with a loss of 1e-05, and the mean spectrum alone is right on 99.5 %" in found
    assert "level or recording site" in found


@pytest.mark.parametrize(
    ("accuracy", "loss", "spectrum"),
    [(1.0, 1e-4, 0.79), (1.0, 1e-4, None), (0.97, 1e-3, 1.0), (1.0, 0.3, 1.0)],  # the first: the demo, AUC 83 %
)
def test_perfection_alone_is_not_triviality(accuracy, loss, spectrum):
    assert verdict(accuracy, loss, spectrum=spectrum) is None


@pytest.mark.parametrize(
    ("right", "share", "when", "said"),
    [
        (69, 0.0, (10.0, 1000), True),
        (95, 0.4, (10.0, 1000), False),
        (69, 0.0, (1.5, 1000), False),
        (69, 0.0, (10.0, 60), False),
    ],
)
def test_a_network_that_is_not_above_the_spectrum_is_told_of(right, share, when, said):
    found = compare(Learnt(100, right, 77, share), *when)
    assert (found is not None) == said
    if found is not None:
        assert found.code == "not_above_untrained"
        assert "of 100 held-out normal clips the network takes 69.0 % for their own machine's" in found.text
        assert "untrained_knn" in found.text
