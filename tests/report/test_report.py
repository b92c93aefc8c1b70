"""The report's files, tables and scalars from a small set of clip scores."""

import json
import shlex

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import hmean
from sklearn.metrics import roc_auc_score

import eval as evaluation
from asd.errors import UserError
from asd.metrics import ClipScores as Clips
from asd.metrics import read_scores
from asd.report import (
    ORACLE_WARNING,
    Choice,
    Header,
    Report,
    ReportWarning,
    build_report,
    console_table,
    markdown,
    print_report,
    read_report,
    scalars,
    write_report,
)
from asd.report import files as report_files
from asd.report.model import BetterScorer, json_text

HEADER = Header(
    run="runs/demo",
    step=120,
    epoch=6,
    checkpoint="step_00000120",
    selection=Choice(rule="clean", oracle=False),
    primary="knn",
    baselines=["untrained_knn"],
)
ORACLE = HEADER.model_copy(update={"selection": Choice(rule="oracle", oracle=True)})
WARNED = HEADER.model_copy(update={"warnings": [ReportWarning(code="trivial_task", text="the proxy task is trivial")]})
RUN = {"run_folder": "runs/my run", "step": 12}


def clips(machine_types: tuple[str, ...] = ("fan", "valve")) -> Clips:
    """Two IDs a type with 10 normals and 10 anomalies, and one unlabelled clip of another ID."""
    random = np.random.default_rng(0)
    rows = [(t, i, label) for t in machine_types for i in ("00", "01") for label in [0] * 10 + [1] * 10]
    rows.append((machine_types[0], "02", -1))
    types, ids, labels = (list(column) for column in zip(*rows, strict=True))
    label = np.array(labels)
    scores = {
        "untrained_knn": random.normal(size=len(label)) + 0.5 * label,
        "softmax": random.random(len(label)) + 0.1 * label,
        "knn": random.normal(size=len(label)) + 2.0 * label,
    }
    keys = [f"clip{n}" for n in range(len(label))]
    return Clips(keys, [f"{key}.wav" for key in keys], types, ids, [""] * len(keys), label, scores)


def console_text(report: Report, width: int = 80) -> str:
    console = Console(width=width, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(console_table(report))
    return capture.get()


def test_files_agree_with_each_other(tmp_path):
    report = write_report(tmp_path / "evaluation", clips(), HEADER)
    assert sorted(p.name for p in (tmp_path / "evaluation").iterdir()) == ["report.json", "report.md", "scores.csv"]
    assert read_report(tmp_path / "evaluation") == report
    assert (report.format, report.run, report.test.unlabelled) == (2, "runs/demo", 1)
    assert build_report(read_scores(tmp_path / "evaluation/scores.csv"), HEADER) == report
    assert (tmp_path / "evaluation/report.md").read_text() == markdown(report)


def test_report_json_is_written_last_and_an_old_one_goes_first(tmp_path, monkeypatch):
    write_report(tmp_path, clips(), HEADER)
    monkeypatch.setattr(report_files, "markdown", lambda report: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(tmp_path, clips(("pump",)), HEADER)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.md", "scores.csv"]


def test_a_failed_write_leaves_nothing_half_made(tmp_path, monkeypatch):
    monkeypatch.setattr(report_files, "scores_csv", lambda clips: "\ud800")  # cannot be encoded
    with pytest.raises(UnicodeEncodeError):
        write_report(tmp_path, clips(), HEADER)
    assert list(tmp_path.iterdir()) == []


def test_scores_that_are_not_finite_leave_the_old_report_alone(tmp_path):
    write_report(tmp_path, clips(), HEADER)
    broken = clips()
    broken.scores["knn"][3] = np.nan
    with pytest.raises(UserError, match="scorer knn"):
        write_report(tmp_path, broken, HEADER)
    assert (tmp_path / "report.json").exists()


def test_header_must_fit():
    with pytest.raises(ValueError, match="scorers"):
        Header.model_validate({"scorers": {}})
    with pytest.raises(ValueError, match="primary scorer gmm"):
        build_report(clips(), Header(primary="gmm"))


def test_a_report_needs_no_header():
    report = build_report(clips(), Header())
    assert (report.primary, report.baselines) == ("untrained_knn", [])
    assert build_report(clips(), Header(baselines=["untrained_knn"])).primary == "softmax"
    assert markdown(report).startswith("# Evaluation\n")
    console_text(report)


def test_oracle_selection_is_said_plainly():
    for header, said in ((ORACLE, True), (HEADER, False)):
        report = build_report(clips(), header)
        assert (ORACLE_WARNING in markdown(report)) is said
        assert (ORACLE_WARNING in console_text(report)) is said


def test_markdown_tables():
    report = build_report(clips(), HEADER)
    text = markdown(report)
    assert "| machine type | knn AUC | pAUC | softmax AUC | pAUC | untrained_knn (untrained) AUC | pAUC |" in text
    knn = report.scorers["knn"]
    fan = knn.types["fan"]
    assert f"\n| fan | {100 * fan['auc_mean']:.2f} | {100 * fan['pauc_mean']:.2f} |" in text
    assert f"\n| **mean** | **{100 * knn.mean['auc']:.2f}** |" in text
    own = fan.ids["01"]
    assert f"\n| fan | 01 | {100 * own['auc']:.2f} | {100 * own['pauc']:.2f} | 10 | 10 | 0 |" in text
    assert "\n| fan | 02 | - | - | 0 | 0 | 1 |" in text
    assert "- not scored: fan 02 (no labels)" in text
    assert "- test clips: 81 (40 normals, 40 anomalies, 1 unlabelled)" in text


def test_markdown_keeps_a_bar_in_a_name_inside_its_cell():
    assert "\n| a\\|b | " in markdown(build_report(clips(("a|b",)), HEADER))


def test_console_table_fits_a_terminal_and_marks_the_best():
    report = build_report(clips(("fan", "[red]ToyConveyor")), HEADER)
    text = console_text(report)
    best = f"{100 * report.scorers['knn'].mean['auc']:.2f}"
    assert f"\x1b[1m{best}\x1b[0m" in text
    assert "…" not in text
    assert "[red]" in text
    assert "1 of 81 test clips have no label" in text


def test_scalars():
    report = build_report(clips(), HEADER)
    tags = scalars(report)
    knn = report.scorers["knn"]
    assert tags["auc/knn/fan"] == knn.types["fan"]["auc_mean"]
    assert tags["pauc_by_id/knn/fan/01"] == knn.types["fan"].ids["01"]["pauc"]
    assert tags["mean/mauc/knn"] == knn.mean["mauc"]
    assert tags["mean/auc/untrained_knn"] == report.scorers["untrained_knn"].mean["auc"]
    assert "auc_by_id/knn/fan/02" not in tags
    assert not any(tag.startswith("auc_by_id/softmax") for tag in tags)
    assert all(isinstance(value, float) for value in tags.values())


def test_no_labels_and_no_clips_still_make_a_report(tmp_path):
    unlabelled = clips()
    unlabelled.label[:] = -1
    report = write_report(tmp_path, unlabelled, HEADER)
    assert report.scorers["knn"].mean["auc"] is None
    assert scalars(report) == {}
    assert "-/-" in console_text(report)
    nothing = Clips([], [], [], [], [], np.zeros(0, dtype=np.int64), {})
    console_text(write_report(tmp_path, nothing, Header()))


def test_a_warning_stands_on_top_of_the_report_and_under_the_table():
    report = build_report(clips(), WARNED)
    assert "\n\n**Warning: the proxy task is trivial.**\n\n" in markdown(report)
    console = Console(width=100)
    with console.capture() as shown:
        console.print(console_table(report))
    assert "warning: the proxy task is trivial" in shown.get()
    assert "arning" not in markdown(build_report(clips(), HEADER))


# ---- both halves, decisions, and a better scorer -------------------------------------------------------------------


def halves(layout: str) -> Clips:
    """Development clips, whose names carry labels, and evaluation clips, on which the scorers stand otherwise."""
    random = np.random.default_rng(1)
    rows = []
    for machine_type in ("fan", "pump", "valve"):
        for machine_id, named in (("00", True), ("02", True), ("01", False)):
            for number in range(24):
                label, domain = number % 2, ("source", "target")[number // 12]
                word = ("normal", "anomaly")[label]
                if layout == "dcase2020":
                    name = f"{word}_id_{machine_id}_{number:08d}.wav" if named else f"id_{machine_id}_{number:08d}.wav"
                else:
                    said = f"{domain}_test_{word}_" if named else ""
                    name = f"section_{machine_id}_{said}{number:04d}.wav"
                scores = (random.normal() + label, random.normal() + (2.0 if named else -1.0) * label)
                rows.append((name, machine_type, machine_id, "" if layout == "dcase2020" else domain, label, *scores))
    names, types, ids, domains, label, plain, other = (list(column) for column in zip(*rows, strict=True))
    keys = [f"{a}-{b}" for a, b in zip(types, names, strict=True)]
    return Clips(keys, names, types, ids, domains, np.array(label), {"knn": np.array(plain), "lof": np.array(other)})


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


# ---- reading --------------------------------------------------------------------------------------------------------


def test_a_report_of_format_1_is_read_and_its_sentences_become_warnings(tmp_path) -> None:
    tree = json.loads(json_text(build_report(clips(), HEADER)))
    for name in ("official", "decisions", "better"):  # which format 1 had not
        del tree[name]
    older = tree | {"format": 1, "warnings": ["the network does not learn"], "flip": []}
    (tmp_path / "report.json").write_text(json.dumps(older))
    found = read_report(tmp_path)
    assert found is not None
    assert found.warnings == [ReportWarning(code="older", text="the network does not learn")]
    assert found.scorers == build_report(clips(), HEADER).scorers
    console_text(found)
    markdown(found)


def test_a_report_of_a_newer_format_is_refused_in_one_line(tmp_path) -> None:
    write_report(tmp_path, clips(), HEADER)
    text = (tmp_path / "report.json").read_text()
    (tmp_path / "report.json").write_text(text.replace('"format": 2', '"format": 3'))
    with pytest.raises(UserError, match=r"report\.json has format 3, this version reads formats up to 2: "):
        read_report(tmp_path)


@pytest.mark.parametrize("damaged", ["", "[]", '{"primary": ', '{"format": "two"}', '{"format": 2, "scorers": {}}'])
def test_what_a_failing_disk_left_is_no_report(tmp_path, damaged: str) -> None:
    (tmp_path / "report.json").write_text(damaged)
    assert read_report(tmp_path) is None
    assert read_report(tmp_path / "nothing") is None


def test_report_json_has_the_keys_that_users_read(tmp_path) -> None:
    """docs/files.md; what is not known is left out, what cannot be computed is null."""
    own = halves("dcase2020")
    decision = (own.scores["knn"] > 0.5).astype(int)
    write_report(tmp_path, own, Header(layout="dcase2020", primary="knn"), decision)
    tree = json.loads((tmp_path / "report.json").read_text())
    body = ["test", "not_scored", "scorers", "official", "decisions"]
    assert list(tree) == ["format", "layout", "primary", "baselines", *body, "evaluation", "better"]
    assert list(tree["evaluation"]) == body
    kinds = ("mean", "harmonic", "min", "pooled")
    keys = [f"{metric}_{kind}" for kind in kinds for metric in ("auc", "pauc") if (metric, kind) != ("pauc", "min")]
    fan = tree["scorers"]["knn"]["types"]["fan"]
    assert list(fan) == [*keys, "ids"]
    assert list(fan["ids"]["00"]) == ["auc", "pauc", "normals", "anomalies", "unlabelled"]
    means = ["auc", "pauc", "auc_harmonic", "pauc_harmonic", "mauc", "auc_pooled", "pauc_pooled"]
    assert list(tree["scorers"]["knn"]["mean"]) == means
    machine = tree["official"]["knn"]["machines"]["fan"]
    assert list(machine) == [*(key for key in keys if "harmonic" not in key), "mean", "harmonic_mean", "sections"]
    rates = {"hit_rate", "false_alarm_rate", "f1", "hits", "false_alarms", "normals", "anomalies"}
    assert set(tree["decisions"]["machines"]["fan/00"]) == set(tree["decisions"]["all"]) == rates
