"""Alerts begin and end when they should, and are told once each way."""

from __future__ import annotations

import pytest

from asd.evaluate.diagnosis import diagnose
from asd.monitor.alerts import NAMES, RULES
from asd.monitor.alerts.base import Alerts
from asd.monitor.snapshot import RunSnapshot

CALM = {"nonfinite_steps": 0, "data_wait_percent": 1.0, "step_s": 1.0, "bad_clips": 0,
        "loss_highest": 1.0, "grad_norm_highest": 2.0}  # fmt: skip


def all_alerts() -> Alerts:
    return Alerts([rule() for rule in RULES])


def told(*records: dict[str, float], alerts: Alerts | None = None, nonfinite_steps: int = 0) -> list[str]:
    """What is told of intervals of 20 steps each."""
    alerts, lines = alerts or all_alerts(), []
    for rule in alerts.rules:
        rule.begin(0, nonfinite_steps)
    for index, record in enumerate(records, start=1):
        for rule in alerts.rules:
            rule.see_interval(20 * index, CALM | record)
        lines += [change.line for change in alerts.changes(20 * index)]
    return lines


def test_calm_runs_have_none() -> None:
    assert told({}, {}, {}, {}) == []


def test_skipped_updates() -> None:
    first, over = told({}, {"nonfinite_steps": 3}, {"nonfinite_steps": 4}, {"nonfinite_steps": 4})
    assert first.startswith("alert nonfinite at step 40: 3 updates were skipped")
    assert over == "alert nonfinite is over at step 80 (began at step 40)"


def test_updates_skipped_before_a_resume_are_old_news() -> None:
    assert told({"nonfinite_steps": 5}, nonfinite_steps=5) == []
    assert len(told({"nonfinite_steps": 6}, nonfinite_steps=5)) == 1


def test_a_step_whose_gradient_stands_out() -> None:
    usual = [{"grad_norm_highest": norm} for norm in (1.0, 3.0, 2.0, 2.0, 2.0)]
    began, over = told(*usual, {"grad_norm_highest": 41.0}, {})
    assert began == (
        "alert spike at step 120: the gradient norm was 41 in a step, 20.5 times its median of 2: lower optim.lr, warm "
        "up longer, or set train.clip_norm"
    )
    assert over == "alert spike is over at step 140 (began at step 120)"


def test_a_step_whose_loss_stands_out() -> None:
    (line,) = told(*[{}] * 5, {"loss_highest": 6.0})
    assert line.startswith("alert spike at step 120: the loss was 6 in a step, 6 times its median of 1: ")


def test_there_is_no_spike_before_something_is_usual_nor_of_a_slow_rise() -> None:
    assert told(*[{}] * 4, {"loss_highest": 6.0}) == []
    assert told(*({"loss_highest": 1.1**rise} for rise in range(40))) == []
    assert told(*[{"loss_highest": 0.0}] * 6, {"loss_highest": 1.0}) == []


def waits(*percent: float, step_s: float = 1.0) -> list[str]:
    return told(*({"data_wait_percent": p, "step_s": step_s} for p in percent))


def test_three_starved_intervals_in_a_row() -> None:
    (line,) = waits(30, 30, 60)
    assert line.startswith("alert data_wait at step 60: the slowest rank waits for data 40 % of the time")


@pytest.mark.parametrize("percent", [(30, 30), (30, 30, 5, 30, 30), (20, 20, 20, 20)])
def test_fewer_are_no_starvation(percent: tuple[float, ...]) -> None:
    assert waits(*percent) == []


def test_nor_are_three_short_ones() -> None:
    assert waits(90, 90, 90, step_s=0.4) == []
    assert len(waits(90, 90, 90, step_s=0.6)) == 1


def test_starvation_is_over_after_three_good_intervals() -> None:
    lines = waits(30, 30, 30, 5, 30, 5, 5, 5, 5)
    assert len(lines) == 2
    assert lines[1] == "alert data_wait is over at step 160 (began at step 60)"


def test_unreadable_clips_stay_so() -> None:
    alerts = all_alerts()
    (line,) = told({}, {"bad_clips": 1}, {"bad_clips": 1}, {"bad_clips": 3}, alerts=alerts)
    assert line.startswith("alert bad_clips at step 40: a training clip could not be read")
    (alert,) = alerts.active
    assert alert.text.startswith("3 training clips could not be read")
    assert alert.since_step == 40


def seen(alerts: Alerts, step: int, snapshot: RunSnapshot) -> list[str]:
    """What is told of a snapshot."""
    for rule in alerts.rules:
        rule.see_snapshot(snapshot)
    return [change.line for change in alerts.changes(step)]


def test_no_learning_is_what_the_report_says() -> None:
    finding = diagnose(accuracy=0.02, loss=3.7, classes=41, epoch=10, step=1000, spectrum_accuracy=0.5)
    trivial = diagnose(accuracy=1.0, loss=1e-6, classes=41, epoch=10, step=1000, spectrum_accuracy=1.0)
    assert finding is not None and trivial is not None
    alerts, easy = all_alerts(), {trivial.code: trivial.text}
    assert seen(alerts, 50, RunSnapshot(scored_step=40, warnings=easy)) == []
    (began,) = seen(alerts, 90, RunSnapshot(scored_step=80, warnings=easy | {finding.code: finding.text}))
    assert began == f"alert no_learning at step 80: {finding.text}"
    (over,) = seen(alerts, 130, RunSnapshot(scored_step=120, warnings=easy))
    assert over == "alert no_learning is over at step 120 (began at step 80)"


def test_a_backlog_is_over_when_half_of_it_is_scored() -> None:
    alerts, lines = all_alerts(), []
    for step, unscored in enumerate((3, 4, 5, 4, 3, 2, 3)):
        lines += seen(alerts, step, RunSnapshot(unscored=unscored, max_unscored=4, by_watcher=True))
    assert lines[0].startswith("alert unscored at step 1: 4 evaluations wait for their scores")
    assert lines[0].endswith("start python eval.py watch on the run")
    assert lines[1:] == ["alert unscored is over at step 5 (began at step 1)"]


def test_alerts_do_not_end_each_other() -> None:
    alerts = all_alerts()
    assert len(told({"bad_clips": 1}, alerts=alerts)) == 1
    assert len(seen(alerts, 30, RunSnapshot(unscored=9, max_unscored=4))) == 1
    assert told({"bad_clips": 1}, alerts=alerts) == []
    assert [alert.name for alert in alerts.active] == ["bad_clips", "unscored"]
    assert set(NAMES) == {"spike", "stalled", "nonfinite", "no_learning", "data_wait", "bad_clips", "unscored"}
