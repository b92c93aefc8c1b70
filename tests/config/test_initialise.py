"""Where a training's first weights come from: the checkpoint that a former run chose, or the published TASTgram-MFN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from asd.config.initialise import initialise_from
from asd.config.load import dump_yaml, load_config
from asd.errors import UserError
from asd.evaluate.store import EVALUATION_FILE
from asd.run_folder import checkpoint
from asd.run_folder.checkpoint import Payload
from asd.run_folder.paths import RunFolder
from asd.tasks.base import Task
from asd.tasks.build import build_task
from asd.tasks.published import CLASSES

ROOT = Path(__file__).parents[2]
PAPER = ROOT / "configs" / "tastgram_noisy_arcmix_paper.yaml"
CP_RESNET = ROOT / "configs" / "cpjku_classification.yaml"
TINY = ROOT / "tests" / "support" / "tiny.yaml"
OURS = sorted(CLASSES)  # capitals first, as a packed set has them
NORM = ("running_mean", "running_var", "weight", "bias")


def run_of(root: Path, monkeypatch: pytest.MonkeyPatch, select: str = "clean") -> Path:
    """A run with checkpoints at steps 1, 2 and 3, whose weights are the number of the step."""
    folder = RunFolder(root)
    for step in (1, 2, 3):
        model = {name: torch.full_like(tensor, step) for name, tensor in nn.Linear(2, 3).state_dict().items()}
        meta = {"step": step, "epoch": 1.0, "world_size": 1}
        checkpoint.save(folder.checkpoints, step, Payload(model, {}, None, {}, meta, ""))
    folder.config.write_text(dump_yaml(load_config(TINY, [f"evaluate.select={select}"])))
    monkeypatch.setattr("asd.config.initialise.best_step", lambda run, rule: {"clean": 2, "oracle": 1, "last": 3}[rule])
    return root


@pytest.mark.parametrize(
    ("which", "select", "step"),
    [("best", "clean", 2), ("best", "oracle", 1), ("best", "last", 3), ("last", "clean", 3)],
)
def test_a_run_gives_the_checkpoint_that_its_own_rule_chose(tmp_path, monkeypatch, which, select, step):
    task = nn.Linear(2, 3)
    told = initialise_from(task, str(run_of(tmp_path, monkeypatch, select)), which, ())
    assert (task.weight == step).all()
    assert f"step_{step:08d}, the {'best by its own rule' if which == 'best' else 'newest'}" in told
    assert told.endswith("; newly initialised: none")


def test_a_run_that_was_never_evaluated_gives_its_newest(tmp_path, monkeypatch):
    root = run_of(tmp_path, monkeypatch)
    monkeypatch.setattr("asd.config.initialise.best_step", lambda run, rule: None)
    task = nn.Linear(2, 3)
    assert "step_00000003, the newest" in initialise_from(task, str(root), "best", ())
    assert (task.weight == 3).all()


def test_a_checkpoint_is_taken_as_it_is_and_a_best_one_that_is_gone_is_named(tmp_path, monkeypatch):
    root, task = run_of(tmp_path, monkeypatch), nn.Linear(2, 3)
    initialise_from(task, str(root / "checkpoints" / "step_00000001"), "best", ())
    assert (task.weight == 1).all()
    monkeypatch.setattr("asd.config.initialise.best_step", lambda run, rule: 9)
    with pytest.raises(UserError, match=r"its best checkpoint \(step 9\) is missing: .* init_checkpoint=last"):
        initialise_from(task, str(root), "best", ())


class Former(NamedTuple):
    """A network of two classes with all weights 2, as saved by a run with these names."""

    path: Path
    task: Task
    rows: set[str]


HEADS = {
    "loss={name: arcface, sub_centres: 2}": {"loss.centres"},
    "loss={name: softmax}": {"loss.classifier.weight", "loss.classifier.bias"},
    "loss={name: softmax, hidden: 2}": {"loss.classifier.2.weight", "loss.classifier.2.bias"},
    "loss={name: softmax, norm: batch}": {
        "loss.classifier.0.weight",
        *(f"loss.classifier.1.{name}" for name in (*NORM, "num_batches_tracked")),
    },
}


def former_of(head: str, root: Path, names: list[str] | None) -> Former:
    config = load_config(CP_RESNET if "norm" in head else TINY, [head])
    task = build_task(config, 0, 16_000, 2)
    model = {name: torch.full_like(tensor, 2) for name, tensor in task.state_dict().items()}
    meta = {"step": 1, "epoch": 1.0, "world_size": 1} | ({} if names is None else {"classes": names})
    path = checkpoint.save(root, 1, Payload(model, {}, None, {}, meta, ""))
    return Former(path, task, HEADS[head])


@pytest.mark.parametrize("head", HEADS)
def test_class_centres_of_other_machines_stay_fresh(tmp_path, head):
    path, task, rows = former_of(head, tmp_path, ["fan/00", "fan/02"])
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    told = initialise_from(task, str(path), "best", ["pump/00", "pump/02"])
    assert told.endswith(f"; newly initialised: {', '.join(sorted(rows))}; its classes are others")
    for name, tensor in task.state_dict().items():
        assert tensor.equal(before[name]) if name in rows else (tensor == 2).all(), name


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("names", [["fan/00", "fan/02"], None], ids=["named", "of an older version"])
def test_class_centres_of_the_same_machines_are_taken(tmp_path, head, names):
    path, task, _ = former_of(head, tmp_path, names)
    told = initialise_from(task, str(path), "best", ["fan/00", "fan/02"])
    assert told.endswith(
        "; newly initialised: none" + ("; the names of its classes are unknown" if names is None else "")
    )
    assert all((tensor == 2).all() for tensor in task.state_dict().values())


class Block(nn.Module):
    def __init__(self, inner: int, outer: int, kernel, groups: int = 1, linear: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, kernel, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outer)
        if not linear:
            self.prelu = nn.PReLU(outer)


class Bottleneck(nn.Module):
    def __init__(self, inner: int, hidden: int, outer: int) -> None:
        super().__init__()
        wide = nn.Conv2d(hidden, hidden, 3, groups=hidden, bias=False)
        self.conv = nn.Sequential(
            nn.Conv2d(inner, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.PReLU(hidden),
            wide, nn.BatchNorm2d(hidden), nn.PReLU(hidden),
            nn.Conv2d(hidden, outer, 1, bias=False), nn.BatchNorm2d(outer),
        )  # fmt: skip


def published() -> dict[str, Tensor]:
    """Tensors of the published shapes under the published names, all of them random."""
    torch.manual_seed(5)
    net = nn.Module()
    net.arcface = nn.Linear(128, 41, bias=False)
    net.tgramnet, net.mobilefacenet = nn.Module(), nn.Module()
    net.tgramnet.conv_extrctor = nn.Conv1d(1, 128, 1024, 512, bias=False)
    rounds = [[nn.LayerNorm(313), nn.LeakyReLU(0.2), nn.Conv1d(128, 128, 3, bias=False)] for _ in range(3)]
    net.tgramnet.conv_encoder = nn.Sequential(*(nn.Sequential(*layers) for layers in rounds))
    face = net.mobilefacenet
    face.conv1, face.dw_conv1 = Block(3, 64, 3), Block(64, 64, 3, groups=64)
    widths = [(64, 2), (128, 2), (128, 4), (128, 4), (128, 4), (128, 4)]
    face.blocks = nn.Sequential(*(Bottleneck(inner, inner * t, 128) for inner, t in widths))
    face.conv2 = Block(128, 512, 1)
    face.linear7 = Block(512, 512, (8, 20), groups=512, linear=True)
    face.linear1 = Block(512, 128, 1, linear=True)
    face.fc_out = nn.Linear(128, 41)
    tensors = net.state_dict()
    return {name: torch.rand_like(t) + 0.5 if t.is_floating_point() else t for name, t in tensors.items()}


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return published()


def paper(classes: int = 41) -> Task:
    return build_task(load_config(PAPER), 0, 16_000, classes)


@pytest.mark.parametrize("prefix", ["", "module."], ids=["one process", "DDP"])
def test_published_tensors_map_one_to_one(tensors, tmp_path, prefix):
    torch.save({prefix + name: tensor for name, tensor in tensors.items()}, tmp_path / "model.pth")
    task = paper()
    told = initialise_from(task, str(tmp_path / "model.pth"), "best", OURS)
    assert told.endswith("newly initialised: none; left over: mobilefacenet.fc_out.weight, mobilefacenet.fc_out.bias")
    assert len(tensors) == 166
    assert len(task.state_dict()) == 164
    own = sorted(float(t.double().sum()) for t in task.state_dict().values())
    theirs = sorted(float(t.double().sum()) for name, t in tensors.items() if "fc_out" not in name)
    assert own == pytest.approx(theirs)  # each of their tensors is one of ours


def test_the_embedding_is_what_the_published_network_computes_from_these_tensors(tensors, tmp_path):
    torch.save(tensors, tmp_path / "model.pth")
    task = paper().eval()
    initialise_from(task, str(tmp_path / "model.pth"), "best", OURS)
    maps = 0.1 * torch.randn(2, 3, 128, 313, generator=torch.Generator().manual_seed(1))

    def block(x: Tensor, name: str, bn: str, prelu: str | None, stride=1, padding=0) -> Tensor:
        weight = tensors[f"mobilefacenet.{name}.weight"]
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        x = nn.functional.conv2d(x, weight, None, stride, padding, 1, groups)
        mean, var, scale, shift = (tensors[f"mobilefacenet.{bn}.{k}"].view(1, -1, 1, 1) for k in NORM)
        x = (x - mean) / (var + 1e-5).sqrt() * scale + shift
        return x if prelu is None else nn.functional.prelu(x, tensors[f"mobilefacenet.{prelu}.weight"])

    x = block(maps, "conv1.conv", "conv1.bn", "conv1.prelu", 2, 1)
    x = block(x, "dw_conv1.conv", "dw_conv1.bn", "dw_conv1.prelu", 1, 1)
    for number in range(6):
        stride, at = 2 if number % 2 == 0 else 1, f"blocks.{number}.conv"
        y = block(x, f"{at}.0", f"{at}.1", f"{at}.2")
        y = block(y, f"{at}.3", f"{at}.4", f"{at}.5", stride, 1)
        y = block(y, f"{at}.6", f"{at}.7", None)
        x = y if stride == 2 else x + y
    x = block(x, "conv2.conv", "conv2.bn", "conv2.prelu")
    x = block(x, "linear7.conv", "linear7.bn", None)
    x = block(x, "linear1.conv", "linear1.bn", None).flatten(1)
    with torch.no_grad():
        torch.testing.assert_close(task.encoder.backbone(maps), x, rtol=1e-3, atol=1e-3)
    state = task.state_dict()
    assert state["encoder.frontend.tgram.filters.weight"].equal(tensors["tgramnet.conv_extrctor.weight"])
    for number in range(3):
        for key in ("0.weight", "0.bias", "2.weight"):
            ours = state[f"encoder.frontend.tgram.layers.{number}.{key}"]
            assert ours.equal(tensors[f"tgramnet.conv_encoder.{number}.{key}"])


@pytest.mark.parametrize("classes", [OURS, ["fan/00", "fan/06"], ["ToyCar/07", "valve/06"]], ids=len)
def test_class_centres_are_found_by_name(tensors, tmp_path, classes):
    torch.save(tensors, tmp_path / "model.pth")
    task = paper(len(classes))
    initialise_from(task, str(tmp_path / "model.pth"), "best", classes)
    published_order = [
        f"{m}/{i:02}"
        for m in ("fan", "pump", "slider", "ToyCar", "ToyConveyor", "valve")
        for i in (range(1, 8) if m == "ToyCar" else range(1, 7) if m == "ToyConveyor" else range(7))
    ]
    for row, name in enumerate(classes):
        assert task.loss.centres[row].equal(tensors["arcface.weight"][published_order.index(name)])


def test_centres_of_machines_that_were_not_published_stay_fresh(tensors, tmp_path):
    torch.save(tensors, tmp_path / "model.pth")
    told = initialise_from(paper(2), str(tmp_path / "model.pth"), "best", ["fan/00", "press/1"])
    assert "newly initialised: loss.centres; left over: arcface.weight, " in told


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], {"tgramnet.conv_extrctor.weight": "words"}])
def test_other_files_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text(json.dumps({EVALUATION_FILE: 1}))
    for name in ("other.pth", "text.pth"):
        with pytest.raises(UserError, match="state dict of the published TASTgram-MFN"):
            initialise_from(nn.Linear(2, 3), str(tmp_path / name), "best", ())
