"""The part `recipe`, with a stand-in for the checkout and its Python: whoever answers its commands is timed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from asd.errors import UserError
from benchmarks.speed import recipe

# A Python that notes its words, and answers a training as the driver does.
INTERPRETER = """#!{python}
import sys
from pathlib import Path
words = sys.argv[2:]
with Path({calls!r}).open("a") as calls:
    print(*words, file=calls)
if words[0] == "asdkit.bin.train":
    print("\\nfit_s 2.000")
if {fails!r} in words:
    sys.exit("it failed")
"""
SMALL = recipe.Sizes(2, 1, 1.0, 1, ("backbone.fft_samples=null", "data.crop_s=1", "evaluate.scorers=[knn]"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "checkout" / "asdkit" / "bin"
    place.mkdir(parents=True)
    (place / "train.py").touch()
    return tmp_path / "checkout"


def asdkit_python(folder: Path, fails: str = "nothing") -> Path:
    script = folder / "python"
    script.write_text(INTERPRETER.format(python=sys.executable, calls=str(folder / "calls"), fails=fails))
    script.chmod(0o755)
    return script


def arguments(folder: Path, checkout: Path | None, **more: object) -> argparse.Namespace:
    return argparse.Namespace(work=folder / "work", rounds=1, asdkit=checkout, **more)


def test_both_sides_go_from_recordings_to_auc(tmp_path: Path, checkout: Path) -> None:
    part = recipe.run(arguments(tmp_path, checkout, asdkit_python=asdkit_python(tmp_path)), SMALL)
    assert part is not None
    assert [row[0] for row in part.tables[0].rows] == [
        "recordings → AUC, s", "training, clips/s", "memory at most, GiB",
    ]  # fmt: skip
    assert part.tables[0].rows[1][1] == "41.0 (41.0 – 41.0)"  # 82 training clips in two seconds
    assert all(goal.found[0] > 0 for goal in part.goals)
    called = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    a_round = ["asdkit.bin.label", "asdkit.bin.train"] + 6 * [
        "asdkit.bin.extract", "asdkit.bin.score", "asdkit.bin.evaluate",
    ]  # fmt: skip
    assert [words[0] for words in called] == 2 * a_round
    trainings = [words[-1] for words in called if words[0] == "asdkit.bin.train"]
    assert trainings == ["+trainer.precision=32-true", "+trainer.precision=bf16-mixed"]
    named = sorted((tmp_path / "work" / "recipe" / "formatted" / "dcase2020" / "raw" / "fan" / "train").iterdir())
    assert named[0].name == "section_00_source_train_normal_00000000.wav" and named[0].resolve().is_file()
    assert list((tmp_path / "work" / "recipe" / "ours" / "run" / "evaluations").glob("*/report.json"))


def test_a_command_that_fails_names_its_log(tmp_path: Path, checkout: Path) -> None:
    python = asdkit_python(tmp_path, fails="experiments=default")
    with pytest.raises(UserError, match=r"asdkit.bin.score .* exited with 1: see .*asdkit.log"):
        recipe.run(arguments(tmp_path, checkout, asdkit_python=python), SMALL)


def test_without_a_checkout_it_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe.run(arguments(tmp_path, None)) is None
    assert "recipe: skipped, --asdkit names a checkout" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"it holds no asdkit/bin/train.py"):
        recipe.run(arguments(tmp_path, tmp_path))
