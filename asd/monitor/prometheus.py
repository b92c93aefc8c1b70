"""The status of a run in Prometheus' text format, for the textfile collector of node_exporter."""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from asd.monitor.status import State, Status

FILE = "status.prom"
GAUGES = {  # field of the status → name, what it is, and what to divide by
    "step": ("step", "Updates so far", 1),
    "total_steps": ("total_steps", "Updates of the whole run", 1),
    "epoch": ("epoch", "Epochs so far", 1),
    "loss": ("loss", "Training loss, mean over ranks and the last interval", 1),
    "clips_per_s": ("clips_per_second", "Clips trained on a second, all ranks", 1),
    "data_wait_percent": ("data_wait_ratio", "Share of the time that the slowest rank waits for data", 100),
    "eta_s": ("eta_seconds", "Time left", 1),
    "world_size": ("ranks", "Ranks that train together", 1),
    "checkpoint_step": ("checkpoint_step", "Step of the newest checkpoint", 1),
    "scored_step": ("scored_step", "Step of the newest scored checkpoint", 1),
    "auc": ("auc_ratio", "Mean AUC of the newest scored checkpoint", 1),
    "pauc": ("pauc_ratio", "Mean pAUC of the newest scored checkpoint", 1),
    "best_step": ("best_step", "Step of the best checkpoint", 1),
    "unscored": ("unscored", "Evaluations that wait for their scores", 1),
    "started_unix": ("started_timestamp_seconds", "When this process began", 1),
    "updated_unix": ("updated_timestamp_seconds", "When this was written", 1),
    "progressed_unix": ("progressed_timestamp_seconds", "When rank 0 last made progress", 1),
}
COUNTERS = {
    "bad_clips": ("bad_clips", "Training clips that could not be read"),
    "nonfinite_steps": ("nonfinite_steps", "Updates skipped since loss or gradient was not finite"),
}


def prometheus_text(status: Status, alerts: Collection[str]) -> str:
    """alerts: the names of all that there could be."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(status, alerts))
    return generate_latest(registry).decode()


class _Families(Collector):
    def __init__(self, status: Status, alerts: Collection[str]) -> None:
        self._status, self._alerts = status, alerts

    def collect(self) -> Iterator[Metric]:
        numbers, run = dict(self._status), [self._status.run]
        for field, (name, what, unit) in GAUGES.items():
            if numbers[field] is not None:
                gauge = GaugeMetricFamily(f"asd_{name}", what, labels=["run"])
                gauge.add_metric(run, numbers[field] / unit)
                yield gauge
        for field, (name, what) in COUNTERS.items():
            counter = CounterMetricFamily(f"asd_{name}", what, labels=["run"])
            counter.add_metric(run, numbers[field])
            yield counter
        active = {alert.name for alert in self._status.alerts}
        yield self._choices(
            "state", "What the run is doing: 1 for one of the states", typing.get_args(State), {self._status.state}
        )
        yield self._choices("alert", "1 while the alert holds", self._alerts, active)

    def _choices(self, label: str, what: str, names: Collection[str], true: Collection[str]) -> Metric:
        gauge = GaugeMetricFamily(f"asd_{label}", what, labels=["run", label])
        for name in names:
            gauge.add_metric([self._status.run, name], float(name in true))
        return gauge
