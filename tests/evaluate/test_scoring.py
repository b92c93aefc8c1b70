"""Scoring an evaluation: scores, calibration, decisions, report."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from asd.data.manifest import Manifest, load_manifest
from asd.data.subset import restrict
from asd.dcase.rules import SectionClips, official_numbers
from asd.evaluate.scoring import CALIBRATION_CLIPS, score_clips, score_folder
from asd.evaluate.store import CALIBRATION_FILE, Evaluation, in_recordings, write_embeddings
from asd.metrics import read_scores
from asd.metrics.thresholds import PercentileConfig
from asd.report import DECISIONS_FILE, SCORES_FILE, Header, Report, build_report, console_table, markdown
from asd.report.model import json_text
from asd.scorers import CentroidConfig, EmbeddingTable, KnnConfig, Scorer, ScorerConfig, SoftmaxConfig, build_scorer
from tests.support.sets import with_recordings

WINDOWS = 3


HELD_OUT = 4  # training clips that no scorer is fitted on


THRESHOLD = PercentileConfig(percent=60)


@pytest.fixture(scope="session")
def fans(factory2022: Path) -> Manifest:
    return restrict(load_manifest(factory2022), ["fan"])


def embedded(manifest: Manifest, clips: np.ndarray, windows: int = WINDOWS) -> EmbeddingTable:
    """Random embeddings and logits of every window; anomalies lie elsewhere."""
    clip = torch.from_numpy(np.sort(clips).astype(np.int64)).repeat_interleave(windows)
    random = torch.Generator().manual_seed(int(clips.sum()))
    anomalous = torch.from_numpy(manifest.label[clip.numpy()] == 1)[:, None]
    embedding = torch.randn(len(clip), 4, generator=random) + torch.tensor([2.0, 0, 0, 0]) - 2.0 * anomalous
    own = torch.from_numpy(manifest.class_index[clip.numpy()].astype(np.int64))
    return EmbeddingTable(
        clip_index=clip,
        class_index=own,
        domain=torch.from_numpy(manifest.domain_index[clip.numpy()].astype(np.int64)),
        embedding=embedding,
        logits=torch.randn(len(clip), len(manifest.classes), generator=random),
        errors=torch.empty(len(clip), 0),
        features=torch.rand(len(clip), 3, generator=random),
    )


def parts_of(manifest: Manifest) -> tuple[EmbeddingTable, EmbeddingTable, EmbeddingTable]:
    """(fit, validation, test) of all the clips of a set."""
    train = manifest.select("train")
    parts = (train[HELD_OUT:], train[:HELD_OUT], manifest.select("test"))
    return tuple(embedded(manifest, clips) for clips in parts)  # type: ignore[return-value]


def evaluation_of(manifest: Manifest, **settings: Any) -> Evaluation:
    usual: dict[str, Any] = {
        "run": "run", "step": 1, "epoch": 1.0, "checkpoint": "step_00000001", "shards": str(manifest.root),
        "fingerprint": manifest.fingerprint, "machine_types": ("fan",), "select": "last",
        "scorers": (KnnConfig(k=2), SoftmaxConfig()), "threshold": THRESHOLD, "validation": None,
        "fit_clips": 1, "unreadable_clips": 0, "embed_s": 0.0,
    }  # fmt: skip
    return Evaluation(**(usual | settings))


@pytest.fixture(scope="module")
def scored(fans: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of an evaluation with these settings; scored once."""
    done: dict[tuple[str, ...], Path] = {}

    def score(*flip: str) -> Path:
        if flip not in done:
            done[flip] = tmp_path_factory.mktemp("scored")
            write_embeddings(done[flip], evaluation_of(fans, flip=flip), *parts_of(fans))
            score_folder(done[flip])
        return done[flip]

    return score


def report_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


def column(path: Path, name: str) -> dict[str, float]:
    clips = read_scores(path)
    return dict(zip(clips.key, clips.scores[name].tolist(), strict=True))


def two_nearest(manifest: Manifest, fit: EmbeddingTable, rows: EmbeddingTable) -> dict[str, float]:
    """Clip key → mean over its windows of the mean cosine distance to the two nearest windows of other recordings."""
    bank, queries = (part.embedding.double().numpy() for part in (fit, rows))
    bank, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (bank, queries))
    by_clip: dict[str, list[float]] = {}
    keys = manifest.strings("key", rows.clip_index.numpy())
    for key, query, own, recording in zip(keys, queries, rows.class_index, rows.recording, strict=True):
        others = ((fit.class_index == own) & (fit.recording != recording)).numpy()
        by_clip.setdefault(key, []).append(float(np.sort(1 - bank[others] @ query)[:2].mean()))
    assert {len(values) for values in by_clip.values()} == {WINDOWS}
    return {key: float(np.mean(values)) for key, values in by_clip.items()}


def test_a_clips_score_is_the_mean_over_its_windows(fans, scored):
    fit, _, test = parts_of(fans)
    assert column(scored() / SCORES_FILE, "knn_k2") == pytest.approx(two_nearest(fans, fit, test))
    clips, position = test.clips()
    own = 1 - torch.softmax(test.logits.double(), 1).gather(1, test.class_index[:, None])[:, 0]
    means = [own[position == n].mean().item() for n in range(len(clips))]
    found = column(scored() / SCORES_FILE, "softmax")
    assert found == pytest.approx(dict(zip(fans.strings("key", clips.numpy()), means, strict=True)))


def test_training_clips_are_scored_without_themselves_and_held_out_ones_against_all(fans, scored):
    fit, validation, _ = parts_of(fans)
    expected = two_nearest(fans, fit, fit) | two_nearest(fans, fit, validation)
    assert column(scored() / CALIBRATION_FILE, "knn_k2") == pytest.approx(expected)
    clips = read_scores(scored() / CALIBRATION_FILE)
    assert sorted(clips.key) == sorted(fans.strings("key", fans.select("train")))
    assert set(clips.label) == {0}
    assert set(clips.domain) == {"source", "target"}
    assert list(clips.scores) == ["knn_k2", "softmax"]


def test_training_clips_are_scored_without_their_recordings_and_test_clips_as_ever(fans):
    names = [f"day {clip // 3 % 4}" if clip % 5 else "" for clip in range(len(fans))]
    manifest, (fit, validation, test) = with_recordings(fans, names), parts_of(fans)
    fit, validation = in_recordings(manifest, fit, validation)
    assert len(fit.recording.unique()) < len(fit.clip_index.unique())
    clips, calibration = score_clips(manifest, evaluation_of(manifest), fit, validation, test)
    expected = two_nearest(manifest, fit, fit) | two_nearest(manifest, fit, validation)
    found = dict(zip(calibration.key, calibration.scores["knn_k2"], strict=True))
    assert found == pytest.approx(expected)
    name = dict(zip(fans.strings("key"), names, strict=True))
    assert calibration.recording == [name[key] or key for key in calibration.key]
    plain = score_clips(fans, evaluation_of(fans), *parts_of(fans))[0]
    for scorer, scores in plain.scores.items():
        assert (clips.scores[scorer] == scores).all()


def test_the_only_training_clip_of_a_class_calibrates_nothing(fans):
    fit, validation, test = parts_of(fans)
    lonely = fit.select((fit.class_index == 0) | (fit.clip_index == fit.clip_index[fit.class_index == 1][0]))
    none = validation.select(torch.zeros(len(validation), dtype=torch.bool))
    clips, calibration = score_clips(fans, evaluation_of(fans), lonely, none, test)
    assert len(clips) == len(test) // WINDOWS
    assert set(calibration.machine_id) == {"00"}
    assert all(np.isfinite(scores).all() for scores in calibration.scores.values())


def test_so_many_clips_of_each_class_and_domain_calibrate(fans, monkeypatch):
    monkeypatch.setattr("asd.evaluate.scoring.CALIBRATION_CLIPS", 2)
    calibration = score_clips(fans, evaluation_of(fans), *parts_of(fans))[1]
    groups = list(zip(calibration.machine_id, calibration.domain, strict=True))
    assert {group: groups.count(group) for group in groups} == {
        (section, domain): 2 for section in ("00", "01") for domain in ("source", "target")
    }
    assert CALIBRATION_CLIPS >= 100


def test_decisions_are_those_of_the_primary_scorers_thresholds(scored):
    calibration, test = (read_scores(scored() / name) for name in (CALIBRATION_FILE, SCORES_FILE))
    decided = column(scored() / DECISIONS_FILE, "decision")
    thresholds = report_of(scored())["thresholds"]
    assert list(thresholds) == ["fan/00", "fan/01"]
    for section in ("00", "01"):
        normal = calibration.scores["knn_k2"][[own == section for own in calibration.machine_id]]
        expected = float(np.percentile(normal, 60))
        assert thresholds[f"fan/{section}"] == {
            "value": pytest.approx(expected), "rule": "percentile", "reason": "", "clips": 10, "recordings": 10,
        }  # fmt: skip
        assert f"| fan/{section} | {expected:.5g} | percentile | 10 | 10 |" in (scored() / "report.md").read_text()
        for key, own, score in zip(test.key, test.machine_id, test.scores["knn_k2"], strict=True):
            assert own != section or decided[key] == float(score > expected)
    assert set(decided.values()) == {0.0, 1.0}


def test_the_years_numbers_stand_in_the_report(scored):
    report, test = report_of(scored()), read_scores(scored() / SCORES_FILE)
    decision = np.array([column(scored() / DECISIONS_FILE, "decision")[key] for key in test.key], dtype=int)
    undecided = np.full(len(test), -1)
    for scorer, decided in (("knn_k2", decision), ("softmax", undecided)):
        columns = (test.label, test.scores[scorer], np.array(test.domain), decided)
        own = {s: np.array([i == s for i in test.machine_id]) for s in ("00", "01")}
        sections = {s: SectionClips(*(values[rows] for values in columns)) for s, rows in own.items()}
        own = official_numbers("dcase2022", {"fan": sections})
        assert report["official"][scorer] == json.loads(json_text(own))
    assert report["layout"] == "dcase2022"
    assert report["official"]["knn_k2"]["harmonic_mean"]["f1_target"] is not None
    assert report["official"]["softmax"]["harmonic_mean"]["f1_target"] is None


def console_text(report: Report, width: int = 80) -> str:
    console = Console(width=width)
    with console.capture() as shown:
        console.print(console_table(report))
    return shown.get()


def test_the_years_numbers_stand_in_the_tables(scored):
    report = report_of(scored())
    own = report["official"]["knn_k2"]
    fan, total = own["machines"]["fan"]["harmonic_mean"], own["harmonic_mean"]
    cells = [[f"{100 * means[key]:.2f}" for key in ("auc_source", "auc_target", "pauc")] for means in (fan, total)]
    score = f"{100 * own['official_score']:.2f}"
    text = (scored() / "report.md").read_text()
    assert "| machine type | knn_k2 AUC source | AUC target | pAUC | softmax AUC source | AUC target | pAUC |" in text
    assert f"\n| fan | {' | '.join(cells[0])} | " in text
    assert f"\n| **harmonic mean** | {' | '.join(f'**{cell}**' for cell in cells[1])} | " in text
    assert f"\n| **official score** | **{score}** |  |  | " in text
    assert "per machine ID" not in text
    shown = console_text(Report.model_validate(report))
    assert all("/".join(row) in shown for row in cells)
    assert score in shown


def test_five_scorers_and_the_years_numbers_fit_a_terminal(scored):
    report = report_of(scored())
    names = ("softmax", "centroid", "knn", "untrained_knn", "untrained_knn_level")
    for key in ("official", "scorers"):
        report[key] = dict.fromkeys(names, report[key]["knn_k2"])
    shown = console_text(Report.model_validate(report | {"primary": "softmax", "better": None}))
    assert all(len(line) <= 80 for line in shown.splitlines())
    rows = [line.split()[2:] for line in shown.splitlines() if line.startswith("official score ")]
    assert [score for row in rows for score in row] == [f"{100 * report['official']['knn']['official_score']:.2f}"] * 5


@pytest.mark.parametrize("layout", ["dcase2020", "mimii", "table"])
def test_other_layouts_have_no_official_score(scored, layout):
    other = build_report(read_scores(scored() / SCORES_FILE), Header(primary="knn_k2", layout=layout))
    assert "official" not in markdown(other) + console_text(other)
    assert "one ROC per machine ID" in markdown(other)


def test_flip_turns_the_scores_of_the_named_class_round(scored):
    plain, flipped = scored(), scored("fan/01")
    for name in (SCORES_FILE, CALIBRATION_FILE):
        before, after = (read_scores(folder / name) for folder in (plain, flipped))
        assert after.key == before.key
        sign = np.array([-1.0 if own == "01" else 1.0 for own in before.machine_id])
        for scorer, scores in before.scores.items():
            np.testing.assert_array_equal(after.scores[scorer], sign * scores)
    before, after = (report_of(folder)["scorers"]["knn_k2"]["types"]["fan"]["ids"] for folder in (plain, flipped))
    assert after["00"] == before["00"]
    assert after["01"]["auc"] == pytest.approx(1 - before["01"]["auc"])


def test_a_flip_is_said_wherever_its_numbers_are(scored):
    said = "the scores of fan/01 are inverted (evaluate.flip)"
    report = report_of(scored("fan/01"))
    assert report["warnings"] == [{"code": "flipped", "text": said}]
    assert report["flip"] == ["fan/01"]
    assert f"**Warning: {said}.**" in (scored("fan/01") / "report.md").read_text()
    assert f"warning: {said}" in " ".join(console_text(Report.model_validate(report)).split())
    plain = report_of(scored())
    assert (plain["flip"], plain["warnings"]) == ([], [])
    assert "inverted" not in (scored() / "report.md").read_text()


def test_a_scored_folder_holds_these_files(scored):
    files = {path.name for path in scored().iterdir()}
    assert files == {
        "calibration.csv", "decisions.csv", "evaluation.json", "figures", "report.json", "report.md", "scores.csv",
    }  # fmt: skip


def test_thresholds_of_few_recordings_are_doubted_in_the_report(fans, monkeypatch, tmp_path):
    """Section 00 has one recording, 01 two: too few for a share of 40 % above."""
    sections = fans.strings("machine_id")
    names = [f"day {clip % 2 if own == '01' else 0}" for clip, own in enumerate(sections)]
    manifest = with_recordings(fans, names)
    fit, validation, test = parts_of(fans)
    fit, validation = in_recordings(manifest, fit, validation)
    monkeypatch.setattr(
        "asd.evaluate.scoring.read_embeddings", lambda *_: (evaluation_of(fans), manifest, fit, validation, test)
    )
    report = score_folder(tmp_path)
    assert {machine: own.recordings for machine, own in report.thresholds.items()} == {"fan/00": 1, "fan/01": 2}
    assert [warning.code for warning in report.warnings] == ["one_recording", "few_recordings"]
    assert report.warnings[0].text.startswith("fan/00 (10 clips): ")
    assert report.warnings[1].text.startswith("fan/01 (2 recordings): ")
    assert "Warning: fan/00" in (tmp_path / "report.md").read_text()


def test_one_scorer_is_in_memory_at_a_time(fans: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bank is as large as the training embeddings: the former scorer's is gone before the next one is fitted."""
    alive: list[int] = []
    known: weakref.WeakSet[Any] = weakref.WeakSet()

    def counted(config: ScorerConfig) -> Scorer:
        alive.append(len(known))
        scorer = build_scorer(config)
        known.add(scorer)
        return scorer

    monkeypatch.setattr("asd.evaluate.scoring.build_scorer", counted)
    scorers = (KnnConfig(), KnnConfig(k=2), CentroidConfig())
    score_clips(fans, evaluation_of(fans, scorers=scorers), *parts_of(fans))
    assert alive == [0, 0, 0]
