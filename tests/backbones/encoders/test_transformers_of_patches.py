"""BEATs and EAT against what their authors' code computes with the same small weights.

recorded.json: tokens of the second of two clips (`sound(24_000)`) behind each block, in the order of the authors: from
microsoft/unilm at 768a3c87 (beats), and from the patches, positions and blocks of cwx-worst-one/EAT at 06c1c34e with
tokens as in its `contextualized_features` (eat, where token 0 is that of the whole clip; filled up to 160 frames).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asd.backbones import BeatsConfig, EatConfig
from asd.backbones.encoders.base import EncoderSettings, PretrainedEncoder
from asd.backbones.encoders.eat import grid_positions
from asd.errors import UserError
from tests.support.encoders import (
    DEPTH,
    WIDTH,
    beats_file,
    beats_tensors,
    borrowing,
    eat_folder,
    eat_tensors,
    sound,
)

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text(encoding="utf-8"))
PLACES = [0, 1, 9, 47, 60]  # of the tokens that were recorded
ALL = (1, 2, 3)

Make = Callable[..., EncoderSettings]


def beats(folder: Path, tensors: dict[str, Tensor] | None = None, cfg: Any = None, **settings: Any) -> BeatsConfig:
    return BeatsConfig(weights=str(beats_file(folder, tensors, **(cfg or {}))), **{"layers": (DEPTH,), **settings})


def eat(folder: Path, tensors: dict[str, Tensor] | None = None, cfg: Any = None, **settings: Any) -> EatConfig:
    usual = {"layers": (DEPTH,), "pad_frames": 160}
    return EatConfig(weights=str(eat_folder(folder, tensors, **(cfg or {}))), **{**usual, **settings})


both = pytest.mark.parametrize("make", [beats, eat])


def sequence(network: PretrainedEncoder, waveform: Tensor) -> list[Tensor]:
    """Tokens (B, L, D) of each layer in the order of the authors."""
    found = network.network(waveform, network.config.layers)
    first = [[] if tokens.whole is None else [tokens.whole.unsqueeze(1)] for tokens in found]
    return [torch.cat([*one, tokens.grid.flatten(1, 2)], 1) for one, tokens in zip(first, found, strict=True)]


@both
def test_tokens_are_those_of_the_authors(make: Make, tmp_path: Path) -> None:
    found = sequence(borrowing(make(tmp_path, layers=ALL)), sound(24_000))
    for number, tokens in zip(ALL, found, strict=True):
        wanted = torch.tensor(RECORDED[make.__name__][str(number)])
        assert float((tokens[1, PLACES] - wanted).abs().max()) < 1e-5
        assert float(wanted.std(0).mean()) > 1e-2, "tokens that are all the same would prove little"


@both
def test_a_clip_does_not_hear_its_neighbours(make: Make, tmp_path: Path) -> None:
    network, clips = borrowing(make(tmp_path, pool="bands")), sound(20_000, 3)[:, None, None]
    assert torch.allclose(network(clips)[1:2], network(clips[1:2]), atol=1e-5)


@both
def test_bands_are_views_that_scorers_can_look_into(make: Make, tmp_path: Path) -> None:
    network, clips = borrowing(make(tmp_path, pool="bands", layers=(1, 3))), sound(20_000)
    tokens = network.network(clips, (1, 3))[1].grid  # (B, f, 8, D)
    embedding, view = network(clips[:, None, None]), network.views["layer_3"]
    own = embedding[:, view.first : view.behind].unflatten(1, (-1, view.bands))
    assert view.bands == tokens.shape[2] == 8
    assert torch.allclose(own[:, :, 5], tokens[:, :, 5].mean(1), atol=1e-6)
    assert embedding.shape == (2, network.embedding_dim) == (2, 2 * 8 * WIDTH)


@both
def test_blocks_behind_the_last_layer_are_left_out(make: Make, tmp_path: Path) -> None:
    short, whole = borrowing(make(tmp_path, layers=(2,))), borrowing(make(tmp_path, layers=(2, 3)))
    assert len(short.network.blocks) == 2
    assert torch.equal(short(sound(20_000)[:, None, None]), whole(sound(20_000)[:, None, None])[:, :WIDTH])


@both
def test_layers_that_are_not_there_are_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"backbone\.layers=\[2, 12\]: .* has 3 blocks"):
        borrowing(make(tmp_path, layers=(2, 12)))


@both
def test_a_file_that_lacks_a_block_or_has_one_too_many_is_refused(make: Make, tmp_path: Path) -> None:
    tensors = beats_tensors() if make is beats else eat_tensors()
    fewer = {name: tensor for name, tensor in tensors.items() if "layers.1." not in name and "blocks.1." not in name}
    with pytest.raises(UserError, match=r"does not fit backbone \w+: it lacks blocks\.1\..* more: nothing is loaded"):
        borrowing(make(tmp_path, fewer))
    block = "encoder.layers.7.fc1.weight" if make is beats else "model.blocks.7.fc1.weight"
    with pytest.raises(UserError, match=r"it has left over blocks\.7\.fc1\.weight: nothing"):
        borrowing(make(tmp_path, tensors | {block: torch.zeros(2, 2)}))


@both
def test_the_classifier_of_a_fine_tuned_file_is_left_out(make: Make, tmp_path: Path) -> None:
    if make is beats:
        head = {"predictor.weight": torch.zeros(527, WIDTH), "predictor.bias": torch.zeros(527)}
        tensors, cfg = beats_tensors(), {"finetuned_model": True, "predictor_class": 527}
    else:
        head = {"model.head.weight": torch.zeros(527, WIDTH), "model.fc_norm.bias": torch.zeros(WIDTH)}
        tensors, cfg = eat_tensors(), {"model_variant": "finetune"}
    clips = sound(20_000)[:, None, None]
    plain = borrowing(make(tmp_path))(clips)
    assert torch.equal(borrowing(make(tmp_path, tensors | head, cfg))(clips), plain)


@pytest.mark.parametrize(
    ("make", "cfg", "said"),
    [
        (beats, {"layer_norm_first": True}, r"layer_norm_first=True, where networks with layer_norm_first=False"),
        (beats, {"gru_rel_pos": False}, r"cfg of .*beats\.pt: gru_rel_pos=False, where"),
        (beats, {"encoder_ffn_embed_dim": 0}, r"cfg of .*beats\.pt: encoder_ffn_embed_dim: Input should be greater"),
        (eat, {"patch_size": 8}, r"config\.json: patch_size=8, where networks with patch_size=16 alone are known"),
        (eat, {"embed_dim": "wide"}, r"config\.json: embed_dim: Input should be a valid integer"),
    ],
)
def test_networks_of_another_kind_are_refused(make: Make, cfg: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        borrowing(make(tmp_path, None, cfg))


def test_a_beats_file_without_its_description_is_refused(tmp_path: Path) -> None:
    torch.save(beats_tensors(), tmp_path / "beats.pt")
    with pytest.raises(UserError, match=r"is no checkpoint of BEATs \(it has no cfg and model\): name one"):
        borrowing(BeatsConfig(weights=str(tmp_path / "beats.pt")))
    with pytest.raises(UserError, match=r"backbone beats begins with weights of its authors: name their file"):
        borrowing(BeatsConfig())


def test_an_eat_folder_without_its_description_is_refused(tmp_path: Path) -> None:
    folder = eat_folder(tmp_path)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(UserError, match=r"config\.json is no description of a file of EAT's weights \(no JSON"):
        borrowing(EatConfig(weights=str(folder)))
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors does not exist: name the folder"):
        borrowing(EatConfig(weights=str(folder)))


def test_an_eat_as_it_is_on_the_hub_is_read(tmp_path: Path) -> None:
    """All keys of its config.json and all tensors, as `EATModel.save_pretrained` of the authors' code writes them."""
    described = {
        "architectures": ["EATModel"], "auto_map": {"AutoConfig": "configuration_eat.EATConfig"}, "model_type": "eat",
        "torch_dtype": "float32", "transformers_version": "4.51.3", "patch_size": 16, "stride": 16, "in_chans": 1,
        "mel_bins": 128, "num_classes": 527, "qkv_bias": True, "drop_rate": 0.0, "attn_drop_rate": 0.0,
        "activation_dropout": 0.0, "post_mlp_drop": 0.0, "start_drop_path_rate": 0.0, "end_drop_path_rate": 0.0,
        "layer_norm_first": False, "norm_affine": True, "fixed_positions": True, "img_size": [1024, 128],
    }  # fmt: skip
    positions = {"model.fixed_positional_encoder.positions": grid_positions(768, 8, WIDTH).flatten(0, 1)[None]}
    head = {"model.fc_norm.weight": torch.ones(WIDTH), "model.fc_norm.bias": torch.zeros(WIDTH)}
    head |= {"model.head.weight": torch.zeros(527, WIDTH), "model.head.bias": torch.zeros(527)}
    plain = borrowing(eat(tmp_path))(sound(20_000)[:, None, None])
    for variant, more in (("pretrain", {}), ("finetune", head)):
        cfg = {**described, "model_variant": variant, "max_length": 768}
        found = borrowing(eat(tmp_path, eat_tensors() | positions | more, cfg))
        assert torch.equal(found(sound(20_000)[:, None, None]), plain)


def test_positions_of_an_eat_are_checked(tmp_path: Path) -> None:
    """They are computed; a file may have them, and not others."""
    name, usual = "model.fixed_positional_encoder.positions", grid_positions(80, 8, WIDTH).flatten(0, 1)[None]
    clips = sound(20_000)[:, None, None]
    plain = borrowing(eat(tmp_path))(clips)
    assert torch.equal(borrowing(eat(tmp_path, eat_tensors() | {name: usual}))(clips), plain)
    with pytest.raises(UserError, match=r"positions are not the usual sines and cosines"):
        borrowing(eat(tmp_path, eat_tensors() | {name: usual + 0.1}))


def test_an_eat_fills_short_clips_up_and_refuses_what_is_longer_than_its_positions(tmp_path: Path) -> None:
    network = borrowing(eat(tmp_path, pad_frames=32))
    assert [network.network(sound(t, 1), (3,))[0].grid.shape[1] for t in (400, 5_600, 5_900)] == [2, 3, 3]
    longest = 400 + (80 * 16 - 1) * 160
    assert network(sound(longest, 1)[:, None, None]).isfinite().all()
    with pytest.raises(UserError, match=rf"a clip of {longest + 160} samples is too long .* positions for {longest}:"):
        network(sound(longest + 160, 1)[:, None, None])


@both
def test_bfloat16_is_close(make: Make, tmp_path: Path) -> None:
    network, clips = borrowing(make(tmp_path)), sound(24_000)[:, None, None]
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        rounded = network(clips).float()
    wanted = network(clips)
    assert float((rounded - wanted).abs().max()) < 0.05 * float(wanted.abs().max())
