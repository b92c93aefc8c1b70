"""An alarm begins with N of M, holds until M windows are quiet, and pauses after its end."""

from __future__ import annotations

from asd.detector.live.alarm import Alarm


def changes(alarm: Alarm, above: str) -> str:
    """A for the begin of an alarm, E for its end, at each of the windows (x: above), a second apart."""
    letters = {"alarm": "A", "alarm_end": "E", None: "."}
    return "".join(letters[alarm.add(mark == "x", float(at))] for at, mark in enumerate(above))


def test_n_of_m_begin_it_and_m_quiet_ones_end_it() -> None:
    assert changes(Alarm(1, 1), ".x..xx.") == ".AE.A.E"
    assert changes(Alarm(3, 5), "x.x...x.x.xxx.....x....") == "..........A......E....."
    assert changes(Alarm(2, 3), "x..x..xx.x...") == ".......A....E"


def test_none_begins_while_it_cools_down() -> None:
    assert changes(Alarm(1, 1, 3.0), "x.xxxxx.") == "AE..A..E"
    assert changes(Alarm(1, 1, 100.0), "x.xxxxx.") == "AE......"


def test_windows_before_a_gap_do_not_count() -> None:
    alarm = Alarm(2, 3)
    alarm.add(True, 0.0)
    alarm.forget()
    assert alarm.add(True, 9.0) is None
    assert alarm.add(True, 10.0) == "alarm"
