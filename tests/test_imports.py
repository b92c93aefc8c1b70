"""Who may import whom: the architecture as a table, checked against every import statement of the sources."""

from __future__ import annotations

import ast
import gc
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from asd.process.startup import quick_imports

ROOT = Path(__file__).parents[1]

# Package (or errors.py, or a script) → what it imports, from the bottom of the house to its top.
MAY_IMPORT = {
    "process": "",
    "errors": "process",
    "augment": "",
    "losses": "",
    "distributed": "errors",
    "files": "errors",
    "frontends": "errors",
    "backbones": "errors files frontends",
    "metrics": "errors",
    "optim": "errors",
    "scorers": "errors",
    "text": "errors process",
    "audio": "errors files",
    "data": "errors files process",
    "dcase": "errors files metrics",
    "loggers": "errors files process text",
    "run_folder": "errors files",
    "monitor": "distributed errors files loggers",
    "report": "dcase errors files metrics scorers text",
    "tasks": "augment backbones data distributed errors frontends losses",
    "train": "data distributed errors files loggers monitor optim process run_folder",
    "evaluate": "data dcase distributed errors files loggers metrics monitor process report run_folder scorers tasks "
    "text train",
    "config": "backbones data distributed errors evaluate files loggers losses monitor optim run_folder scorers tasks "
    "text train",
    "detector": "audio data distributed errors evaluate files frontends metrics scorers tasks text",
    "sweep": "config dcase errors evaluate files loggers metrics monitor process report run_folder text",
    "commands": "audio config data dcase detector distributed errors evaluate files frontends loggers metrics monitor "
    "optim process report run_folder scorers tasks text train",
    "shards": "audio data dcase errors files text",
    "train_ddp": "commands config distributed errors files process",
    "eval": "commands errors files process",
}
# Name → the only packages that may import it, beside itself.
ONLY = {
    "accelerate": "asd.distributed",
    "tensorboard": "",
    "torch.utils.tensorboard": "asd.loggers",
    "matplotlib": "asd.report asd.loggers asd.detector",
    "sklearn": "asd.evaluate asd.report asd.scorers",
    "safetensors": "asd.files asd.run_folder asd.evaluate",
    "httpx2": "asd.files shards",
    "fsspec": "asd.files",
    "prometheus_client": "asd.monitor",
    "webdataset": "shards",
    "transformers": "asd.backbones",
    "optuna": "asd.sweep",
    "submitit": "asd.sweep",
    "tests": "",
    "benchmarks": "",
}
# Package → all that it may know of another one.
NO_MORE_THAN = {
    ("shards", "asd.data"): {
        "asd.data.clips_schema",
        "asd.data.manifest",
        "asd.data.manifest_writer",
        "asd.data.heard",
    },
    ("asd.tasks", "asd.data"): {"asd.data.batch"},
}
# What starts without torch: its import takes two seconds, which a packer or a health check would pay each time.
LIGHT = (
    "shards.pack",
    "shards.verify",
    "shards.download.__main__",
    "asd.commands.report",
    "asd.commands.report_scores",
    "asd.monitor.health",
    "asd.data.plan",
    "asd.data.reader",
    "asd.data.cache.cached_set",
    "asd.run_folder.paths",
    "asd.report.build",
)


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


def package_of(name: str) -> str:
    return ".".join(name.split(".")[: 2 if name.startswith("asd.") else 1])


def is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def pairs() -> Iterator[tuple[str, str]]:
    """(importing module, what it imports)."""
    for module in modules():
        for name in imports(module):
            yield module, name


def test_asd_holds_packages_and_errors():
    assert {path.name for path in ROOT.glob("asd/*.py")} == {"__init__.py", "errors.py"}
    assert (ROOT / "asd" / "__init__.py").read_text() == ""
    assert all((path / "__init__.py").is_file() for path in ROOT.glob("asd/*/") if path.name != "__pycache__")


def test_the_table_says_who_imports_whom():
    found: dict[str, set[str]] = {
        package_of(module).removeprefix("asd."): set() for module in modules() if module != "asd"
    }
    for module, name in pairs():
        if name in modules() and package_of(module) != package_of(name):
            found[package_of(module).removeprefix("asd.")].add(package_of(name).removeprefix("asd."))
    assert found == {package: set(imported.split()) for package, imported in MAY_IMPORT.items()}


def test_the_table_is_written_from_the_bottom_to_the_top():
    packages = list(MAY_IMPORT)
    wrong = [
        (package, imported)
        for place, package in enumerate(packages)
        for imported in MAY_IMPORT[package].split()
        if imported not in packages[:place]
    ]
    assert wrong == []


def test_no_circle_between_files():
    TopologicalSorter({module: imports(module) & set(modules()) - {module} for module in modules()}).prepare()


@pytest.mark.parametrize("imported", ONLY)
def test_what_only_some_may_import(imported):
    allowed = {*ONLY[imported].split(), package_of(imported)}
    wrong = [f"{m} imports {name}" for m, name in pairs() if is_under(name, imported) and package_of(m) not in allowed]
    assert wrong == []


@pytest.mark.parametrize(("package", "other"), NO_MORE_THAN)
def test_what_little_a_package_knows_of_another(package, other):
    known = {name for module, name in pairs() if is_under(module, package) and is_under(name, other)}
    assert known == NO_MORE_THAN[package, other]


def python(words: str) -> str:
    return subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_what_is_light_starts_without_torch():
    assert python(f"import sys, {', '.join(LIGHT)}; print('torch' in sys.modules)") == "False\n"


def test_training_imports_nothing_that_only_scoring_needs():
    said = python("import sys, asd.commands.train; print(*sorted({n.partition('.')[0] for n in sys.modules}))")
    imported = set(said.split())
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
