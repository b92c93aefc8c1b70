"""Clip scores → scores.csv, report.md and report.json of an evaluation, the console table and TensorBoard's scalars.

report.json is written last: a folder that holds one is complete. Schema of the files: docs/files.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from asd.files import write_whole
from asd.markdown import escaped, markdown_table
from asd.metrics import ClipScores, read_scores, scores_csv, summarise
from asd.terminal import plain

__all__ = ["ClipScores", "console_table", "read_scores", "scalars", "summarise", "write_report"]

FORMAT_VERSION = 2  # 2: warnings have codes
SCORES_FILE, MARKDOWN_FILE, REPORT_FILE = "scores.csv", "report.md", "report.json"
ORACLE_WARNING = "ORACLE SELECTION: the checkpoint was chosen on the test set"
NUMBER_NOTES = (
    "AUC and pAUC (FPR up to 0.1, McClish) in percent, by the DCASE 2020 rule: one ROC per machine ID, "
    "then the arithmetic mean over the IDs of a type and over the types; mAUC is the lowest ID of a type.",
    "Pooled puts all IDs of a type into one ROC, which also asks that their scores share a scale: "
    "another number, not comparable with the per-ID rule.",
)

Report = dict[str, Any]
Pair = tuple[float | None, float | None]  # AUC, pAUC


def write_report(folder: Path, clips: ClipScores, header: Mapping[str, Any]) -> Report:
    """Write scores.csv, report.md and, last, report.json into folder; each appears by rename. Returns report.json.

    header: what the caller knows (run, step, selection, `primary`: scorer name, `baselines`: scorer names …), put
    into report.json as it is. Raises UserError where a score is not finite, ValueError where header and body collide.
    """
    report = build_report(clips, header)
    save_report(folder, clips, report)
    return report


def save_report(folder: Path, clips: ClipScores, report: Report) -> None:
    """The files of `write_report`, of what `build_report` made of the same clips."""
    text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT_FILE).unlink(missing_ok=True)  # until the new one is there, the folder is not complete
    write_whole(folder / SCORES_FILE, scores_csv(clips))
    write_whole(folder / MARKDOWN_FILE, markdown(report))
    write_whole(folder / REPORT_FILE, text)


def build_report(clips: ClipScores, header: Mapping[str, Any]) -> Report:
    """The content of report.json; `primary` and `baselines` always stand in it."""
    body = summarise(clips)
    collision = {"format", *body} & set(header)
    if collision:
        raise ValueError(f"the report's header must not hold {sorted(collision)}: these are computed")
    trained = [name for name in clips.scores if name not in header.get("baselines", [])]
    primary = header.get("primary") or next(iter([*trained, *clips.scores]), "")
    if clips.scores and primary not in clips.scores:
        raise ValueError(f"the primary scorer {primary} is none of {list(clips.scores)}")
    return {"format": FORMAT_VERSION, "baselines": [], **header, "primary": primary, **body}


def scorer_order(report: Report) -> list[str]:
    """Scorer names as tables show them: the primary, the other trained ones, the untrained baselines."""
    baselines = [name for name in report["scorers"] if name in report["baselines"]]
    trained = [name for name in report["scorers"] if name not in baselines]
    return sorted(trained, key=lambda name: name != report["primary"]) + baselines


def is_oracle(report: Report) -> bool:
    """Whether the checkpoint was chosen on the clips that are scored."""
    return bool((report.get("selection") or {}).get("oracle", False))


def flip_warning(classes: Sequence[str], whose: str = "") -> dict[str, str]:
    """The warning of a report that the scores of some classes count the other way round."""
    return {"code": "flipped", "text": f"{whose}the scores of {', '.join(classes)} are turned around (evaluate.flip)"}


def scalars(report: Report) -> dict[str, float]:
    """TensorBoard's numbers, fractions of 1: `auc/<scorer>/<type>`, `pauc/…`, `mean/auc/<scorer>` …

    The primary scorer also has `auc_by_id/<scorer>/<type>/<id>`. Numbers that could not be computed are left out.
    """
    found: dict[str, float | None] = {}
    for name, scorer in report["scorers"].items():
        found |= {f"mean/{key}/{name}": value for key, value in scorer["mean"].items()}
        for machine_type, numbers in scorer["types"].items():
            found[f"auc/{name}/{machine_type}"] = numbers["auc_mean"]
            found[f"pauc/{name}/{machine_type}"] = numbers["pauc_mean"]
            for machine_id, own in numbers["ids"].items() if name == report["primary"] else ():
                found[f"auc_by_id/{name}/{machine_type}/{machine_id}"] = own["auc"]
                found[f"pauc_by_id/{name}/{machine_type}/{machine_id}"] = own["pauc"]
    return {tag: value for tag, value in found.items() if value is not None}


# ---- tables -------------------------------------------------------------------------------------------------------


def headline_rows(report: Report) -> list[tuple[str, list[Pair]]]:
    """(row name, (AUC, pAUC) of every scorer in `scorer_order`): one row a machine type, then the mean."""
    scorers = [report["scorers"][name] for name in scorer_order(report)]
    types = list(scorers[0]["types"]) if scorers else []
    rows = [(t, [(s["types"][t]["auc_mean"], s["types"][t]["pauc_mean"]) for s in scorers]) for t in types]
    rows.append(("mean", [(s["mean"]["auc"], s["mean"]["pauc"]) for s in scorers]))
    return rows


def official_rows(report: Report) -> list[tuple[str, list[Pair]]]:
    """The year's numbers of every scorer where its rule has domains: harmonic means over sections, official score."""
    official = report.get("official") or {}
    found = [official.get(name) for name in scorer_order(report)]
    if report.get("layout") == "dcase2020" or not any(found):
        return []
    means = [{} if own is None else own["harmonic_mean"] for own in found]
    by_domain = [(f"{key}_source", f"{key}_target") for key in ("auc", "pauc") if f"{key}_source" in (means[0] or {})]
    names = {"auc_source": "AUC source/target", "pauc_source": "pAUC source/target"}
    rows = [(names[first], [(m.get(first), m.get(second)) for m in means]) for first, second in by_domain]
    scores = [(None if own is None else own["official_score"], own["harmonic_mean"].get("pauc") if own else None)
              for own in found]  # fmt: skip
    return [*rows, ("official/pAUC" if "pauc" in (means[0] or {}) else "official", scores)]


def console_table(report: Report) -> Table:
    """AUC and pAUC in percent, a row per machine type and the mean, a column per scorer; the best of a row is bold."""
    # One space between columns: five scorers fit a terminal of 80 columns.
    table = Table(title=plain(_title(report)), title_style="bold", caption=_caption(report), caption_justify="left")
    table.box, table.show_edge, table.padding = box.SIMPLE_HEAD, False, (0, 0, 0, 1)
    table.min_width = len(ORACLE_WARNING) + 1 if is_oracle(report) else None  # a caption wraps at the table's width
    table.add_column("AUC/pAUC %", overflow="fold")
    for name in scorer_order(report):
        style = "dim" if name in report["baselines"] else ""
        table.add_column(name.replace("_", " "), justify="right", header_style=style)
    rows = headline_rows(report)
    for name, pairs in rows:
        table.add_row(plain(name), *_console_cells(pairs), end_section=len(rows) > 1 and name == rows[-2][0])
    if official := official_rows(report):
        table.add_section()
    for name, pairs in official:
        table.add_row(Text(name.replace("/", "/ ")), *_console_cells(pairs))  # the space: wrapped there, not in a word
    return table


def _console_cells(pairs: Sequence[Pair]) -> list[Text]:
    best = [max((v for v in column if v is not None), default=None) for column in zip(*pairs, strict=True)]
    return [_console_cell(pair, best) for pair in pairs]


def _console_cell(pair: Pair, best: Sequence[float | None]) -> Text:
    parts = [(percent(v), "bold" if v is not None and v == b else "") for v, b in zip(pair, best, strict=True)]
    return Text.assemble(parts[0], "/", parts[1], no_wrap=True)


def _title(report: Report) -> str:
    named = [str(report["run"])] if report.get("run") else []
    named += [f"epoch {round(report['epoch'], 2):g}"] if report.get("epoch") is not None else []
    named += [f"step {report['step']}"] if report.get("step") is not None else []
    return " · ".join(named)


def _caption(report: Report) -> Text:
    unlabelled, clips = report["test"]["unlabelled"], report["test"]["clips"]
    notes = [f"{unlabelled} of {clips} test clips have no label"] if unlabelled else []
    if report.get("unreadable_clips"):
        notes.append(f"{report['unreadable_clips']} clips could not be read and are left out")
    warning = (f"{ORACLE_WARNING}\n" if is_oracle(report) else "", "bold red")
    proxy = ("".join(f"warning: {w['text']}\n" for w in report.get("warnings", [])), "bold yellow")
    return Text.assemble(warning, proxy, ("\n".join([*notes, *_not_scored_lines(report)]), "dim"))


def _not_scored_lines(report: Report) -> list[str]:
    """One line a machine type and reason, with all the IDs."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in report["not_scored"]:
        found.setdefault((row["machine_type"], row["reason"]), []).append(row["machine_id"])
    return [f"not scored: {name} {', '.join(ids)} ({reason})" for (name, reason), ids in found.items()]


def percent(value: float | None) -> str:
    """A fraction in percent with two decimals; a dash where it could not be computed."""
    return "-" if value is None else f"{100 * value:.2f}"


# ---- report.md ----------------------------------------------------------------------------------------------------


def markdown(report: Report) -> str:
    """The text of report.md."""
    parts = [f"# Evaluation {escaped(_title(report))}".rstrip(), *_warnings(report), _facts(report)]
    if report["scorers"]:
        parts += ["## AUC and pAUC by machine type", _headline_table(report)]
        if report.get("layout") != "dcase2020" and official_rows(report):
            parts += [f"## By the rule of {report['layout']}", _official_table(report)]
        parts += ["## Means over the machine types", _means_table(report)]
        parts += [f"## {report['primary']} by machine ID", _id_table(report)]
    parts += ["## What the numbers are", "\n".join(f"- {line}" for line in NUMBER_NOTES)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _warnings(report: Report) -> list[str]:
    oracle = [f"**{ORACLE_WARNING}.**"] if is_oracle(report) else []
    return oracle + [f"**Warning: {escaped(warning['text'])}.**" for warning in report.get("warnings", [])]


def _facts(report: Report) -> str:
    selection, test = report.get("selection") or {}, report["test"]
    chosen = selection.get("rule")
    facts = {name: report.get(name) for name in ("checkpoint", "shards", "fingerprint")}
    facts |= {"checkpoint chosen by": chosen}
    counts = ", ".join(f"{test[name]} {name}" for name in ("normals", "anomalies", "unlabelled"))
    lines = [f"- {name}: {escaped(value)}" for name, value in facts.items() if value is not None]
    return "\n".join(
        [
            *lines,
            f"- test clips: {test['clips']} ({counts}); unreadable clips: {report.get('unreadable_clips', 0)}",
            *(f"- {escaped(x)}" for x in _not_scored_lines(report)),
        ]
    )


def _headline_table(report: Report) -> str:
    head = ["machine type"]
    for name in scorer_order(report):
        mark = " (untrained)" if name in report["baselines"] else ""
        head += [f"{name}{mark} AUC", "pAUC"]
    rows = [[escaped(name), *(percent(v) for pair in pairs for v in pair)] for name, pairs in headline_rows(report)]
    return markdown_table(head, [*rows[:-1], [f"**{cell}**" for cell in rows[-1]]])


def _means_table(report: Report) -> str:
    keys = ("auc", "pauc", "auc_harmonic", "pauc_harmonic", "mauc", "auc_pooled", "pauc_pooled")
    head = ["scorer", "AUC", "pAUC", "AUC harmonic", "pAUC harmonic", "mAUC", "AUC pooled", "pAUC pooled"]
    rows = [[name, *(percent(report["scorers"][name]["mean"][k]) for k in keys)] for name in scorer_order(report)]
    return markdown_table(head, rows)


def _official_table(report: Report) -> str:
    head = ["harmonic mean over sections", *scorer_order(report)]
    rows = [[name, *("/".join(percent(v) for v in pair) for pair in pairs)] for name, pairs in official_rows(report)]
    return markdown_table(head, rows)


def _id_table(report: Report) -> str:
    head = ["machine type", "ID", "AUC", "pAUC", "normals", "anomalies", "unlabelled"]
    types = report["scorers"][report["primary"]]["types"]
    rows = [_id_row(t, i, own) for t, numbers in types.items() for i, own in numbers["ids"].items()]
    return markdown_table(head, rows)


def _id_row(machine_type: str, machine_id: str, own: Mapping[str, Any]) -> list[str]:
    counts = [str(own[name]) for name in ("normals", "anomalies", "unlabelled")]
    return [escaped(machine_type), escaped(machine_id), percent(own["auc"]), percent(own["pauc"]), *counts]
