"""eval.py angles: the angles of real runs, with cosines for logits and without, in one picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import eval as evaluation
import train_ddp
from asd.commands.angles import angles_of
from asd.commands.open_run import load_run
from asd.errors import UserError
from asd.evaluate.background import BackgroundScoring
from asd.evaluate.store import read_embeddings
from tests.support.inline import score_inline
from tests.support.launch import TINY

CONFIG = ["--config", str(TINY), "train.epochs=null", "train.steps=2", "distributed.precision=fp32"]


def train(run: Path, shards: Path, *words: str) -> Path:
    assert train_ddp.main([*CONFIG, f"data.shards={shards}", f"run.dir={run}", *words]) == 0
    return run


def test_four_losses_side_by_side(
    small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(BackgroundScoring, "submit", lambda self, step: None)
    plain = train(tmp_path / "softmax", small_set, "loss={name: softmax}")
    margin = train(tmp_path / "arcface", small_set, "loss={name: arcface, margin: 0.5}")
    out = tmp_path / "angles.png"
    assert evaluation.main(["angles", "--runs", str(plain), str(margin), "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr().out
    assert "softmax: mean angle to the own class centre: normal " in told
    assert "arcface: mean angle to the own class centre: normal " in told
    for run in (plain, margin):
        label, angles = angles_of(load_run(run), "best")
        (folder,) = (run / "evaluations").glob("step_*")
        _, manifest, _, _, test = read_embeddings(folder, small_set)
        weights = load_file(next((run / "checkpoints").glob("step_00000002")) / "model.safetensors")
        centres = weights["loss.classifier.weight" if run == plain else "loss.centres"]
        cosine = F.cosine_similarity(test.embedding, centres[test.class_index])
        torch.testing.assert_close(torch.from_numpy(angles).float(), cosine.arccos().rad2deg(), rtol=1e-3, atol=0.05)
        assert label.tolist() == manifest.label[test.clip_index].tolist()


def test_what_has_no_class_centres_is_refused(small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score_inline(monkeypatch)
    for run in (["a/x", "b/x"], ["x", "x"]):
        with pytest.raises(UserError, match="--runs names two runs that are called x"):
            evaluation.main(["angles", "--runs", *run, "--out", "angles.png"])
    with pytest.raises(UserError, match=r"name a file that ends in \.png, in a folder that is there"):
        evaluation.main(["angles", "--runs", "a", "--out", str(tmp_path)])
    run = train(tmp_path / "hidden", small_set, "loss={name: softmax, hidden: 8}")
    with pytest.raises(UserError, match="hidden: its network has no class centres"):
        evaluation.main(["angles", "--runs", str(run), "--checkpoint", "last", "--out", str(tmp_path / "angles.png")])
    assert not (tmp_path / "angles.png").exists()
