"""CLAP's audio tower: the same tokens as by the package's own feature extractor and model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from asd.backbones import ClapConfig
from asd.backbones.encoders.lora import LoraConfig
from asd.errors import UserError
from tests.support.encoders import borrowing, check_adapters, sound

RATE = 48_000
TOWER = {
    "spec_size": 64, "num_mel_bins": 16, "patch_embeds_hidden_size": 8, "depths": [2, 1, 1], "window_size": 4,
    "num_attention_heads": [2, 2, 2], "hidden_size": 32, "num_hidden_layers": 3,
}  # fmt: skip
TEXT = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 20
}  # fmt: skip


@pytest.fixture(scope="module")
def package() -> Any:
    import transformers

    return transformers


@pytest.fixture(scope="module")
def folders(package: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both kinds that LAION publishes, with the text tower; they hear 1 s."""
    root, found = tmp_path_factory.mktemp("clap"), {}
    for name, fused in (("unfused", False), ("fused", True)):
        torch.manual_seed(0)
        tower = {**TOWER, "enable_fusion": fused}
        model = package.ClapModel(package.ClapConfig(audio_config=tower, text_config=TEXT, projection_dim=8))
        with torch.no_grad():
            for parameter in model.audio_model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            model.audio_model.audio_encoder.batch_norm.running_mean.fill_(-40.0)
            model.audio_model.audio_encoder.batch_norm.running_var.fill_(400.0)
        model.save_pretrained(root / name)
        extractor = package.ClapFeatureExtractor(
            feature_size=16, max_length_s=1, frequency_min=50, truncation="fusion" if fused else "rand_trunc"
        )
        extractor.save_pretrained(root / name)
        found[name] = root / name
    return found


def config(folder: Path, **settings: Any) -> ClapConfig:
    return ClapConfig(weights=str(folder), **{"layers": (1, 2, 3), **settings})


@pytest.mark.parametrize("kind", ["unfused", "fused"])
@pytest.mark.parametrize("samples", [RATE, 20_000, 700])
def test_tokens_are_those_of_transformers(kind: str, samples: int, package: Any, folders: dict[str, Path]) -> None:
    """Whole, repeated and filled up; of fused folders what a clip is that is not longer than the encoder hears."""
    clips = sound(samples)
    heard = package.ClapFeatureExtractor.from_pretrained(folders[kind])(
        list(clips.numpy()), sampling_rate=RATE, return_tensors="pt"
    )
    model = package.ClapModel.from_pretrained(folders[kind]).audio_model.eval()
    longer = torch.zeros(2, 1, dtype=torch.bool)
    network = borrowing(config(folders[kind]))
    with torch.no_grad():
        wanted = model(heard["input_features"].float(), is_longer=longer, output_hidden_states=True)
        found = network.network(clips, (1, 2, 3))
    last = wanted.last_hidden_state  # (B, C, s, f)
    assert found[2].grid.shape == (2, 16, 1, 32)
    assert torch.allclose(found[2].grid, last.permute(0, 3, 2, 1), atol=1e-4)
    assert float(last.std(3).mean()) > 1e-2, "tokens that are all the same would prove little"
    assert torch.allclose(found[2].grid.mean((1, 2)), wanted.pooler_output, atol=1e-4)
    for tokens, maps in zip(found[:2], wanted.hidden_states[1:], strict=False):
        rows = maps.shape[2] // 4
        for part in range(4):  # four quarters of the clip lie one above the other
            quarter = maps[:, :, part * rows : (part + 1) * rows].permute(0, 3, 2, 1)
            assert torch.allclose(tokens.grid[:, part * maps.shape[3] : (part + 1) * maps.shape[3]], quarter, atol=1e-4)


def test_stages_of_several_heights_are_views_of_their_own(folders: dict[str, Path]) -> None:
    network = borrowing(config(folders["unfused"], pool="bands"))
    assert network.embedding_dim == 2 * 16 + 1 * 32 + 1 * 32
    assert [network.views[f"layer_{n}"].bands for n in (1, 2, 3)] == [2, 1, 1]
    assert network(sound(9_000)[:, None, None]).shape == (2, network.embedding_dim)


def test_adapters_learn_and_a_settled_network_needs_no_folder(folders: dict[str, Path]) -> None:
    lora = {"tune": "lora", "lora": LoraConfig(rank=2), "layers": (3,), "pool": "attentive", "project": 8}
    network, clips = borrowing(config(folders["unfused"], **lora)), sound(16_000)[:, None, None]
    check_adapters(network, clips, adapted=8)


def copied(folder: Path, out: Path, tensors: dict[str, torch.Tensor] | None = None, **files: dict[str, Any]) -> Path:
    """A folder with other tensors, or other values in its JSON files."""
    out.mkdir()
    for name in ("config", "preprocessor_config"):
        told = json.loads((folder / f"{name}.json").read_text()) | files.get(name, {})
        (out / f"{name}.json").write_text(json.dumps(told))
    save_file(tensors or load_file(folder / "model.safetensors"), out / "model.safetensors")
    return out


def test_weights_in_torchs_own_format_are_the_same(folders: dict[str, Path], tmp_path: Path) -> None:
    """As laion/clap-htsat-unfused has them."""
    folder, clips = copied(folders["unfused"], tmp_path / "bin"), sound(9_000)[:, None, None]
    wanted = borrowing(config(folder))(clips)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert torch.equal(borrowing(config(folder))(clips), wanted)
    torch.save([1], folder / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"pytorch_model\.bin holds no tensors of a CLAP of transformers: name a folder"
    ):
        borrowing(config(folder))


def test_a_file_that_lacks_tensors_or_has_others_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    tensors = load_file(folders["unfused"] / "model.safetensors")
    name = "audio_model.audio_encoder.norm.bias"
    fewer = {n: tensor for n, tensor in tensors.items() if n != name}
    with pytest.raises(UserError, match=r"backbone clap: it lacks model\.audio_encoder\.norm\.bias: nothing is loaded"):
        borrowing(config(copied(folders["unfused"], tmp_path / "fewer", fewer)))
    with pytest.raises(UserError, match=r"it has left over model\.other\.weight: nothing is loaded"):
        borrowing(config(copied(folders["unfused"], tmp_path / "more", tensors | {"other.weight": torch.zeros(2)})))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"preprocessor_config": {"sampling_rate": 44_100}},
            r"preprocessor_config\.json: sampling_rate: Input should be",
        ),
        (
            {"preprocessor_config": {"padding": "pad"}},
            r"preprocessor_config\.json: padding: Input should be 'repeatpad'",
        ),
        (
            {"config": {"model_type": "bert"}},
            r"holds bert, which is no CLAP of transformers: name a folder such as",
        ),
        (
            {"config": {"audio_config": {"depths": "many"}}},
            r"config\.json is no description of a CLAP|config\.json: depth",
        ),
    ],
)
def test_other_folders_are_refused_in_one_line(
    files: dict[str, Any], said: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said) as error:
        borrowing(config(copied(folders["unfused"], tmp_path / "set", **files)))
    assert "\n" not in str(error.value)


def test_settings_and_clips_that_do_not_fit_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"backbone\.layers=\[4\]: .* has 3 stages"):
        borrowing(config(folders["unfused"], layers=(4,)))
    with pytest.raises(UserError, match=r"has 3 stages, of which tune=lora needs the last"):
        borrowing(config(folders["unfused"], layers=(1,), tune="lora"))
    with pytest.raises(ValueError, match=r"backbone clap is used as it is or with tune=lora"):
        ClapConfig(tune="all")
    with pytest.raises(UserError, match=r"config\.json is no description of a CLAP of transformers"):
        borrowing(config(tmp_path))
    with pytest.raises(UserError, match=r"a clip of 48001 samples is too long for this CLAP, which hears 48000"):
        borrowing(config(folders["unfused"]))(sound(48_001)[:, None, None])
