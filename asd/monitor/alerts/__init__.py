"""Alerts, one file each; an alert is active as long as its condition holds."""

from __future__ import annotations

from asd.monitor.alerts.bad_clips import BadClips
from asd.monitor.alerts.base import AlertRule
from asd.monitor.alerts.data_wait import DataWait
from asd.monitor.alerts.no_learning import NoLearning
from asd.monitor.alerts.nonfinite import Nonfinite
from asd.monitor.alerts.spike import Spike
from asd.monitor.alerts.stalled import Stalled
from asd.monitor.alerts.unscored import Unscored

RULES: tuple[type[AlertRule], ...] = (Nonfinite, DataWait, BadClips, NoLearning, Spike, Stalled, Unscored)
NAMES = tuple(rule.name for rule in RULES)
