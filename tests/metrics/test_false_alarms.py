"""A budget of false alarms: kept on new normal clips, with an interval that holds, or refused with what it takes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pydantic
import pytest

from asd.detector.live.alarm import Alarm
from asd.metrics import ClipScores
from asd.metrics.decisions import decide_clips
from asd.metrics.false_alarms import (
    FalseAlarmsConfig,
    TooFewNormalsError,
    alarms_per_window,
    budget_threshold,
    clips_needed,
    design_effect,
    most_common,
)
from asd.metrics.thresholds import fit_threshold


def rule(at_most: str = "1/day", every_s: float = 10.0, hits: int = 1, of: int = 1) -> FalseAlarmsConfig:
    return FalseAlarmsConfig(at_most=at_most, every_s=every_s, hits=hits, of=of)


def expected(words: str) -> tuple[float, float, float]:
    """Alarms per unit and their interval, as the words say."""
    found = re.search(r": ([\d.e+-]+) per \w+ expected, ([\d.e+-]+) to ([\d.e+-]+) by", words)
    assert found is not None, words
    rate, low, high = map(float, found.groups())
    return rate, low, high


@pytest.mark.parametrize(("hits", "of"), [(1, 1), (2, 3), (3, 5), (1, 4), (4, 4)])
def test_alarms_that_begin_are_counted_as_they_are_in_a_stream(hits: int, of: int) -> None:
    for p in (0.05, 0.3, 0.7):
        above = np.random.default_rng(0).random(400_000) < p
        alarm = np.convolve(above, np.ones(of), "valid") >= hits
        begun = np.mean(alarm[1:] & ~alarm[:-1])
        assert alarms_per_window(p, hits, of) == pytest.approx(begun, rel=0.05, abs=2e-5)


@pytest.mark.parametrize(("hits", "of"), [(1, 1), (2, 3), (3, 5), (4, 4)])
@pytest.mark.parametrize("run", [1, 3, 20])
def test_no_stream_has_more_alarms_than_may_be_where_neighbours_are_alike(hits: int, of: int, run: int) -> None:
    """Runs of windows above, of a geometric length or of just as many as an alarm takes, where that is most."""
    config, random = rule("0.001/hour", 3600.0, hits, of), np.random.default_rng(run)
    lengths = np.full(4000, hits) if run == 1 else random.geometric(1 / run, 4000)
    gaps = of + random.geometric(0.02, 4000)
    above = np.concatenate(
        [np.r_[np.zeros(gap, bool), np.ones(some, bool)] for gap, some in zip(gaps, lengths, strict=True)]
    )
    alarm = Alarm(hits, of)
    begun = sum(alarm.add(bool(own), float(at)) == "alarm" for at, own in enumerate(above)) / len(above)
    assert begun <= config.rate_at_most(float(above.mean())) * (1 + 1e-9)
    if run == 1:
        assert begun == pytest.approx(config.rate_at_most(float(above.mean())))
        assert hits == 1 or begun > 2 * config.rate(float(above.mean()))


@pytest.mark.parametrize("config", [rule(), rule("1/week"), rule("2/hour", 1.0, 3, 5), rule("0.5/day", 60.0, 2, 3)])
def test_the_share_gives_as_many_alarms_as_there_may_be(config: FalseAlarmsConfig) -> None:
    share = config.share()
    assert 0 < share < most_common(config.hits, config.of)
    assert config.rate(share) == pytest.approx(float(config.at_most.split("/")[0]), rel=1e-6)


def test_the_budget_is_kept_on_the_mean_and_the_interval_holds() -> None:
    """Of 300 machines with 60 normal clips each: scores are exponential, so that the true share is known."""
    config, rates, inside = rule("1/hour", 60.0, 1, 1), [], 0
    for seed in range(300):
        value, words = budget_threshold(np.random.default_rng(seed).exponential(size=60), config)
        true_rate = config.rate(float(np.exp(-value)))
        _, low, high = expected(words)
        rates.append(true_rate)
        inside += low * 0.97 <= true_rate <= high * 1.03  # two digits are said
    assert np.mean(rates) == pytest.approx(1.0, abs=0.15)
    assert 0.92 <= inside / 300 <= 0.98


def test_a_scale_changes_nothing() -> None:
    scores, config = np.random.default_rng(0).gamma(3.0, 1.0, 150), rule("1/day", 300.0)
    value, words = budget_threshold(scores, config)
    moved, said = budget_threshold(1e-3 * scores - 5.0, config)
    assert moved == pytest.approx(1e-3 * value - 5.0, abs=1e-6)
    assert said == words
    assert "generalised Pareto" in words


def test_a_tail_goes_on_where_the_scores_end_and_keeps_the_budget() -> None:
    """One in 1000 by 300 clips: heavy, exponential and bounded tails; by the true share on the mean, in logarithms."""
    config = rule("1.44/day", 60.0)
    assert config.share() == pytest.approx(1e-3, rel=0.01)
    for name in ("exponential", "normal", "uniform", "lognormal"):
        shares = []
        for seed in range(60):
            random = np.random.default_rng(seed)
            scores, new = getattr(random, name)(size=300), getattr(random, name)(size=100_000)
            value, words = budget_threshold(scores, config)
            assert value >= scores.max()
            assert expected(words)[1] == 0.0
            shares.append(np.mean(new > value))
        assert np.mean(shares) < (3e-3 if name == "lognormal" else 1.5e-3), (name, np.mean(shares))


def test_too_few_clips_are_refused_with_the_count_and_what_they_do_for() -> None:
    scores = np.random.default_rng(0).normal(size=50)
    with pytest.raises(TooFewNormalsError) as caught:
        budget_threshold(scores, rule())
    assert str(caught.value) == (
        "1/day false alarms, each window, one every 10 s, needs 863 normal clips: 50 normal clips are there, enough "
        "for 170/day; 3 of 5 windows need 36"
    )
    enough = np.random.default_rng(1).normal(size=863)
    budget_threshold(enough, rule())
    with pytest.raises(TooFewNormalsError):
        budget_threshold(enough[:-1], rule())
    budget_threshold(scores[:36], rule(hits=3, of=5))
    with pytest.raises(
        TooFewNormalsError, match=r"35 normal clips are there, enough for 1\.1/day; 4 of 7 windows need \d+$"
    ):
        budget_threshold(scores[:35], rule(hits=3, of=5))


def test_a_budget_that_other_rules_do_not_have_proposes_none_of_them() -> None:
    """164 an hour, of windows of 2 s: 3 of 5 begin that many at no share."""
    frequent = rule(at_most="164/hour", every_s=2.0)
    with pytest.raises(
        TooFewNormalsError, match=r"needs 9 normal clips: 2 normal clips are there, enough for 400/hour"
    ):
        budget_threshold(np.arange(2.0), frequent)


def test_clips_of_one_recording_count_for_less() -> None:
    random = np.random.default_rng(0)
    recording = np.repeat(np.arange(20), 10)
    alike = random.normal(size=20)[recording] + 0.1 * random.normal(size=200)
    assert design_effect(alike, recording.tolist()) == pytest.approx(10, abs=0.5)
    assert design_effect(random.normal(size=200), recording.tolist()) < 1.6
    assert design_effect(alike, [*range(200)]) == design_effect(alike, ["a"] * 200) == 1.0
    assert design_effect(np.ones(200), recording.tolist()) == 1.0
    with pytest.raises(TooFewNormalsError, match=r"200 normal clips are there, worth 2\d independent ones"):
        budget_threshold(alike, rule(hits=3, of=5), recording.tolist())


@pytest.mark.parametrize("config", [rule(), rule("1/week", 2.0, 3, 5), rule("0.000002/hour", 60.0, 1, 1)])
@pytest.mark.parametrize("clips", [5, 20, 99])
def test_the_budget_that_a_refusal_names_is_supported_and_a_smaller_one_is_not(
    config: FalseAlarmsConfig, clips: int
) -> None:
    scores = np.random.default_rng(0).normal(size=clips)
    with pytest.raises(TooFewNormalsError) as caught:
        budget_threshold(scores, config)
    (named,) = re.findall(r"enough for ([\d.]+)/", str(caught.value))
    for share, able in ((1.0, True), (0.9, False)):
        asked = config.model_copy(update={"at_most": f"{share * float(named):.6f}/{config.unit}"})
        assert (clips_needed(asked) <= clips) == able, asked


def test_too_few_for_any_budget_are_told_no_budget() -> None:
    with pytest.raises(TooFewNormalsError, match=r"needs 36 normal clips: 1 normal clips are there$"):
        budget_threshold(np.zeros(1), rule(hits=3, of=5))


@pytest.mark.parametrize(
    "words",
    [
        {"at_most": "1/month"}, {"at_most": "-1/day"}, {"at_most": "0/day"}, {"at_most": "9000/day"},
        {"hits": 3, "of": 2}, {"hits": 0}, {"every_s": 0.0}, {"at_most": "1/day; rm"},
        {"every_s": 1e-9}, {"at_most": "0.000001/week"},
    ],
)  # fmt: skip
def test_what_is_no_budget_is_refused(words: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        FalseAlarmsConfig.model_validate({"at_most": "1/day", "every_s": 10.0, **words})


def test_machines_with_too_few_clips_have_no_decision_and_say_why() -> None:
    words = [str(n) for n in range(60)]
    scores = {"knn": np.random.default_rng(0).normal(size=60)}
    machines = ["00"] * 50 + ["01"] * 10
    clips = ClipScores(words, words, ["fan"] * 60, machines, [""] * 60, np.zeros(60, int), scores)
    decided = decide_clips(clips, clips, "knn", rule(hits=3, of=5))
    assert [*decided.thresholds] == [("fan", "00")]
    assert "10 normal clips are there" in decided.refused["fan", "01"]
    assert (decided.decision[50:] == -1).all()
    assert (decided.decision[:50] >= 0).all()


def test_a_threshold_says_its_rule_and_what_it_is_of() -> None:
    found = fit_threshold(np.random.default_rng(0).normal(size=60), rule(hits=3, of=5), ["a", "b", "c", "d"] * 15)
    assert (found.rule, found.clips, found.recordings) == ("false_alarms", 60, 4)
    assert clips_needed(rule(hits=3, of=5)) == 36
    assert found.reason.startswith("for at most 1/day false alarms, 3 of 5 windows, one every 10 s: ")


def test_the_page_says_how_many_clips_it_takes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "at-the-machine.md").read_text(encoding="utf-8")
    for hits, of, name in ((1, 1, "each window"), (3, 5, "3 of 5 windows")):
        needed = [clips_needed(rule(f"1/{unit}", hits=hits, of=of)) for unit in ("hour", "day", "week")]
        assert f"| {name} | {' | '.join(map(str, needed))} |" in page
