"""Classes by clusters of clips (data.pseudo_labels), from their search to the decision on a recording."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import eval as evaluation
import train_ddp
from asd.commands import pseudo_labels
from asd.commands.ensemble import evaluation_of
from asd.config.load import load_config
from asd.detector import read_detector
from asd.errors import UserError
from asd.metrics import read_scores
from asd.run_folder import checkpoint
from tests.support.inline import score_inline, score_run
from tests.support.launch import losses, succeed, train_words
from tests.support.narrow import CONFIGS
from tests.support.resumable import cut

STEPS = 6
WORDS = [f"train.steps={STEPS}", "checkpoint={every_steps: 1, keep_last: 100}", "evaluate={every_epochs: 1}"]
WARD, ALONE = "data.pseudo_labels={by: ward, max_clusters: 3}", "data.machine_types=[valve]"


def train(shards: Path, folder: Path, *words: str) -> None:
    assert train_ddp.main(train_words(shards, folder, *WORDS, *words)) == 0


@pytest.fixture(scope="module")
def run(small_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single machine, six steps; not to be written to."""
    folder = tmp_path_factory.mktemp("pseudo") / "run"
    with pytest.MonkeyPatch.context() as patch:
        score_inline(patch)
        train(small_set, folder, WARD, ALONE)
    return folder


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters can be read, not found."""
    monkeypatch.setattr(pseudo_labels, "embed_clips", None)


def at(run: Path, step: int = STEPS) -> Path:
    return checkpoint.step_path(run / "checkpoints", step)


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "pseudo_labels.csv").open(newline="", encoding="utf-8") as rows:
        return list(csv.DictReader(rows))


def test_one_machine_has_classes(run: Path) -> None:
    meta = json.loads((at(run) / "meta.json").read_text(encoding="utf-8"))
    assert meta["classes"] == ["valve/04 cluster 0", "valve/04 cluster 1", "valve/04 cluster 2"]
    rows = rows_of(run)
    assert len(rows) == 24  # held-out clips, too
    assert {(row["machine_type"], row["machine_id"], row["domain"]) for row in rows} == {("valve", "04", "")}
    assert {row["cluster"] for row in rows} == {"0", "1", "2"}
    report = json.loads(next((run / "evaluations").glob("*/report.json")).read_text(encoding="utf-8"))
    assert report["classes"] == 1


def test_runs_with_other_clusters_of_a_machine_are_one_ensemble(
    run: Path, small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores are of machines: what their clips were divided into does not matter to the mean."""
    score_inline(monkeypatch)
    train(small_set, tmp_path / "two", "data.pseudo_labels={by: ward, max_clusters: 2}", ALONE, "train.seed=1")
    runs = [run, tmp_path / "two"]
    assert [len({row["cluster"] for row in rows_of(own)}) for own in runs] == [3, 2]
    words = ["--scorer", "knn", "--out", str(tmp_path / "both")]
    assert evaluation.main(["ensemble", "--runs", *map(str, runs), *words]) == 0
    expected = []
    for own in runs:
        folder = evaluation_of(own)
        test, normal = (read_scores(folder / name) for name in ("scores.csv", "calibration.csv"))
        scores, known = (clips.scores["knn"] for clips in (test, normal))
        expected.append(dict(zip(test.key, (scores - known.mean()) / known.std(), strict=True)))
    both = read_scores(tmp_path / "both/scores.csv")
    found = dict(zip(both.key, both.scores["ensemble"], strict=True))
    assert found == pytest.approx({key: (expected[0][key] + expected[1][key]) / 2 for key in expected[1]}, rel=1e-5)


@pytest.mark.usefixtures("no_search")
def test_a_resumed_run_reads_them_and_equals_an_unbroken_one(
    run: Path, small_set: Path, tmp_path: Path, monkeypatch
) -> None:
    score_inline(monkeypatch)
    folder = tmp_path / "run"
    cut(run, folder, step=3)
    train(small_set, folder, WARD, ALONE)
    assert losses(folder) == losses(run)
    for name in ("model.safetensors", "optimizer.pt"):
        assert (at(folder) / name).read_bytes() == (at(run) / name).read_bytes()


def test_a_lost_file_is_made_again_and_another_one_refused(
    run: Path, small_set: Path, tmp_path: Path, monkeypatch
) -> None:
    score_inline(monkeypatch)
    folder = tmp_path / "run"
    cut(run, folder, step=3)
    before = (folder / "pseudo_labels.csv").read_text(encoding="utf-8")
    lines = before.splitlines()
    places = [lines.index(next(line for line in lines if line.endswith(f",{own}"))) for own in (1, 2)]
    other = [*lines]
    for place, own in zip(places, (2, 1), strict=True):
        other[place] = f"{lines[place].rpartition(',')[0]},{own}"
    (folder / "pseudo_labels.csv").write_text("\n".join(other) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="belongs to a run with another pseudo_labels"):
        train(small_set, folder, WARD, ALONE)
    (folder / "pseudo_labels.csv").unlink()
    train(small_set, folder, WARD, ALONE)
    assert (folder / "pseudo_labels.csv").read_text(encoding="utf-8") == before
    assert losses(folder) == losses(run)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace(",2\n", ",two\n", 1), r"pseudo_labels\.csv:\d+: cluster is 'two'"),
        (
            lambda text: text.rpartition("\n")[0].rpartition("\n")[0] + "\n",
            r"has no cluster of clip valve\S+: put it back",
        ),
        (lambda text: text.replace("cluster", "class", 1), "must name the columns key,cluster"),
    ],
)
def test_a_damaged_file_is_refused(damage, said: str, run: Path, small_set: Path, tmp_path: Path) -> None:
    cut(run, tmp_path / "run", step=3)
    path = tmp_path / "run" / "pseudo_labels.csv"
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UserError, match=said):
        train(small_set, tmp_path / "run", WARD, ALONE)


@pytest.mark.usefixtures("no_search")
def test_other_settings_are_another_run(run: Path, small_set: Path, tmp_path: Path) -> None:
    cut(run, tmp_path / "run", step=3)
    with pytest.raises(UserError, match=r"another data\.pseudo_labels\.max_clusters \(3, now 2\)"):
        train(small_set, tmp_path / "run", "data.pseudo_labels={by: ward, max_clusters: 2}", ALONE)


@pytest.mark.usefixtures("no_search")
def test_scores_and_detectors_know_them(run: Path, small_set: Path, tmp_path: Path) -> None:
    report = json.loads((score_run(run, tmp_path / "scores", "--checkpoint", "last") / "report.json").read_text())
    assert report["step"] == STEPS
    detector, found = tmp_path / "detector.pt", tmp_path / "found.csv"
    assert evaluation.main(["export", "--run", str(run), "--checkpoint", "last", "--out", str(detector)]) == 0
    assert read_detector(detector).machine_of == (0, 0, 0)
    recordings = small_set.parent / "recordings" / "valve" / "test"
    words = ["--detector", str(detector), "--machine", "valve", "--id", "04", "--scorer", "knn", "--out", str(found)]
    assert evaluation.main(["clips", *words, str(recordings)]) in (0, 1)
    assert len(found.read_text().splitlines()) == 1 + 8


def test_two_ranks_find_those_of_one(small_set: Path, tmp_path: Path, monkeypatch) -> None:
    """By a network that a run has trained, whose clusters differ with every digit."""
    score_inline(monkeypatch)
    first, few = tmp_path / "first", ["train.steps=2", "evaluate.by_watcher=true"]
    assert train_ddp.main(train_words(small_set, first, *few)) == 0
    words = [*few, f"data.pseudo_labels={{by: ward, run: {first}}}"]
    for ranks in (1, 2):
        arguments = train_words(small_set, tmp_path / str(ranks), *words)
        succeed(tmp_path / f"log{ranks}", arguments, ranks=ranks)
    files = [(tmp_path / name / "pseudo_labels.csv").read_bytes() for name in "12"]
    assert files[0] == files[1]
    assert len({(row["machine_id"], row["machine_type"], row["cluster"]) for row in rows_of(tmp_path / "1")}) == 4 * 4
    assert list(losses(tmp_path / "1").values()) == pytest.approx(list(losses(tmp_path / "2").values()), rel=1e-5)


def test_check_embeds_nothing(run: Path, small_set: Path, tmp_path: Path, capsys, no_search) -> None:
    train_ddp.main(train_words(small_set, tmp_path / "new", *WORDS, WARD, ALONE, "--check"))
    assert "ok: as many classes as clusters will be found, 23 training clips" in capsys.readouterr().out
    train_ddp.main(train_words(small_set, run, *WORDS, WARD, ALONE, "--check"))
    assert "ok: 3 classes, 23 training clips" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data.pseudo_labels={max_clusters: 1}", ALONE], "all clips are one cluster.*by=ward"),
        (["data.pseudo_labels={view: loud}"], "view=loud is no view of the embedding: it has mean, mean_level"),
        (["data.pseudo_labels={run: nowhere}"], "run=nowhere is no run folder: it holds no config.yaml"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], said: str, small_set: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        train(small_set, tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_what_tells_no_classes_apart_has_no_use_for_them() -> None:
    with pytest.raises(UserError, match=r"task untrained tells no classes apart: leave data\.pseudo_labels out"):
        load_config(CONFIGS["statistics"], ["data.pseudo_labels={}"])
