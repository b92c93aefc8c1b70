"""Several runs, one table: one model per machine type, done once, told together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import eval as evaluation
from asd.config.load import load_config
from asd.errors import UserError
from asd.metrics import read_scores
from asd.sweep import engines, sweep
from asd.sweep.jobs import DONE_FILE
from shards import pack
from tests.support.inline import sweep_inline
from tests.support.launch import TINY
from tests.support.sets import make_set


@pytest.fixture(scope="module")
def two_types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    classes = (("fan", "00"), ("fan", "02"), ("pump", "00"), ("pump", "04"))
    return make_set(tmp_path_factory.mktemp("two_types"), classes=classes, train=20, test=3)


def test_one_model_per_type_in_one_table_and_nothing_twice(
    two_types: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    command = ["--config", str(TINY), "--by-type", "--out", str(out), f"data.shards={two_types}"]
    assert sweep.main(command) == 0
    assert capfd.readouterr().out.count(" info: training ") == 2
    table = json.loads((out / "report.json").read_text())
    for numbers in table[TINY.stem].values():
        types = numbers["development"]["types"]
        assert set(types) == {"fan", "pump"}
        assert numbers["auc"] == pytest.approx((types["fan"][0] + types["pump"][0]) / 2)
        assert 0 <= numbers["auc_oracle"] <= 1
    (run,) = (out / TINY.stem).glob("seed_0_fan_*")
    assert load_config(run / "config.yaml").data.machine_types == ("fan",)
    assert sweep.main(command) == 0
    assert " info: training " not in capfd.readouterr().out
    jobs = sweep.plan_jobs(sweep.parse_args(command))
    assert [job.done for job in jobs] == [True, True]
    assert all(job.seconds > 0 for job in jobs)
    changed = sweep.plan_jobs(sweep.parse_args([*command, "train.epochs=3"]))
    assert [job.done for job in changed] == [False, False]  # another config is another run


def test_slots_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.os, "sched_getaffinity", lambda pid: {0, 2, 4, 5, 7})
    shares = [engines.cores_of(slot, 2) for slot in range(2)]
    assert shares == [{0, 4, 7}, {2, 5}]
    assert [engines.cores_of(slot, 7) for slot in (4, 5, 6)] == [{7}, {0}, {2}]  # more slots than cores


def test_words_that_are_no_overrides_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--config", str(TINY), "--out", str(tmp_path)]
    with pytest.raises(SystemExit):
        sweep.main([*words, "--sedes", "1"])
    assert "unrecognized arguments: --sedes" in capsys.readouterr().err
    with pytest.raises(UserError, match="'fish' is not of the form key=value"):
        sweep.main([*words, "fish"])


def test_slots_share_the_visible_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,6,7")
    assert [engines.devices_of(slot, ranks=2, slots=2) for slot in range(2)] == ["2,3", "6,7"]
    assert engines.devices_of(0, ranks=2, slots=1) is None
    with pytest.raises(UserError, match="need 6 GPUs, 4 are visible"):
        engines.devices_of(0, ranks=2, slots=3)
    monkeypatch.setattr(engines.torch.cuda, "device_count", lambda: 0)
    assert engines.devices_of(1, ranks=1, slots=2) is None


# ---- runs that start from others, and ensembles of them ------------------------------------------------------------

TYPES = ("fan", "valve")
BRIEFLY = ("train.steps=1", "optim.lr=1e-30")


@pytest.fixture(scope="module")
def two_types_2022(factory2022: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two_types_2022")
    for machine_type in TYPES:
        shutil.copytree(factory2022.parent / "recordings" / machine_type, folder / "recordings" / machine_type)
    words = f"--layout dcase2022 --source {folder / 'recordings'} --out {folder / 'shards'} --workers 1"
    assert pack.main(words.split()) == 0
    return folder / "shards"


@pytest.fixture(scope="module")
def words_2022(two_types_2022: Path) -> list[str]:
    """Short runs by machine type, one scorer."""
    words = [f"data.shards={two_types_2022}", "train.epochs=null", "train.steps=2", "data.val_fraction=0.2"]
    return ["--config", str(TINY), "--by-type", *words, "evaluate.scorers=[{name: centroid}]"]


@pytest.fixture(scope="module")
def phases(words_2022: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """OUT of a sweep over two seeds with a second phase and two submissions, not to be written to; its command.

    The second phase is a single step, so short that it changes no weight.
    """
    out = tmp_path_factory.mktemp("phases") / "sweep"
    command = [*words_2022, "--seeds", "0", "1", "--out", str(out), "--ensembles", "1", "2", "--then", *BRIEFLY]
    with pytest.MonkeyPatch.context() as patch:
        assert len(sweep_inline(patch)) == 0
        assert sweep.main(command) == 0
    return out, command


def run_of(out: Path, seed: int, machine_type: str) -> Path:
    (run,) = (out / TINY.stem).glob(f"seed_{seed}_{machine_type}_*")
    return run


def weights(run: Path, step: int) -> bytes:
    return (run / "checkpoints" / f"step_{step:08d}" / "model.safetensors").read_bytes()


def report_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("machine_type", TYPES)
def test_the_second_phase_goes_on_from_the_weights_of_the_first(
    phases: tuple[Path, list[str]], seed: int, machine_type: str
) -> None:
    out, _ = phases
    first, second = run_of(out, seed, machine_type), run_of(out / "then", seed, machine_type)
    assert (second / "config.yaml").read_text().count(f"init_from: {first}\n") == 1
    assert weights(second, 1) == weights(first, 2)
    assert weights(first, 2) != weights(run_of(out, 1 - seed, machine_type), 2)
    assert (second / DONE_FILE).is_file()


def test_both_phases_have_a_table(phases: tuple[Path, list[str]]) -> None:
    out, _ = phases
    for folder in (out, out / "then"):
        numbers = report_in(folder)[TINY.stem]["centroid"]
        assert (numbers["seeds"], set(numbers["development"]["types"])) == (2, set(TYPES))
        assert "| tiny | centroid | 2 |" in (folder / "report.md").read_text()


def test_submissions_are_made_of_the_best_runs_of_the_last_phase(phases: tuple[Path, list[str]]) -> None:
    out, _ = phases
    for number in (1, 2):
        folder = out / f"submission_{number}"
        report = report_in(folder)
        assert report["ensemble"]["k"] == number
        assert report["selection"]["oracle"]
        for machine_type in TYPES:
            runs = [str(run_of(out / "then", seed, machine_type)) for seed in (0, 1)]
            chosen = report["ensemble"]["runs"][machine_type]
            assert (len(chosen), set(chosen) <= set(runs)) == (number, True)
        words = ["--layout", "dcase2022", "--scores", str(folder / "submission"), "--ground-truth", "names"]
        assert evaluation.main(["report", *words, "--json", str(folder / "numbers.json")]) == 0
        assert json.loads((folder / "numbers.json").read_text()) == report["official"]["ensemble"]
        assert len(read_scores(folder / "scores.csv")) == 2 * 2 * 2 * 4


def test_all_submissions_stand_in_one_table_by_machine_type(phases: tuple[Path, list[str]]) -> None:
    """As the report of S4 prints them: a row a submission, a column a machine type."""
    out, _ = phases
    text = (out / "submissions.md").read_text()
    lines = text[text.index("## By machine type: AUC source / AUC target / pAUC") :].split("\n\n")[1].splitlines()
    assert lines[0] == "| config | scorer | fan | valve | harmonic mean |"
    for number in (1, 2):
        own = report_in(out / f"submission_{number}")["official"]["ensemble"]
        means = [*(own["machines"][t]["harmonic_mean"] for t in TYPES), own["harmonic_mean"]]
        cells = ["/".join(f"{100 * m[key]:.2f}" for key in ("auc_source", "auc_target", "pauc")) for m in means]
        assert f"| submission_{number} | ensemble | {' | '.join(cells)} |" in lines


def test_the_single_best_run_of_a_type_keeps_its_order_of_clips(phases: tuple[Path, list[str]]) -> None:
    """A z-normalised score is the run's own, up to a scale for each machine: its AUC stays."""
    out, _ = phases
    types = report_in(out / "submission_1")["scorers"]["ensemble"]["types"]
    for machine_type, (chosen,) in report_in(out / "submission_1")["ensemble"]["runs"].items():
        alone = report_in(Path(chosen) / "evaluations" / "step_00000001")["scorers"]["centroid"]["types"][machine_type]
        assert types[machine_type]["ids"] == alone["ids"]


def test_nothing_is_done_twice(phases: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    out, command = phases
    started = sweep_inline(monkeypatch)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.parent.name.startswith("step_")}
    scores = [(out / f"submission_{number}" / "scores.csv").read_text() for number in (1, 2)]
    assert sweep.main(command) == 0
    assert started == []
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [(out / f"submission_{number}" / "scores.csv").read_text() for number in (1, 2)] == scores


def test_a_sweep_starts_from_the_runs_of_another_one(
    phases: tuple[Path, list[str]], words_2022: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    former, _ = phases
    started = sweep_inline(monkeypatch)
    command = [*words_2022, "--seeds", "1", "--from", str(former), "--out", str(tmp_path), *BRIEFLY]
    assert sweep.main(command) == 0
    assert len(started) == 2
    for machine_type in TYPES:
        own, first = run_of(tmp_path, 1, machine_type), run_of(former, 1, machine_type)
        assert any(f"init_from={first}" in words and f"run.dir={own}" in words for words in started)
        assert weights(own, 1) == weights(first, 2)


def done(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / DONE_FILE).write_text("{}")


def test_the_former_run_is_found_by_config_seed_and_machine_type(tmp_path: Path) -> None:
    done(tmp_path / "one" / "seed_0_fan_0123abcd")
    done(tmp_path / "one" / "seed_0_fan_b_0123abcd")
    done(tmp_path / "one" / "seed_1_fan_0123abcd")
    done(tmp_path / "one" / "seed_0_all_0123abcd")
    (tmp_path / "one" / "seed_0_fan_ffffffff").mkdir()  # not finished
    find = sweep.runs_of(tmp_path)
    assert find("one", 0, "fan") == find("another", 0, "fan") == str(tmp_path / "one" / "seed_0_fan_0123abcd")
    assert find("one", 0, None) == str(tmp_path / "one" / "seed_0_all_0123abcd")
    assert find("one", 0, "fan_b") == str(tmp_path / "one" / "seed_0_fan_b_0123abcd")
    done(tmp_path / "two" / "seed_0_fan_0123abcd")
    assert find("two", 0, "fan") == str(tmp_path / "two" / "seed_0_fan_0123abcd")
    with pytest.raises(UserError, match=f"--from {tmp_path} holds 2 finished runs of seed 0, fan, one is needed"):
        find("another", 0, "fan")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "7"], "sweep holds 0 finished runs of seed 7, fan, one is needed"),
        (["--from", "/nowhere"], "--from /nowhere holds 0 finished runs of seed 0, fan, one is needed"),
        (["--then", "train.stps=1"], "train.stps"),
        (["--then", "1"], "'1' is not of the form key=value"),
        (["--ensembles", "0"], "--ensembles takes numbers of runs, 1 or more"),
    ],
)
def test_phases_that_cannot_be_are_refused_before_any_run(
    phases: tuple[Path, list[str]],
    words_2022: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    said: str,
) -> None:
    started = sweep_inline(monkeypatch)
    with pytest.raises(UserError, match=said):
        sweep.main([*words_2022, "--from", str(phases[0]), "--out", str(tmp_path / "out"), *words])
    assert started == []
    assert not (tmp_path / "out").exists()


def test_another_change_before_the_second_phase_is_another_run(phases: tuple[Path, list[str]]) -> None:
    out, command = phases
    args = sweep.parse_args(command)
    jobs = sweep.plan_jobs(args)
    assert all(job.done for job in [*jobs, *sweep.plan_then(args, jobs)])
    changed = sweep.parse_args([*command[: -len(BRIEFLY)], "train.steps=2"])
    assert not any(job.done for job in sweep.plan_then(changed, jobs))
    assert all(Path(job.config.run.dir).parents[1] == out / "then" for job in sweep.plan_then(changed, jobs))


def test_the_second_phase_may_have_a_length_of_another_kind(small_set: Path, tmp_path: Path) -> None:
    words = ["--config", str(TINY), "--out", str(tmp_path / "out"), f"data.shards={small_set}", "train.epochs=3"]
    args = sweep.parse_args([*words, "--then", "train.steps=7"])
    jobs = sweep.plan_jobs(args)
    assert [(job.config.train.epochs, job.config.train.steps) for job in jobs] == [(3, None)]
    (second,) = sweep.plan_then(args, jobs)
    assert (second.config.train.epochs, second.config.train.steps) == (None, 7)


def test_a_search_trains_and_ranks_real_runs(small_set: Path, tmp_path: Path) -> None:
    space, out = tmp_path / "space.yaml", tmp_path / "search"
    space.write_text("optim.lr: {low: 1.0e-4, high: 1.0e-2, log: true}\n")
    words = ["--config", str(TINY), "--search", str(space), "--trials", "2", "--slots", "2", "--out", str(out)]
    assert sweep.main([*words, f"data.shards={small_set}", "data.val_fraction=0.2"]) == 0
    found = json.loads((out / "search.json").read_text())
    assert [trial["state"] for trial in found] == ["complete"] * 2
    assert found[0]["value"] < found[1]["value"]
    runs = sorted((out / TINY.stem).glob("seed_0_all_*"))
    assert len(runs) == 2 and all((run / "DONE").exists() for run in runs)
    assert {load_config(run / "config.yaml").optim.lr for run in runs} == {trial["optim.lr"] for trial in found}
