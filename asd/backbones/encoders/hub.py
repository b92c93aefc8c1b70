"""Encoders that the package transformers knows, from a folder on this machine: AST, and wav2vec 2.0 with its kin.

The package is imported where such an encoder is asked for, and nowhere else; it fetches nothing and runs no code of the
folder. Legend: B batch, T samples, F frames, L tokens, D values.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asd.backbones.encoders.base import EncoderSettings, PretrainedEncoder, Read, in_words
from asd.backbones.encoders.pooling import Tokens
from asd.errors import UserError
from asd.files.safe_torch import short
from asd.files.weights import read_description
from asd.frontends.kaldi import KaldiBank, samples_for

WHAT = "encoder of transformers"
ADVICE = "name a folder with model.safetensors, config.json and preprocessor_config.json"
AST = "audio-spectrogram-transformer"
OF_WAVEFORMS = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech-sat")
RATE = 16_000  # Hz
# What a file may have beside the encoder: heads that pre-training or a task needed.
HEADS = ("classifier.", "lm_head.", "quantizer.", "project_q.", "project_hid.", "projector.", "final_proj.")
UNUSED = "masked_spec_embed"  # of pre-training, and not in every file


class HubConfig(EncoderSettings, frozen=True):
    """A folder as `save_pretrained` writes it: model.safetensors, config.json, preprocessor_config.json."""

    has_whole: ClassVar[bool] = True
    adapts: ClassVar[tuple[str, ...]] = ("q_proj", "v_proj")

    name: Literal["transformers"] = "transformers"
    description: str | None = None  # of the network and its front end, as JSON; filled in from the folder

    def least_frames(self) -> int:
        return samples_for(1)

    def read(self, path: Path) -> Read:
        file = path / "model.safetensors"
        if not file.is_file():
            raise UserError(f"{path} is no folder of an {WHAT}: {ADVICE}")
        described = {
            "model": read_description(path / "config.json", WHAT, ADVICE),
            "heard": read_description(path / "preprocessor_config.json", WHAT, ADVICE),
        }
        self._check(described, path)
        for labels in ("id2label", "label2id", "auto_map"):
            described["model"].pop(labels, None)
        tensors = {f"model.{name}": tensor for name, tensor in _loaded(path).items() if name != UNUSED}
        return Read(file, {"description": json.dumps(described, sort_keys=True)}, tensors)

    def _check(self, described: dict[str, dict[str, Any]], path: Path) -> None:
        """UserError where the encoder is none that is known here, or does not fit the other settings."""
        kind, layers = described["model"].get("model_type"), described["model"].get("num_hidden_layers")
        rate = described["heard"].get("sampling_rate", RATE)
        if kind not in (AST, *OF_WAVEFORMS) or rate != RATE or not isinstance(layers, int):
            raise UserError(
                f"{path} holds {str(kind)[:40]} at {str(rate)[:20]} Hz, where {AST}, {', '.join(OF_WAVEFORMS)} at "
                f"{RATE} Hz are known here"
            )
        if self.layers[-1] > layers or (self.tune == "lora" and self.layers[-1] < layers):
            least = "" if self.tune == "none" else ", of which tune=lora needs the last"
            raise UserError(f"backbone.layers={list(self.layers)}: {path} has {layers} blocks{least}")
        if self.pool == "cls" and kind != AST:
            raise UserError(f"backbone.pool=cls: a {kind} has no token of the whole clip: choose mean")
        if self.tune == "all" or self.checkpointing:
            raise UserError("backbone transformers is used as it is or with tune=lora, and without checkpointing")


class Hub(PretrainedEncoder):
    """(B, 1, 1, T) → (B, D)."""

    def __init__(self, config: HubConfig, channels: int, bins: int) -> None:
        if config.description is None:
            raise ValueError("description is missing")
        described = json.loads(config.description)
        network = (SpectrogramNetwork if described["model"]["model_type"] == AST else WaveformNetwork)(described)
        super().__init__(config, network, [(network.bands, described["model"]["hidden_size"])] * len(config.layers))


class HubNetwork(nn.Module):
    """What both kinds share: the model, and its tokens (B, L, D) behind a block."""

    bands = 1

    def __init__(self, described: dict[str, dict[str, Any]]) -> None:
        super().__init__()
        transformers = transformers_package()
        self.model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**described["model"]))
        if isinstance(getattr(self.model, UNUSED, None), nn.Parameter):
            setattr(self.model, UNUSED, None)

    def sequences(self, values: Tensor, layers: Collection[int]) -> list[Tensor]:
        found = self.model(values, output_hidden_states=True)
        behind = [*found.hidden_states[:-1], found.last_hidden_state]  # the last with the normalisation behind it
        return [behind[number] for number in layers]


class SpectrogramNetwork(HubNetwork):
    """AST (Gong et al. 2021): patches of a Kaldi spectrogram of fixed length; two tokens of the whole clip."""

    def __init__(self, described: dict[str, dict[str, Any]]) -> None:
        super().__init__(described)
        model, heard = described["model"], described["heard"]
        self.frames, bins = int(model["max_length"]), int(model["num_mel_bins"])
        self.bands = (bins - model["patch_size"]) // model["frequency_stride"] + 1
        self.mean, self.deviation = float(heard.get("mean", -4.2677393)), float(heard.get("std", 4.5689974))
        self.bank = KaldiBank("hanning", bins)

    def forward(self, waveform: Tensor, layers: Collection[int]) -> list[Tokens]:
        """(B, T) → tokens (B, f, s, D) and (B, D) of each layer. UserError where a clip has no positions."""
        spectrogram = self.bank(waveform)
        if spectrogram.shape[1] > self.frames:
            raise UserError(
                f"a clip of {waveform.shape[1]} samples is too long for this AST, which has positions for "
                f"{samples_for(self.frames + 1) - 1}: use shorter clips, or evaluate.first_s"
            )
        filled = F.pad(spectrogram, (0, 0, 0, self.frames - spectrogram.shape[1]))
        found = self.sequences((filled - self.mean) / (2 * self.deviation), layers)
        return [Tokens(x[:, 2:].unflatten(1, (self.bands, -1)).transpose(1, 2), x[:, 0]) for x in found]


class WaveformNetwork(HubNetwork):
    """wav2vec 2.0, HuBERT, WavLM and others: convolutions over the waveform, a token every 20 ms."""

    def __init__(self, described: dict[str, dict[str, Any]]) -> None:
        super().__init__(described)
        self.normalises = bool(described["heard"].get("do_normalize", True))

    def forward(self, waveform: Tensor, layers: Collection[int]) -> list[Tokens]:
        """(B, T) → tokens (B, F, 1, D) of each layer."""
        if self.normalises:
            centred = waveform - waveform.mean(1, keepdim=True)
            waveform = centred / (centred.square().mean(1, keepdim=True) + 1e-7).sqrt()
        return [Tokens(x.unsqueeze(2)) for x in self.sequences(waveform, layers)]


def transformers_package(backbone: str = "transformers") -> Any:
    """The package, which says nothing. UserError where it is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise UserError(f"backbone {backbone} needs a package: pip install -r requirements-encoders.txt")
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _loaded(path: Path) -> dict[str, Tensor]:
    """The encoder's tensors, as transformers names them today. UserError where some are missing, or left over."""
    try:
        model, said = transformers_package().AutoModel.from_pretrained(
            path, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=torch.float32
        )
    except Exception as error:  # what a damaged folder makes the package raise may be anything
        raise UserError(f"{path} is no {WHAT} ({short(error)}): {ADVICE}") from None
    left = [name for name in said["unexpected_keys"] if not name.startswith(HEADS)]
    lacks = [name for name in said["missing_keys"] if name != UNUSED]
    wrong = {"lacks": lacks, "has left over": left, "misshapes": [str(name) for name in said["mismatched_keys"]]}
    if found := [f"{what} {in_words(names)}" for what, names in wrong.items() if names]:
        raise UserError(f"{path} does not fit its config.json: it {', '.join(found)}: nothing is loaded")
    tensors: dict[str, Tensor] = model.state_dict()
    return tensors
