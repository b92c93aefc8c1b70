"""Words `a.b=c` and yaml files: names are names, numbers are numbers, and what the product writes it reads back."""

from __future__ import annotations

import operator
import shlex
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from asd.config.load import dump_yaml, load_config
from asd.errors import UserError
from asd.sweep import sweep
from asd.text.shell import command, option, write_word
from tests.support.fuzz import bounded

CONFIG = Path(__file__).parents[2] / "configs" / "own_machines_autoencoder.yaml"
# What YAML 1.1 reads as something else than the text, or refuses.
NAMES = [
    "00", "010", "1e3", "3018", "0x10", "1_000", "12:30", "2026-13-45", "no", "Yes", "on", "null", "~", ".inf", "=",
    "pump: left", "fan, small", "sets #2", "[left]", "{a}", "a]", "it's", '"quoted"', "*all", "&a", "!x", "%", "@b",
    "`c`", "- a", "? b", "| c", "> d", " e ", "a\\b", "$HOME", "水泵", "🚀", "<<",
]  # fmt: skip
FREE = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1)  # what a machine may be called


def load(*words: str, path: Path = CONFIG):
    return load_config(path, words)


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_the_text_that_stands_there(name):
    config = load(f"data.shards=sets/{name}", f"run.dir=./{name}/x", f"data.cache_dir=.{name}")
    assert (config.data.shards, config.run.dir, config.data.cache_dir) == (f"sets/{name}", f"./{name}/x", f".{name}")


@pytest.mark.parametrize("name", NAMES)
def test_lists_of_names_come_back_through_words_and_through_a_shell(name):
    words = [write_word("data.machine_types", [name, "fan"]), write_word("data.shards", f"data/{name}")]
    through = shlex.split(command("train_ddp.py", *words))[1:]
    assert through == words
    data = load(*through).data
    assert (data.machine_types, data.shards) == ((name, "fan"), f"data/{name}")


@bounded(200)
@given(names=st.lists(FREE, max_size=3), text=FREE)
@example(names=["\u2028", "\u0085".strip() or "x", "\ufeff"], text="\u2028")
def test_any_name_comes_back(names, text):
    words = [write_word("data.machine_ids", names), write_word("data.shards", "x" + text)]
    data = load(*shlex.split(command(*words))).data
    assert (list(data.machine_ids), data.shards) == (names, "x" + text)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("[]", ()),
        ("[00, 01, no]", ("00", "01", "no")),
        ("[fan, small]", ("fan", "small")),
        ("[fan, \"fan, small\", 'a: b']", ("fan", "fan, small", "a: b")),
        ('["00","\\u6c34"]', ("00", "水")),
        ("[12:30, ~, 1e3, null]", ("12:30", "~", "1e3", "null")),
    ],
)
def test_lists_are_yaml_or_json(word, found):
    assert load(f"data.machine_ids={word}").data.machine_ids == found


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("data.machine_types=fan", "takes a list, in brackets: data.machine_types=[fan]"),
        ("data.machine_types=fan, small", 'takes a list, in brackets: data.machine_types=["fan, small"]'),
        ("data.machine_types=[sets #2]", "is not yaml"),
        ("data.machine_types=[pump: left]", "data.machine_types.0: Input should be a valid string"),
        ("train.global_batch=1:30", "train.global_batch=1:30: Input should be a valid integer"),
        ("train.epochs=yes", "train.epochs=yes: Input should be a valid integer"),
    ],
)
def test_what_could_be_meant_in_two_ways_is_refused(word, told):
    with pytest.raises(UserError) as caught:
        load(word)
    assert told in str(caught.value)


def test_all_else_is_as_it_was():
    config = load(
        "train.seed=010", "optim.lr=1e-3", "train.epochs=null", "train.steps=7", "train.accumulate=2", "debug=yes",
        "optim.schedule.name=cosine", "optim.schedule={name: cosine, warmup_epochs: 2}", "optim.betas=[0.8, 0.9]",
        "evaluate.scorers=[{name: reconstruction}, {name: mahalanobis, shrinkage: 0.5}]", "init_from=null",
        "data.cache_gib=null", "evaluate.first_s=~", "train.clip_norm=5",
    )  # fmt: skip
    assert (config.train.seed, config.optim.lr, config.debug, config.init_from) == (10, 0.001, True, None)
    assert config.optim.schedule.warmup_epochs == 2
    assert config.optim.betas == (0.8, 0.9)
    assert [scorer.name for scorer in config.evaluate.scorers] == ["reconstruction", "mahalanobis"]
    assert config.evaluate.scorers[1].shrinkage == 0.5
    assert load("evaluate.scorers=[{name: mahalanobis, shrinkage: ledoit_wolf}]").evaluate.scorers[0].shrinkage == (
        "ledoit_wolf"
    )


def test_files_are_read_by_the_same_rule(tmp_path):
    tree = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    del tree["data"]
    path = tmp_path / "mine.yaml"
    data = "data: {shards: 0o7, machine_ids: [00, 01, no, 12:30], machine_types: ['a, b', ~]}\nrun: {dir: 2026-01-01}\n"
    path.write_text(yaml.safe_dump(tree) + data, encoding="utf-8")
    config = load(path=path)
    assert config.data.machine_ids == ("00", "01", "no", "12:30")
    assert config.data.machine_types == ("a, b", "~")
    assert (config.data.shards, config.run.dir) == ("0o7", "2026-01-01")


@pytest.mark.parametrize("name", NAMES)
def test_a_written_config_is_read_back(tmp_path, name):
    config = load(write_word("data.machine_types", [name]), f"data.shards=x{name}", f"init_from=./{name}/y")
    (tmp_path / "config.yaml").write_text(dump_yaml(config), encoding="utf-8")
    assert load_config(tmp_path / "config.yaml") == config


def test_anchors_and_merges_of_a_file_work(tmp_path):
    path = tmp_path / "mine.yaml"
    more = "checkpoint: {<<: {keep_last: 3}}\nrun: {dir: &where 00}\ninit_from: *where\n"
    path.write_text(CONFIG.read_text(encoding="utf-8") + more, encoding="utf-8")
    config = load(path=path)
    assert (config.checkpoint.keep_last, config.run.dir, config.init_from) == (3, "00", "00")


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_tells_its_runs_their_machine_type(monkeypatch, tmp_path, name):
    monkeypatch.setattr(sweep, "_parts", lambda config: [name])
    args = sweep.parse_args(["--config", str(CONFIG), "--by-type", "--out", str(tmp_path / "a #1")])
    (job,) = sweep.plan_jobs(args)
    assert load_config(job.path, job.words) == job.config
    assert job.config.data.machine_types == (name,)
    assert Path(job.config.run.dir).parents[1] == tmp_path / "a #1"
    done = Path(job.config.run.dir) / sweep.DONE_FILE
    done.parent.mkdir(parents=True)
    done.touch()
    assert sweep.runs_of(args.out)("own_machines_autoencoder", 0, name) == job.config.run.dir


def test_values_that_begin_with_a_dash_stay_values():
    assert option("--machine", "-x") == ["--machine=-x"]
    assert option("--id", "-1") == ["--id", "-1"]
    assert option("--machine", "fan") == ["--machine", "fan"]


@pytest.mark.parametrize(
    ("word", "key", "expected"),
    [
        ("evaluate.scorers=[knn, {name: centroid}]", "evaluate.scorers", ["knn", "centroid"]),
        ("logging.trackers=[tensorboard]", "logging.trackers", ["tensorboard"]),
        ("optim.schedule=constant", "optim.schedule", "constant"),
    ],
)
def test_the_name_of_a_part_is_the_part_with_its_defaults(word: str, key: str, expected: object) -> None:
    found = operator.attrgetter(key)(load(word))
    assert ([part.name for part in found] if isinstance(found, tuple) else found.name) == expected


def test_the_name_of_no_part_is_refused() -> None:
    with pytest.raises(UserError, match="evaluate"):
        load("evaluate.scorers=[nearest]")
