"""EfficientAT's MobileNetV3 against what its authors' code computes with the same small weights.

recorded.json, efficientat: of the second of two clips (`sound(48_000)`) the maps of stages 1, 4, 9, 15 and 17 at three
places in time and the lowest and highest rows, from fschmid56/EfficientAT at a425fdc8 (front end included).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from asd.backbones import EfficientAtConfig
from asd.backbones.encoders.efficientat import channels_of, rows_of
from asd.errors import UserError
from tests.support.encoders import borrowing, efficientat_file, efficientat_tensors, sound
from tests.support.nets import without_gradient

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))["efficientat"]
LAYERS = tuple(map(int, RECORDED))
CLIPS = sound(20_000)[:, None, None]


def config(folder: Path, tensors: Any = None, **settings: Any) -> EfficientAtConfig:
    return EfficientAtConfig(weights=str(efficientat_file(folder, tensors)), **settings)


def test_maps_are_those_of_the_authors(tmp_path: Path) -> None:
    network = borrowing(config(tmp_path, layers=LAYERS))
    with torch.no_grad():
        found = network.network(sound(48_000), LAYERS)
    for number, tokens in zip(LAYERS, found, strict=True):
        grid, wanted = tokens.grid[1], torch.tensor(RECORDED[str(number)])
        places = grid[[0, len(grid) // 2, len(grid) - 1]][:, [0, -1]].flatten(0, 1)
        assert float((places - wanted).abs().max()) < 1e-5
        assert float(wanted.std(0).mean()) > 1e-2, "places that are all the same would prove little"


def test_a_published_file_of_mn04_has_so_many_tensors() -> None:
    assert len(efficientat_tensors(0.4)) == 312
    assert channels_of(0.4)[-1] == 384
    assert rows_of(128)[-1] == 4


def test_layers_of_several_heights_are_views_of_their_own(tmp_path: Path) -> None:
    network = borrowing(config(tmp_path, pool="bands", layers=(9, 17)))
    tokens = network.network(CLIPS[:, 0, 0], (9, 17))
    embedding = network(CLIPS)
    assert embedding.shape == (2, network.embedding_dim) == (2, 8 * 8 + 4 * 96)
    for own, name in zip(tokens, ("layer_9", "layer_17"), strict=True):
        view = network.views[name]
        rows = embedding[:, view.first : view.behind].unflatten(1, (-1, view.bands))
        assert view.bands == own.grid.shape[2]
        assert torch.allclose(rows, own.grid.mean(1).transpose(1, 2), atol=1e-6)


def test_stages_behind_the_last_layer_are_left_out(tmp_path: Path) -> None:
    short, whole = (borrowing(config(tmp_path, layers=layers)) for layers in ((9,), (9, 17)))
    assert len(short.network.features) == 9
    assert torch.equal(short(CLIPS), whole(CLIPS)[:, :8])


def test_all_of_it_can_learn(tmp_path: Path) -> None:
    network = borrowing(config(tmp_path, tune="all", pool="attentive", project=4, checkpointing=True)).train()
    network(CLIPS).square().sum().backward()
    assert without_gradient(network) == []


def test_the_shortest_clip_gives_a_token(tmp_path: Path) -> None:
    own = config(tmp_path)
    assert borrowing(own)(sound(own.least_frames(), 1)[:, None, None]).isfinite().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("features.3.block.1.0.weight"), r"it lacks features\.3\.layers\.1\.0\.weight: nothing is"),
        (lambda t: t.update({"features.5.block.2.conc_se_layers.1.fc1.bias": torch.zeros(8)}), r"it has left over fea"),
        (lambda t: t.update({"features.16.0.weight": torch.zeros(123, 16, 1, 1)}), r"123 channels .* mn01 to mn40"),
        (lambda t: t.update({"classifier.0.weight": torch.zeros(1)}), r"with a fully convolutional classifier"),
        (lambda t: t.clear(), r"mn01_as\.pt is no state dict of EfficientAT's MobileNetV3: name one that its authors"),
    ],
)  # fmt: skip
def test_other_networks_are_refused_in_one_line(change: Any, said: str, tmp_path: Path) -> None:
    tensors = efficientat_tensors()
    change(tensors)
    tensors = tensors or {"else": torch.zeros(1)}
    with pytest.raises(UserError, match=said) as error:
        borrowing(config(tmp_path, tensors))
    assert "\n" not in str(error.value)


def test_layers_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match=r"this encoder has layers 1 to 17"):
        EfficientAtConfig(layers=(18,))
