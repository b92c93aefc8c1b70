"""Who may import whom: the architecture as a table, checked against every import statement of the sources."""

from __future__ import annotations

import ast
import gc
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from asd.quick_imports import quick_imports

ROOT = Path(__file__).parents[1]

# A part imports only parts of lower levels. A package is one part, but for asd.data, whose modules are parts.
# errors stands below all of them but the last word of a failed rank.
LEVELS = [
    {"asd.last_word"},
    {"asd.errors", "asd.locks", "asd.web", "asd.stop", "asd.quick_imports", "asd.data.tars"},
    {
        "asd.untrusted", "asd.files", "asd.walk", "asd.data.heard",
        "asd.data.untrusted_table", "asd.terminal", "asd.markdown", "asd.words",
    },
    # what needs nothing else: ranks, the set on disk, the order of clips, networks, numbers and where they go
    {
        "asd.distributed", "asd.run_folder", "asd.identity", "asd.checkpoint", "asd.optim", "asd.loggers",
        "asd.data.manifest", "asd.data.plan", "asd.data.batch", "asd.data.remote", "asd.data.cache_files",
        "asd.sweep_output", "asd.frontends", "asd.augment", "asd.backbones", "asd.losses",
        "asd.scorers", "asd.metrics", "asd.fit_torchaudio", "asd.rows", "asd.tables", "asd.audio", "asd.published",
    },
    {"asd.data.recordings"},
    {
        "asd.data.reader",
        "asd.data.splits", "asd.data.restrict", "asd.data.download", "asd.data.room", "asd.signals",
        "asd.running_statistics",
        "asd.report", "asd.ground_truth", "asd.figures", "asd.diagnosis",
    },
    {"asd.data.streams", "asd.data.prefetch", "asd.score_files", "asd.monitor", "asd.evaluation_folder"},
    # batches; what a step means; embeddings file → scores and report
    {
        "asd.data.loader", "asd.data.cache", "asd.tasks", "asd.scoring", "asd.official_report", "asd.scores_report",
        "asd.health",
    },
    {"asd.trainer", "asd.embedding", "asd.ensemble", "asd.evaluations"},
    {"asd.background"},
    {"asd.evaluator", "asd.detector"},
    {"asd.config", "asd.clips", "asd.onnx_export", "asd.standing"},
    # the parts put together
    {"asd.system", "asd.sweep_jobs", "asd.config_reference"},
    {"asd.initialise"},
    {"asd.training", "asd.offline", "asd.sweep_numbers", "asd.sweep_table"},
    {"asd.sweep", "asd.export", "asd.watch", "asd.angles"},
    {"train_ddp", "eval"},
]  # fmt: skip
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts}

# No level says these: part → what it must never import, by the beginning of the name.
NEVER = {
    "asd.data": [
        "asd.sweep_output",
        "asd.frontends",
        "asd.augment",
        "asd.backbones",
        "asd.losses",
        "asd.tasks",
        "asd.scorers",
    ],
    "asd.frontends": ["asd.data", "asd.distributed"],
    "asd.backbones": ["asd.data", "asd.distributed"],
    "asd.losses": ["asd.data", "asd.distributed"],
    "asd.augment": ["asd.data", "asd.distributed"],
    "asd.tasks": ["asd.scorers", "asd.data.manifest", "asd.data.loader"],
    "asd.trainer": ["asd.evaluator", "asd.embedding", "asd.scoring", "asd.scorers", "asd.tasks", "asd.backbones"],
    "asd.evaluator": ["asd.trainer", "asd.tasks", "asd.backbones"],
    "asd": ["shards", "train_ddp", "eval", "tests", "benchmarks", "webdataset", "librosa", "pandas"],
    "shards": ["tests", "benchmarks"],
}
# What only these may import.
ONLY = {
    "accelerate": {"asd.distributed"},
    "asd.config": {
        "asd.config_reference",
        "asd.system",
        "asd.training",
        "asd.offline",
        "asd.sweep",
        "asd.sweep_jobs",
        "train_ddp",
        "eval",
    },
    "tensorboard": set(),
    "torch.utils.tensorboard": {"asd.loggers"},
    "matplotlib": {"asd.figures", "asd.loggers", "asd.clips"},
    "sklearn": {"asd.figures", "asd.scorers"},
    "safetensors": {"asd.checkpoint", "asd.evaluation_folder"},
    "httpx2": {"shards", "asd.web", "asd.data.remote"},
    "fsspec": {"asd.data.remote"},
    "prometheus_client": {"asd.monitor"},
}
# Starting the packer or the plan of an epoch must not cost torch's import.
WITHOUT_TORCH = {
    "asd.errors",
    "asd.last_word",
    "asd.terminal",
    "asd.locks",
    "asd.markdown",
    "asd.words",
    "asd.stop",
    "asd.quick_imports",
    "asd.health",
    "asd.data.heard",
    "asd.data.manifest",
    "asd.data.plan",
    "asd.data.splits",
    "asd.data.restrict",
    "asd.data.streams",
    "asd.data.reader",
    "asd.data.cache",
    "asd.data.cache_files",
    "asd.data.download",
    "asd.data.prefetch",
    "asd.data.remote",
    "asd.data.room",
    "asd.data.tars",
    "asd.data.untrusted_table",
    "asd.web",
    "asd.run_folder",
    "asd.report",
    "asd.metrics.official",
    "asd.rows",
    "asd.tables",
    "asd.walk",
    "asd.ground_truth",
    "asd.score_files",
    "asd.official_report",
    "asd.scores_report",
}


@cache
def modules() -> dict[str, Path]:
    """Every source module by its dotted name."""
    files = [*ROOT.glob("asd/**/*.py"), *ROOT.glob("shards/**/*.py"), ROOT / "train_ddp.py", ROOT / "eval.py"]
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in files]
    return dict(zip(names, files, strict=True))


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports, anywhere in it: modules in full, names of other packages with their module."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules() else node.module for name in names}
    return frozenset(found)


def part_of(module: str) -> str:
    words = module.split(".")
    if words[0] == "shards":
        return "shards"
    return ".".join(words[: 3 if words[:2] == ["asd", "data"] else 2])


def is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def pairs() -> Iterator[tuple[str, str]]:
    """(importing module, what it imports)."""
    for module in modules():
        for name in imports(module):
            yield module, name


def test_the_sources_are_found():
    assert {"asd.trainer", "asd.data.plan", "shards.pack", "train_ddp", "eval"} <= set(modules())
    assert "asd.checkpoint" in imports("asd.trainer")


def test_every_part_has_its_place_in_the_table():
    parts = {part_of(m) for m in modules()} - {"asd", "asd.data", "shards"}
    assert parts == set(LEVEL)
    assert len(LEVEL) == sum(map(len, LEVELS))
    assert modules()["asd"].read_text() == ""
    assert imports("asd.data") == frozenset()


def test_parts_import_lower_levels_only():
    wrong = [
        f"{module} (level {LEVEL[part_of(module)]}) imports {name} (level {LEVEL[part_of(name)]})"
        for module, name in pairs()
        if part_of(module) in LEVEL and part_of(name) in LEVEL and part_of(module) != part_of(name)
        if LEVEL[part_of(module)] <= LEVEL[part_of(name)]
    ]
    assert wrong == []


@pytest.mark.parametrize("part", NEVER)
def test_what_must_never_be_imported(part):
    wrong = [
        f"{module} imports {name}"
        for module, name in pairs()
        if is_under(module, part) and any(is_under(name, prefix) for prefix in NEVER[part])
    ]
    assert wrong == []


@pytest.mark.parametrize("imported", ONLY)
def test_what_only_some_may_import(imported):
    wrong = [
        f"{module} imports {name}"
        for module, name in pairs()
        if is_under(name, imported) and part_of(module) not in ONLY[imported] | {part_of(imported)}
    ]
    assert wrong == []


def test_shards_know_audio_the_web_the_manifest_ground_truth_and_the_errors_alone():
    theirs = {part_of(name) for module, name in pairs() if part_of(module) == "shards" and is_under(name, "asd")}
    assert theirs == {
        "asd.audio",
        "asd.data.heard",
        "asd.data.manifest",
        "asd.errors",
        "asd.files",
        "asd.ground_truth",
        "asd.terminal",
        "asd.locks",
        "asd.tables",
        "asd.web",
        "asd.words",
    }


def test_light_parts_do_without_torch():
    wrong = [
        f"{module} imports {name}"
        for module, name in pairs()
        if part_of(module) in WITHOUT_TORCH and any(is_under(name, heavy) for heavy in ("torch", "torchaudio"))
    ]
    assert wrong == []


def test_training_imports_nothing_that_only_scoring_needs():
    say = "import sys, asd.training; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", say], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert {"torch", "accelerate"} <= imported
    assert not {"matplotlib", "scipy", "sklearn"} & imported


def test_imports_are_not_looked_through_for_garbage():
    frozen = gc.get_freeze_count()
    try:
        with quick_imports():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
