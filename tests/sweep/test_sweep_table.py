"""The tables of a sweep: every config by the year's rule, machine type by machine type, both halves side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import hmean

from asd.metrics import ClipScores
from asd.report import Header, Report, build_report
from asd.sweep.numbers import Spread, as_tree, summarise
from asd.sweep.table import console_table, markdown

TYPES = ("fan", "valve")


def clips_of(layout: str, machine_type: str, seed: int, both: bool) -> ClipScores:
    """Scores of a run's test clips by two scorers; both: the evaluation half as well."""
    random = np.random.default_rng([seed, *machine_type.encode(), *layout.encode()])
    rows = []
    for machine_id, named in (("00", True), ("02", True), ("01", False))[: 3 if both else 2]:
        for number in range(24):
            label, domain = number % 2, ("source", "target")[number // 12]
            word = ("normal", "anomaly")[label]
            name = f"section_{machine_id}_{f'{domain}_test_{word}_' if named else ''}{number:04d}.wav"
            if layout == "dcase2020":
                name = f"{word if named else ''}_id_{machine_id}_{number:08d}.wav".lstrip("_")
            rows.append((name, machine_id, "" if layout == "dcase2020" else domain, label, random.normal() + label))
    names, ids, domains, label, score = (list(column) for column in zip(*rows, strict=True))
    scores = {"knn": np.array(score), "a_long_scorer_name": -np.array(score)}
    return ClipScores(names, names, [machine_type] * len(names), ids, domains, np.array(label), scores)


@dataclass(frozen=True)
class Made:
    """Jobs whose best evaluations are scored, and their reports."""

    jobs: list[Any]
    reports: dict[tuple[str, int, str], Report]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A sweep by machine type over configs and seeds, without a run: where its evaluations would be are reports."""

    def make(layout: str, configs: Sequence[str] = ("one",), seeds: Sequence[int] = (0,), both: bool = False) -> Made:
        reports, jobs = {}, []
        for config in configs:
            for seed in seeds:
                for machine_type in TYPES:
                    clips = clips_of(layout, machine_type, seed, both)
                    found = build_report(clips, Header(layout=layout, primary="knn"))
                    reports[config, seed, machine_type] = found
                    where = SimpleNamespace(dir=str(tmp_path / config / str(seed) / machine_type))
                    settings = SimpleNamespace(evaluate=SimpleNamespace(select="clean"), run=where)
                    jobs.append(SimpleNamespace(name=config, seed=seed, config=settings))
        by_folder = {Path(job.config.run.dir): own for job, own in zip(jobs, reports.values(), strict=True)}
        monkeypatch.setattr("asd.sweep.numbers.evaluation_of", lambda job, rule: Path(job.config.run.dir))
        monkeypatch.setattr("asd.sweep.numbers.read_report", by_folder.__getitem__)
        return Made(jobs, reports)

    return make


def table_of(text: str, heading: str = "") -> dict[str, list[str]]:
    """First cells (of a by-type or overview table: config and scorer) → the other cells of a table."""
    lines = text[text.index(heading) :].split("\n\n")[1 if heading else 0].splitlines()
    rows = [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in lines]
    keys = 2 if rows[0][0] == "config" else 1
    return {" ".join(row[:keys]).replace("\\", ""): row[keys:] for row in rows if row[0] != ":--"}


def percent(value: float) -> str:
    return f"{100 * value:.2f}"


def test_models_of_a_type_each_make_the_blogs_table(sweep: Any) -> None:
    """Six individual models, told as one: Dev and Eval, types, mean, harmonic mean over the types."""
    made = sweep("dcase2020", both=True)
    rows = table_of(markdown(summarise(made.jobs)), "## Dev and Eval, one, knn")
    assert rows["machine type"] == ["Dev AUC", "Dev pAUC", "Eval AUC", "Eval pAUC"]
    columns = []
    for machine_type in TYPES:
        report = made.reports["one", 0, machine_type]
        parts = [part.scorers["knn"].types[machine_type] for part in (report, report.evaluation)]
        columns.append([part[key] for part in parts for key in ("auc_mean", "pauc_mean")])
        assert rows[machine_type] == [percent(value) for value in columns[-1]]
    assert rows["mean"] == [percent(value) for value in np.mean(columns, axis=0)]
    assert rows["harmonic mean"] == [percent(value) for value in hmean(columns, axis=0)]


@pytest.mark.parametrize(
    ("layout", "keys"),
    [("dcase2021", ("auc_source_target", "pauc_source_target")), ("dcase2024", ("auc_source", "auc_target", "pauc"))],
)
def test_machine_types_by_the_rule_of_later_years(sweep: Any, layout: str, keys: tuple[str, ...]) -> None:
    made = sweep(layout, configs=("one", "two"))
    text = markdown(summarise(made.jobs))
    rows = table_of(text, "## By machine type: ")
    assert rows["config scorer"] == [*TYPES, "harmonic mean"]
    for config in ("one", "two"):
        own = {t: made.reports[config, 0, t].official["knn"].machines[t] for t in TYPES}
        sections = [section for machine in own.values() for section in machine.sections.values()]
        for at, machine_type in enumerate(TYPES):
            numbers = own[machine_type].harmonic_mean
            assert rows[f"{config} knn"][at] == "/".join(percent(numbers[key]) for key in keys)
        whole = []
        for key in keys:
            both = [key.replace("_source_target", domain) for domain in ("_source", "_target")]
            parts = both if key.endswith("_source_target") else [key]
            whole.append(percent(hmean([section[part] for section in sections for part in parts])))
        assert rows[f"{config} knn"][2] == "/".join(whole)
    assert "per machine ID" not in text
    assert "Dev and Eval" not in text


def test_everything_is_averaged_over_seeds(sweep: Any) -> None:
    made = sweep("dcase2022", seeds=(0, 1, 2))
    numbers = summarise(made.jobs)["one"]["knn"]
    by_seed = []
    for seed in range(3):
        machines = [made.reports["one", seed, t].official["knn"].machines[t] for t in TYPES]
        sections = [section for machine in machines for section in machine.sections.values()]
        by_seed.append(hmean([s[key] for s in sections for key in ("auc_source", "auc_target")]))
    assert numbers.numbers["auc"].by_seed == pytest.approx(by_seed)
    assert numbers.numbers["auc"].mean == pytest.approx(np.mean(by_seed))
    assert numbers.numbers["auc"].sd == pytest.approx(np.std(by_seed, ddof=1))
    fans = [made.reports["one", seed, "fan"].official["knn"].harmonic_mean["pauc"] for seed in range(3)]
    assert numbers.halves["development"].types["fan"][2] == pytest.approx(np.mean(fans))
    assert numbers.seeds == 3


def test_official_numbers_stand_in_the_first_table(sweep: Any) -> None:
    made = sweep("dcase2022")
    rows = table_of(markdown(summarise(made.jobs)))
    assert rows["config scorer"][1:4] == ["AUC", "pAUC", "AUC, oracle"]
    titles = ["official auc source", "official auc target", "official pauc", "official score"]
    assert rows["config scorer"][4:] == titles
    machines = [made.reports["one", 0, t].official["knn"].machines[t] for t in TYPES]
    sections = [section for machine in machines for section in machine.sections.values()]
    parts = [[s[key] for s in sections] for key in ("auc_source", "auc_target", "pauc")]
    assert rows["one knn"][4:] == [*(percent(hmean(part)) for part in parts), percent(hmean(np.ravel(parts)))]
    without = table_of(markdown(summarise(sweep("dcase2020").jobs)))
    assert without["config scorer"] == ["seeds", "AUC", "pAUC", "AUC, oracle"]


@pytest.mark.parametrize("layout", ["dcase2020", "dcase2022"])
@pytest.mark.parametrize("width", [60, 80])
def test_a_terminal_shows_names_and_numbers_whole(sweep: Any, layout: str, width: int) -> None:
    made = sweep(layout, configs=("tastgram_noisy_arcmix_waveform", "b"), seeds=(0, 1), both=True)
    table = summarise(made.jobs)
    console = Console(width=width)
    with console.capture() as capture:
        console.print(console_table(table))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in capture.get()
    numbers = table["b"]["knn"]
    spreads = [numbers.numbers[key] for key in ("auc", "pauc", "auc_oracle")]
    cells = [f"{percent(own.mean)} ± {percent(own.sd)}" for own in spreads]
    assert all(cell in capture.get() for cell in cells)
    assert "/".join(map(percent, numbers.halves["development"].types["valve"])) in capture.get()
    assert "/".join(map(percent, numbers.halves["evaluation"].types["valve"])) in capture.get()


def test_spread_over_seeds() -> None:
    found = Spread.of([0.7, None, 0.8])
    assert found == Spread((0.7, None, 0.8), pytest.approx(0.75), pytest.approx(0.1 / 2**0.5))
    assert Spread.of([None]) == Spread((None,), None, None)
    assert Spread.of([0.7]).sd is None


@pytest.mark.parametrize("layout", ["dcase2020", "dcase2022"])
def test_report_json_of_a_sweep_has_the_keys_that_users_read(sweep: Any, layout: str) -> None:
    table = summarise(sweep(layout, seeds=(0, 1), both=True).jobs)
    tree, row = as_tree(table)["one"]["knn"], table["one"]["knn"]
    keys = {"auc", "pauc", "auc_oracle", "pauc_oracle", "mauc", "auc_pooled"}
    assert {f"{key}{kind}" for key in keys for kind in ("", "_sd", "_by_seed")} < set(tree)
    assert {"seeds", "layout", "development", "evaluation", "official"} < set(tree)
    assert set(tree["development"]) == {"titles", "types", "means", "auc", "pauc", "official_score", "quality"}
    assert tree["auc_by_seed"] == list(row.numbers["auc"].by_seed)
    assert (tree["mauc"], tree["mauc_sd"]) == (row.numbers["mauc"].mean, row.numbers["mauc"].sd)
    official = {"auc_source", "auc_target", "pauc", "score"}
    whole = {f"{key}{kind}" for key in official for kind in ("", "_sd", "_by_seed")}
    assert tree["official"] is None if layout == "dcase2020" else set(tree["official"]) == whole
    json.dumps(tree, allow_nan=False)
