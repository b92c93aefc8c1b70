"""Folders of transformers: the same tokens as by the package's own feature extractor and model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from asd.backbones import HubConfig
from asd.backbones.encoders.lora import LoraConfig
from asd.errors import UserError
from tests.support.encoders import borrowing, check_adapters, sound

SHARED = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.fixture(scope="module")
def package() -> Iterator[Any]:
    import transformers

    yield transformers


@pytest.fixture(scope="module")
def folders(package: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An AST with the classifier that fine-tuned ones have, and a wav2vec 2.0 with the head of its pre-training."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("hub")
    ast = package.ASTConfig(**SHARED, max_length=128, num_mel_bins=64)
    package.ASTForAudioClassification(ast).save_pretrained(root / "ast")
    package.ASTFeatureExtractor(max_length=128, num_mel_bins=64).save_pretrained(root / "ast")
    wav = package.Wav2Vec2Config(
        **SHARED, conv_dim=(8, 8), conv_stride=(80, 4), conv_kernel=(160, 8), num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=4, vocab_size=5,
    )  # fmt: skip
    package.Wav2Vec2ForCTC(wav).save_pretrained(root / "wav2vec2")
    package.Wav2Vec2FeatureExtractor().save_pretrained(root / "wav2vec2")
    return {"ast": root / "ast", "wav2vec2": root / "wav2vec2"}


def config(folder: Path, **settings: Any) -> HubConfig:
    return HubConfig(weights=str(folder), **{"layers": (1, 2), **settings})


def theirs(package: Any, folder: Path, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B, L, D) behind the first block, and the model's own output."""
    heard = package.AutoFeatureExtractor.from_pretrained(folder)(
        list(clips.numpy()), sampling_rate=16_000, return_tensors="pt"
    )
    model = package.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        out = model(heard["input_values"], output_hidden_states=True)
    return out.hidden_states[1], out.last_hidden_state


def test_an_ast_has_the_tokens_of_transformers(package: Any, folders: dict[str, Path]) -> None:
    clips = sound(16_000)
    found = borrowing(config(folders["ast"])).network(clips, (1, 2))
    for tokens, wanted in zip(found, theirs(package, folders["ast"], clips), strict=True):
        patches = wanted[:, 2:].unflatten(1, (5, 12))  # bands, then time
        assert tokens.grid.shape == (2, 12, 5, 16)
        assert torch.allclose(tokens.grid, patches.transpose(1, 2), atol=1e-5)
        assert torch.allclose(tokens.whole, wanted[:, 0], atol=1e-5)


def test_a_wav2vec2_has_the_tokens_of_transformers(package: Any, folders: dict[str, Path]) -> None:
    clips = sound(16_000)
    found = borrowing(config(folders["wav2vec2"])).network(clips, (1, 2))
    for tokens, wanted in zip(found, theirs(package, folders["wav2vec2"], clips), strict=True):
        assert torch.allclose(tokens.grid.squeeze(2), wanted, atol=1e-5)


@pytest.mark.parametrize("kind", ["ast", "wav2vec2"])
def test_adapters_learn_and_a_settled_network_needs_no_folder(kind: str, folders: dict[str, Path]) -> None:
    lora = {"tune": "lora", "lora": LoraConfig(rank=2), "layers": (2,), "pool": "attentive", "project": 8}
    network, clips = borrowing(config(folders[kind], **lora)), sound(16_000)[:, None, None]
    check_adapters(network, clips, adapted=4)


def test_a_folder_that_lacks_tensors_or_has_others_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    tensors = load_file(folders["ast"] / "model.safetensors")
    name = next(name for name in tensors if name.endswith("dense.bias"))
    for file in ("config.json", "preprocessor_config.json"):
        (tmp_path / file).write_bytes((folders["ast"] / file).read_bytes())
    save_file({n: t for n, t in tensors.items() if n != name}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"does not fit its config\.json: it lacks [\w.]+\.bias: nothing is loaded"):
        borrowing(config(tmp_path))
    save_file(tensors | {"other.weight": torch.zeros(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"it has left over other\.weight: nothing is loaded"):
        borrowing(config(tmp_path))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layers": (3,)}, r"backbone\.layers=\[3\]: .* has 2 blocks"),
        ({"layers": (1,), "tune": "lora"}, r"has 2 blocks, of which tune=lora needs the last"),
        ({"pool": "cls"}, r"a wav2vec2 has no token of the whole clip"),
        ({"tune": "all"}, r"is used as it is or with tune=lora"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: Any, said: str, folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=said):
        borrowing(config(folders["wav2vec2"], **settings))


def test_other_models_and_clips_that_are_too_long_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no folder of an encoder of transformers: name a folder with model"):
        borrowing(config(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "num_hidden_layers": 2}))
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds bert at 16000 Hz, where audio-spectrogram-transformer, wav2vec2, hub"):
        borrowing(config(tmp_path))
    with pytest.raises(UserError, match=r"a clip of 32000 samples is too long for this AST, which has positions for"):
        borrowing(config(folders["ast"]))(sound(32_000)[:, None, None])


def test_the_package_is_imported_for_this_backbone_alone() -> None:
    words = "import sys, asd.commands.train; print('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout == "False\n"
