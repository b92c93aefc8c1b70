"""Which checkpoint is the best: by the year's numbers of the primary scorer, on the development half alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.errors import UserError
from asd.evaluate import store
from asd.evaluate.history import best_step, evaluated_steps, headline
from asd.evaluate.store import EMBEDDINGS_FILE, EVALUATION_FILE, Evaluation
from asd.metrics import ClipScores
from asd.report import REPORT_FILE, Header, Validation, write_report
from asd.run_folder.paths import RunFolder
from asd.scorers import KnnConfig, SoftmaxConfig

TRUTH = [0] * 10 + [1] * 10


def ranked(anomalies_above: Sequence[int]) -> np.ndarray:
    """Scores of 10 normal clips, 0 to 9, and of 10 anomalies, each above so many of the normal ones."""
    return np.array([*range(10), *(count - 0.5 for count in anomalies_above)], dtype=float)


# AUC 0.9, but two normal clips lie above every anomaly that is not below them: pAUC is low; and the other way round.
HIGH_AUC = ranked([9] * 10)
HIGH_PAUC = ranked([10] * 7 + [5] * 3)
WORSE, BETTER = ranked([7] * 10), ranked([8] * 10)


def clips_of(layout: str, groups: dict[tuple[str, str, bool, str], np.ndarray], primary: str = "knn") -> ClipScores:
    """(machine type, ID, whether names carry the label, domain) → scores of its 20 clips."""
    rows = []
    for (machine_type, machine_id, named, domain), scores in groups.items():
        for number, (label, score) in enumerate(zip(TRUTH, scores.tolist(), strict=True)):
            word = ("normal", "anomaly")[label]
            name = f"{word}_id_{machine_id}_{number:08d}.wav".removeprefix("" if named else f"{word}_")
            if layout != "dcase2020":
                name = f"section_{machine_id}_{f'{domain}_test_{word}_' if named else ''}{number:04d}.wav"
            rows.append((name, machine_type, machine_id, domain, label, score))
    names, types, ids, domains, label, score = (list(column) for column in zip(*rows, strict=True))
    both = {primary: np.array(score), "softmax": -np.array(score)}
    return ClipScores(names, names, types, ids, domains, np.array(label), both)


def scored(run: RunFolder, step: int, clips: ClipScores, layout: str, loss: float = 1.0) -> None:
    """An evaluation of a step, as scoring leaves it."""
    folder = run.evaluation(step)
    header = Header(run="run", run_folder=str(run.root), step=step, layout=layout, primary="knn")
    write_report(folder, clips, header)
    evaluation = Evaluation(
        run="run", step=step, epoch=1.0, checkpoint="", shards="", fingerprint="", select="oracle", embed_s=0.0,
        scorers=(KnnConfig(), SoftmaxConfig()), fit_clips=1, unreadable_clips=0,
        validation=Validation(loss=loss, accuracy=None, clips=1),
    )  # fmt: skip
    (folder / EVALUATION_FILE).write_text(evaluation.model_dump_json(), encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_2020_adds_auc_and_pauc_of_the_types(run: RunFolder) -> None:
    """A trade: the fan's AUC is higher at step 1, its pAUC at step 2, by more; the valve is the same."""
    for step, fan in ((1, HIGH_AUC), (2, HIGH_PAUC)):
        groups = {("fan", "00", True, ""): fan, ("valve", "00", True, ""): BETTER}
        scored(run, step, clips_of("dcase2020", groups), "dcase2020")
    types = [run_types(run, step) for step in (1, 2)]
    assert types[0]["fan"]["auc_mean"] > types[1]["fan"]["auc_mean"]
    assert types[0]["fan"]["pauc_mean"] < types[1]["fan"]["pauc_mean"]
    sums = [sum(own["auc_mean"] + own["pauc_mean"] for own in both.values()) for both in types]
    assert sums[1] > sums[0]
    assert best_step(run, "oracle") == 2


def report_of(run: RunFolder, step: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.evaluation(step) / "report.json").read_text(encoding="utf-8"))
    return found


def run_types(run: RunFolder, step: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = report_of(run, step)["scorers"]["knn"]["types"]
    return found


def official(run: RunFolder, step: int) -> dict[str, Any]:
    found: dict[str, Any] = report_of(run, step)["official"]["knn"]["machines"]
    return found


@pytest.mark.parametrize("layout", ["dcase2020", "dcase2023"])
def test_the_evaluation_half_has_no_say(run: RunFolder, layout: str) -> None:
    """Step 1 is a little better on development clips, step 2 much better on evaluation clips."""
    domains = ("source", "target") if layout != "dcase2020" else ("",)
    for step, dev, hidden in ((1, BETTER, ranked([0] * 10)), (2, WORSE, ranked([10] * 10))):
        groups = {("fan", "00", True, domain): dev for domain in domains}
        groups |= {("fan", "01", False, domain): hidden for domain in domains}
        scored(run, step, clips_of(layout, groups), layout)
    assert best_step(run, "oracle") == 1


def test_from_2021_the_official_score_decides(run: RunFolder) -> None:
    """Step 1 has the higher mean; its target domain is so poor that the harmonic mean is lower."""
    poor, fair, good = ranked([1] * 10), ranked([5] * 10), ranked([10] * 10)
    for step, source, target in ((1, good, poor), (2, fair, fair)):
        groups = {("fan", "00", True, "source"): source, ("fan", "00", True, "target"): target}
        scored(run, step, clips_of("dcase2021", groups), "dcase2021")
    aucs = [[m["mean"]["auc_source_target"] for m in official(run, step).values()] for step in (1, 2)]
    assert (aucs[0], aucs[1]) == ([pytest.approx(0.55)], [pytest.approx(0.5)])
    assert best_step(run, "oracle") == 2
    assert headline(run.evaluation(2)).startswith("harmonic mean AUC knn 50.00, softmax ")


def test_a_set_of_evaluation_clips_alone_is_chosen_on_them(run: RunFolder) -> None:
    for step, scores in ((1, BETTER), (2, WORSE)):
        scored(run, step, clips_of("dcase2020", {("fan", "01", False, ""): scores}), "dcase2020")
    assert best_step(run, "oracle") == 1


def test_the_clean_rule_looks_at_no_test_clip(run: RunFolder) -> None:
    for step, scores, loss in ((1, BETTER, 2.0), (2, WORSE, 1.0)):
        scored(run, step, clips_of("dcase2020", {("fan", "00", True, ""): scores}), "dcase2020", loss)
    assert (best_step(run, "clean"), best_step(run, "oracle"), best_step(run, "last")) == (2, 1, 2)


def test_copies_that_somebody_keeps_beside_are_no_evaluations(run: RunFolder) -> None:
    """step_3_0 would be step 30 to int()."""
    scored(run, 3, clips_of("dcase2020", {("fan", "00", True, ""): BETTER}), "dcase2020")
    for name in ("step_00000003 (copy)", "step_00000003.bak", "step_3_0"):
        shutil.copytree(run.evaluation(3), run.evaluations / name)
    assert evaluated_steps(run) == [3]
    assert best_step(run, "oracle") == 3


@pytest.mark.parametrize("left", [b"", b"\0" * 100, b'{"run": "a'])
def test_a_report_that_a_failing_disk_left_does_not_count(run: RunFolder, left: bytes) -> None:
    for step, count in ((1, BETTER), (2, WORSE)):
        scored(run, step, clips_of("dcase2020", {("fan", "00", True, ""): count}), "dcase2020")
    (run.evaluation(1) / REPORT_FILE).write_bytes(left)
    assert best_step(run, "oracle") == 2


def test_what_a_killed_scoring_left_is_no_reason_to_refuse_the_same_command(tmp_path: Path) -> None:
    """A kill came between embeddings.safetensors and evaluation.json."""
    (tmp_path / EMBEDDINGS_FILE).touch()
    store.check_foreign(tmp_path, EVALUATION_FILE)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match="holds other files"):
        store.check_foreign(tmp_path, EVALUATION_FILE)
