"""Development and evaluation half, decisions, and a scorer above the primary one."""

import shlex

import numpy as np
import pytest
from scipy.stats import hmean
from sklearn.metrics import roc_auc_score

import eval as evaluation
from asd.metrics import ClipScores as Clips
from asd.report import (
    Header,
    build_report,
    markdown,
    print_report,
    scalars,
)
from asd.report.model import BetterScorer
from tests.support.reports import HEADER, clips, console_text, halves

RUN = {"run_folder": "runs/my run", "step": 12}


def table_of(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading of report.md, without head and emphasis."""
    lines = text[text.index(heading) :].split("\n\n")[1].splitlines()
    return [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_blogs_table_dev_and_eval_of_one_model() -> None:
    """Numbers by scikit-learn and SciPy: types by the mean over their IDs, then both means over the types."""
    own = halves("dcase2020")
    report = build_report(own, Header(layout="dcase2020", primary="knn"))

    def expected(ids: tuple[str, ...]) -> dict[str, list[float]]:
        found = {}
        for machine_type in ("fan", "pump", "valve"):
            rows = [
                np.flatnonzero(
                    [(t, i) == (machine_type, wanted) for t, i in zip(own.machine_type, own.machine_id, strict=True)]
                )
                for wanted in ids
            ]
            found[machine_type] = [
                float(np.mean([roc_auc_score(own.label[r], own.scores["knn"][r], max_fpr=p) for r in rows]))
                for p in (None, 0.1)
            ]
        columns = [*zip(*found.values(), strict=True)]
        return found | {"mean": [float(np.mean(c)) for c in columns], "harmonic mean": [hmean(c) for c in columns]}

    dev, other = expected(("00", "02")), expected(("01",))
    rows = [[name, *(f"{100 * value:.2f}" for value in [*dev[name], *other[name]])] for name in dev]
    assert table_of(markdown(report), "## Dev and Eval, knn") == rows
    assert "| machine type | Dev AUC | Dev pAUC | Eval AUC | Eval pAUC |" in markdown(report)
    lines = console_text(report.model_copy(update={"better": None})).splitlines()
    shown = [line.replace("\x1b[1m", "").replace("\x1b[0m", "").split() for line in lines]
    for row in rows:
        assert [*row[0].split(), *row[1:]] in shown
    assert report.test.clips == 144
    assert report.evaluation.test.clips == 72
    assert list(report.scorers["knn"].types["fan"].ids) == ["00", "02"]
    assert list(report.evaluation.scorers["knn"].types["fan"].ids) == ["01"]
    assert scalars(report)["evaluation/mean/auc/knn"] == pytest.approx(other["mean"][0])
    assert scalars(report)["mean/auc_harmonic/knn"] == pytest.approx(dev["harmonic mean"][0])


@pytest.mark.parametrize("layout", ["dcase2021", "dcase2023"])
def test_halves_of_later_years_are_told_by_their_rule(layout: str) -> None:
    report = build_report(halves(layout), Header(layout=layout, primary="knn"))
    for part, heading in ((report, "Dev"), (report.evaluation, "Eval")):
        own = part.official["knn"]
        rows = table_of(markdown(report), f"## By machine type and scorer, {heading}")
        keys = (
            ("auc_source_target", "pauc_source_target")
            if layout == "dcase2021"
            else ("auc_source", "auc_target", "pauc")
        )
        means = {name: numbers.harmonic_mean for name, numbers in own.machines.items()} | {
            "harmonic mean": own.harmonic_mean
        }
        for name, *cells in rows[:-1]:
            assert cells[: len(keys)] == [f"{100 * means[name][key]:.2f}" for key in keys]
        assert rows[-1][:2] == ["official score", f"{100 * own.official_score:.2f}"]
    text = markdown(report) + console_text(report)
    assert "per machine ID" not in text and "IDs apart" not in text and "Means over" not in text
    tags = scalars(report)
    assert tags["official_score/knn"] == report.official["knn"].official_score
    assert tags["evaluation/official_score/knn"] == report.evaluation.official["knn"].official_score
    assert not any(tag.startswith("mean/") for tag in tags)
    first = "auc" if layout == "dcase2021" else "auc_target"
    key = "auc_source_target" if layout == "dcase2021" else "auc_target"
    assert tags[f"{first}/knn/pump"] == report.official["knn"].machines["pump"].harmonic_mean[key]


def test_pooled_ids_stand_beside_the_ids_apart_each_called_by_its_name() -> None:
    """The readme of S2 pools the IDs of a type into one ROC; mAUC is the lowest ID's."""
    own = clips()
    report = build_report(own, HEADER.model_copy(update={"layout": "dcase2020"}))
    text = markdown(report)
    head = ("AUC, mean over IDs", "pAUC, mean over IDs", "AUC, IDs pooled", "pAUC, IDs pooled", "mAUC, lowest ID")
    assert f"| machine type | {' | '.join(head)} |" in text
    expected = {}
    for machine_type in ("fan", "valve"):
        known = own.known & np.array([t == machine_type for t in own.machine_type])
        by_id = [known & np.array([i == wanted for i in own.machine_id]) for wanted in ("00", "01")]

        def ranked(rows: np.ndarray, max_fpr: float | None = None) -> float:
            return float(roc_auc_score(own.label[rows], own.scores["knn"][rows], max_fpr=max_fpr))

        aucs = [ranked(rows) for rows in by_id]
        paucs = [ranked(rows, 0.1) for rows in by_id]
        expected[machine_type] = [np.mean(aucs), np.mean(paucs), ranked(known), ranked(known, 0.1), min(aucs)]
    expected["average"] = list(np.mean([*expected.values()], axis=0))
    rows = [[name, *(f"{100 * value:.2f}" for value in values)] for name, values in expected.items()]
    assert table_of(text, "## IDs apart and pooled, knn") == rows
    assert "IDs apart" not in markdown(build_report(own, HEADER.model_copy(update={"layout": "table"})))


def test_decisions_are_told_by_machine_and_all_together() -> None:
    own = halves("dcase2020")
    decision = (own.scores["knn"] > 0.5).astype(int)
    report = build_report(own, Header(layout="dcase2020", primary="knn"), decision)
    assert list(report.decisions.machines) == [f"{t}/{i}" for t in ("fan", "pump", "valve") for i in ("00", "02")]
    assert list(report.evaluation.decisions.machines) == ["fan/01", "pump/01", "valve/01"]
    rows = table_of(markdown(report), "## Decisions of knn at its thresholds")
    for half, part in (("Dev", report), ("Eval", report.evaluation)):
        for name, numbers in [*part.decisions.machines.items(), (f"all, {half}", part.decisions.all)]:
            rates = [f"{100 * getattr(numbers, key):.2f}" for key in ("hit_rate", "false_alarm_rate", "f1")]
            row = [name, str(numbers.anomalies), rates[0], str(numbers.normals), *rates[1:]]
            assert row in rows
            assert " ".join(row) in " ".join(console_text(report).replace("\x1b[1m", "").replace("\x1b[0m", "").split())
    undecided = build_report(own, Header(layout="dcase2020", primary="knn"))
    assert undecided.decisions is None
    assert "hit rate" not in markdown(undecided) + console_text(undecided)


def test_a_scorer_above_the_primary_one_is_named_with_the_command_that_exports_it(capsys) -> None:
    own = halves("dcase2022")
    report = build_report(own, Header(layout="dcase2022", primary="knn", **RUN))
    official = {name: numbers.official_score for name, numbers in report.official.items()}
    assert official["lof"] > official["knn"]
    command = "python eval.py export --run 'runs/my run' --checkpoint 12 --out detector.pt --scorer lof"
    assert report.better == BetterScorer(
        scorer="lof", quality=official["lof"], primary_quality=official["knn"], export=command
    )
    line = (
        f"knn (primary) is below lof on these test clips: official score {100 * official['knn']:.2f} "
        f"against {100 * official['lof']:.2f}"
    )
    print_report(report)
    shown = capsys.readouterr().out
    assert line in " ".join(shown.split())
    assert f"\n  {command}\n" in shown  # on one line, whatever the width
    assert f"\n    {command}\n" in markdown(report)
    parsed = evaluation.parse_args(shlex.split(command)[2:])
    assert (parsed.scorer, str(parsed.run), parsed.checkpoint) == (["lof"], "runs/my run", "12")


def test_nothing_is_said_of_a_primary_scorer_that_stands_highest() -> None:
    own = halves("dcase2022")
    best = build_report(own, Header(layout="dcase2022", primary="lof", **RUN))
    own.label[:] = -1
    unlabelled = build_report(own, Header(layout="dcase2022", primary="knn", **RUN))
    for report in (best, unlabelled):
        assert report.better is None
        assert "below" not in markdown(report) + console_text(report)


def test_which_scorer_stands_higher_is_a_matter_of_the_years_rule() -> None:
    """knn is good on average over IDs and at chance for one domain's normals: lower by the rule since 2022."""
    rows = []
    for domain, count in (("source", 18), ("target", 2)):
        for number in range(count):
            for label in (0, 1):
                knn = label if domain == "source" else 2 * (1 - label)
                rows.append(
                    (f"section_00_{domain}_test_{('normal', 'anomaly')[label]}_{number:04d}.wav", domain, label, knn)
                )
    names, domains, label, knn = (list(column) for column in zip(*rows, strict=True))
    fair = np.array([value + (0.6 if number % 4 == 0 else 0.0) for number, value in enumerate(label)]) * 1.0
    fair[::4] = 1 - np.array(label)[::4]
    both = {"knn": np.array(knn) * 1.0, "fair": fair}
    own = Clips(names, names, ["fan"] * 40, ["00"] * 40, domains, np.array(label), both)
    by_ids = build_report(own, Header(layout="table", primary="knn"))
    by_year = build_report(own, Header(layout="dcase2022", primary="knn"))
    assert by_ids.better is None
    assert by_year.better.scorer == "fair"


@pytest.mark.parametrize("width", [60, 80])
def test_many_scorers_and_long_names_fit_and_no_number_is_cut(width: int) -> None:
    own = halves("dcase2022")
    many = {f"a_scorer_called_{number}" + "_long" * (number % 3): own.scores["knn"] + number for number in range(9)}
    types = [f"{name}_with_a_name_that_does_not_fit_a_column_of_any_terminal" for name in own.machine_type]
    wide = Clips(own.key, own.file_name, types, own.machine_id, own.domain, own.label, many)
    report = build_report(wide, Header(layout="dcase2022"), (own.scores["knn"] > 0).astype(int))
    lines = console_text(report, width).replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    score = report.official["a_scorer_called_0"]
    cell = "/".join(f"{100 * score.harmonic_mean[key]:.2f}" for key in ("auc_source", "auc_target", "pauc"))
    assert sum(line.split().count(cell) for line in lines) == 9
