"""Configs from another person: refused in one line, in little memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.commands.open_run import load_run
from asd.config.load import load_config
from tests.support.hostile import ROOT, files_in, refused

LAUGH = "a0: &a0 [ha, ha]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: !!python/object/apply:os.system ['touch victim']", "is not yaml"),
        ("train: !!python/object/new:subprocess.Popen [['touch', victim]]", "is not yaml"),
        ("train: !!python/name:os.system", "is not yaml"),
        ("train: " + "[" * 1_500, "is not yaml"),
        ("train: " + "{a: " * 2000 + "}" * 2000, "is not yaml"),
        ("train: {seed: " + "9" * 5000 + "}", "train.seed=inf"),
        ("train: {? [1, 2] : 3}", "is not yaml"),
        ("train: !!binary x", "is not yaml"),
        (LAUGH, "unknown key a0"),
        (LAUGH + "train: *a39\n", "train"),
        ("evaluate: {scorers: *x}\n", "is not yaml"),
        ("<<: [1]\n", "is not yaml"),
        ("1: 2\n", "1"),
        ("train: {" + "x" * 1_000 + ": 1}", "unknown key train.xxx"),
        ("distributed: {precision: " + "x" * 100_000 + "}", "distributed.precision=xxx"),
        ("train: {1: 2}\n", "train"),
        ("? ''\n: 1\n", ""),
    ],
    ids=range(17),
)
def test_a_hostile_config_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Also as the config of a run folder."""
    path = tmp_path / "config.yaml"
    path.write_text((ROOT / "configs" / "demo.yaml").read_text() + "\n" + text)
    before = files_in(ROOT / "asd") | files_in(tmp_path)
    refused(lambda: load_config(path), said)
    refused(lambda: load_run(tmp_path), said)
    assert files_in(ROOT / "asd") | files_in(tmp_path) == before
    assert not Path("victim").exists()
