"""Reports of other formats, and damaged ones."""

import json

import pytest

from asd.errors import UserError
from asd.report import (
    Header,
    ReportWarning,
    build_report,
    markdown,
    read_report,
    write_report,
)
from asd.report.model import json_text
from tests.support.reports import HEADER, clips, console_text, halves


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
