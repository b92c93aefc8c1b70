"""metrics.jsonl is the record: nothing lost by a kill, nothing double after a resume; viewers show the same numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asd.loggers import LoggingConfig
from asd.loggers.base import Logger, Loggers, Outcome, Record, Source
from asd.loggers.console import ConsoleLogger, TimeLeft, format_line
from asd.loggers.jsonl import JsonlLogger, read_metrics
from asd.loggers.tensorboard import TensorBoardLogger

RECORD = {
    "epoch": 1.25,
    "loss": 0.51234,
    "loss_max": 0.7,
    "grad_norm": 3.14159,
    "lr": 2e-4,
    "clips_per_s": 512.4,
    "data_wait_percent": 1.26,
    "bad_clips": 0,
    "nonfinite_steps": 0,
}


def written(path: Path, *steps: int, resumed_at: int = 0) -> None:
    logger = JsonlLogger(path, resumed_at)
    for step in steps:
        logger.log(step, {"loss": step / 3})
    logger.close()


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_one_object_a_line_with_the_time(tmp_path, monkeypatch):
    monkeypatch.setattr("asd.loggers.jsonl.time.time", lambda: 1.5)
    path = tmp_path / "metrics.jsonl"
    written(path, 10, 20)
    expected = [{"step": step, "time_unix": 1.5, "loss": step / 3} for step in (10, 20)]
    assert path.read_text() == "".join(json.dumps(record) + "\n" for record in expected)
    assert read_metrics(path) == expected


def test_lines_are_there_before_the_run_ends(tmp_path):
    logger = JsonlLogger(tmp_path / "metrics.jsonl", 0)
    logger.log(10, RECORD)
    (record,) = read_metrics(tmp_path / "metrics.jsonl")
    assert {name: record[name] for name in RECORD} == RECORD
    logger.close()


def test_a_resumed_run_drops_what_it_will_do_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    written(path, 10, 20, 30, 40)
    written(path, 30, 40, 50, resumed_at=25)
    assert steps_in(path) == [10, 20, 30, 40, 50]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_the_step_resumed_at_is_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    written(path, 10, 20, 30)
    written(path, 30, resumed_at=20)
    assert steps_in(path) == [10, 20, 30]


def test_a_line_cut_by_a_kill_is_left_out_and_replaced(tmp_path):
    path = tmp_path / "metrics.jsonl"
    written(path, 10, 20)
    with path.open("a") as handle:
        handle.write('{"step": 30, "lo')
    assert [r["step"] for r in read_metrics(path)] == [10, 20]
    written(path, 30, resumed_at=20)
    assert steps_in(path) == [10, 20, 30]


def test_tensorboard_shows_the_same_numbers(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    logger.log(10, {"loss": 0.5, "test/auc": 0.75})
    logger.log(20, {"loss": 0.25})
    logger.text(20, "config", "# yes")
    figure = Figure()
    figure.subplots().plot([1, 2])
    logger.figure(20, "roc", figure)
    logger.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(10, 0.5), (20, 0.25)]
    assert [(e.step, e.value) for e in events.Scalars("test/auc")] == [(10, 0.75)]
    assert events.Tags()["images"] == ["roc"]
    assert events.Tags()["tensors"] == ["config/text_summary"]


def test_the_projector_shows_the_newest_embeddings(tmp_path, capsys):
    for step in (10, 20, 20):
        logger = TensorBoardLogger(tmp_path)
        vectors = torch.tensor([[0.5, float(step)], [0.25, 1.0]])
        logger.embedding(step, "test", vectors, ["machine", "key"], [["fan", "a"], ["pump", "b"]])
        logger.close()
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert 'tensor_name: "test:00020"' in (tmp_path / "projector_config.pbtxt").read_text()
    assert (folder / "test" / "metadata.tsv").read_text() == "machine\tkey\nfan\ta\npump\tb\n"
    assert (folder / "test" / "tensors.tsv").read_text() == "0.5\t20.0\n0.25\t1.0\n"
    assert capsys.readouterr().out == ""


def test_tensorboard_replaces_steps_done_again(tmp_path):
    for steps, purge in (((10, 20, 30), None), ((20, 30, 40), 20)):
        logger = TensorBoardLogger(tmp_path, purge_step=purge)
        for step in steps:
            logger.log(step, {"loss": step + (0.5 if purge else 0.0)})
        logger.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    shown = [(e.step, e.value) for e in events.Scalars("train/loss")]
    assert shown == [(10, 10.0), (20, 20.5), (30, 30.5), (40, 40.5)]


def test_the_line_says_how_the_run_is_doing():
    assert format_line(120, 1000, RECORD, 3725) == (
        "step 120/1000 epoch 1.25 | loss 0.5123 (max 0.7000) | grad 3.14 lr 2.00e-04 "
        "| 512 clips/s wait 1.3% | ETA 1:02:05"
    )
    on_a_card = format_line(120, 1000, {**RECORD, "tflop_per_s": 123.45, "mfu_percent": 12.34}, 3725)
    assert on_a_card.endswith("| 512 clips/s wait 1.3% | 123.5 TFLOP/s MFU 12.3% | ETA 1:02:05")


@pytest.mark.parametrize(
    ("name", "told"), [("bad_clips", "UNREADABLE CLIPS 3"), ("nonfinite_steps", "NON-FINITE STEPS 3")]
)
def test_the_line_cries_out_where_something_is_wrong(name, told):
    assert told not in format_line(1, 2, RECORD, 0)
    assert told in format_line(1, 2, RECORD | {name: 3}, 0)


def test_the_console_prints_records_with_a_loss_only(capsys):
    console = ConsoleLogger(TimeLeft(total_steps=100, first_step=40))
    console.log(50, RECORD)
    console.log(50, {"test/auc": 0.7})
    console.advance(55)
    console.close()
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 1
    assert re.match(r"step 50/100 .* ETA 0:00:0\d$", out[0])


class View(Logger):
    """Writes down what it was given."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def log(self, step: int, record: Record) -> None:
        self.seen.append((step, dict(record)))

    def text(self, step: int, name: str, markdown: str) -> None:
        self.seen.append((step, name, markdown))

    def figure(self, step: int, name: str, figure: Figure) -> None:
        self.seen.append((step, name))

    def flush(self) -> None:
        self.seen.append(("flush",))

    def close(self, outcome: Outcome = "finished") -> None:
        self.seen.append((outcome,))


def test_all_views_get_everything() -> None:
    views = [View(), Logger(), View()]
    with Loggers(*views) as loggers:
        loggers.log(1, {"loss": 1.0})
        loggers.text(1, "config", "# yes")
        loggers.figure(2, "roc", Figure())
        loggers.embedding(2, "test", torch.zeros(1, 2), ["key"], [["a"]])
        loggers.advance(3)
        loggers.flush()
        loggers.close("stopped")
    expected = [(1, {"loss": 1.0}), (1, "config", "# yes"), (2, "roc"), ("flush",), ("stopped",)]
    assert views[0].seen == views[2].seen == expected, "closed once"


class Sticky(Logger):
    """A logger that cannot be closed."""

    def close(self, outcome: Outcome = "finished") -> None:
        raise OSError(28, "No space left on device", "runs/x")


@pytest.mark.parametrize("failing", [None, ValueError("the run's own")])
def test_all_are_closed_however_the_run_ends(tmp_path, failing):
    journal, view = JsonlLogger(tmp_path / "metrics.jsonl", 0), View()
    with pytest.raises(OSError if failing is None else ValueError), Loggers(Sticky()) as loggers:
        loggers.add(journal)
        loggers.add(view)
        loggers.add(Sticky())
        if failing is not None:
            raise failing
    assert view.seen == [("finished" if failing is None else "failed",)]
    with pytest.raises(ValueError, match="closed file"):
        journal.log(1, {"loss": 1.0})


def test_the_section_says_where_numbers_go(tmp_path: Path) -> None:
    none = LoggingConfig.model_validate({"trackers": []})
    both = LoggingConfig.model_validate({"trackers": [{"name": "console"}, {"name": "tensorboard"}]})
    assert both == LoggingConfig(), "the default"
    assert LoggingConfig.model_validate_json(both.model_dump_json()) == both
    for config, train, evaluation in ((none, [], []), (both, ["tensorboard"], ["eval"])):
        folder = tmp_path / str(len(config.trackers))
        folder.mkdir()
        for process in ("train", "eval"):
            with Loggers() as loggers:
                config.build(Source(folder, process, total_steps=10), loggers)
                loggers.log(1, RECORD)
        assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", *train]
        assert [path.name for path in (folder / "tensorboard").glob("eval")] == evaluation
    assert both.viewers(tmp_path) == [f"tensorboard --logdir {tmp_path}/tensorboard"]
    with pytest.raises(ValueError, match="names console twice"):
        LoggingConfig.model_validate({"trackers": [{"name": "console"}] * 2})
