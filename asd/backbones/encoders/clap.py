"""CLAP's audio tower, HTS-AT (Wu et al., ICASSP 2023, arXiv 2211.06687), from a folder of LAION as transformers has it.

The package is imported where this encoder is asked for, and nowhere else. Legend: B batch, T samples, F frames, M mel
bands, H × W places of a stage's map, C its channels, f × s tokens in time and frequency.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from asd.backbones.encoders.base import EncoderSettings, Layers, PretrainedEncoder, Read, sizes_of
from asd.backbones.encoders.hub import transformers_package
from asd.backbones.encoders.pooling import Tokens
from asd.backbones.encoders.spectrum import power_spectrum
from asd.errors import UserError
from asd.files.safe_torch import short
from asd.files.weights import read_description, read_weights

WHAT = "CLAP of transformers"
ADVICE = "name a folder such as clap-htsat-unfused, with its weights, config.json and preprocessor_config.json"
FILES = ("model.safetensors", "pytorch_model.bin")  # of which a folder has one
RATE = 48_000  # Hz
OTHERS = ("text_model.", "text_projection.", "audio_projection.", "logit_scale_")  # what a file has beside the tower
FLOOR = 1e-10  # least power, before decibels


class ClapHeard(pydantic.BaseModel, frozen=True):
    """What preprocessor_config.json says."""

    sampling_rate: Literal[48_000]
    padding: Literal["repeatpad"]
    truncation: Literal["fusion", "rand_trunc"]  # fusion: of folders that are called fused
    feature_size: int = pydantic.Field(ge=1, le=512)  # M
    fft_window_size: int = pydantic.Field(ge=16, le=8192)
    hop_length: int = pydantic.Field(ge=1, le=8192)
    max_length_s: int = pydantic.Field(ge=1, le=60)
    frequency_min: float = pydantic.Field(ge=0, le=RATE / 2)
    frequency_max: float = pydantic.Field(gt=0, le=RATE / 2)


class ClapSizes(pydantic.BaseModel, frozen=True):
    """What config.json says of the tower, as far as tokens go by it."""

    depths: tuple[int, ...] = pydantic.Field(min_length=1, max_length=16)  # blocks of each stage
    patch_embeds_hidden_size: int = pydantic.Field(ge=1, le=8192)  # C in front of the first stage
    spec_size: int = pydantic.Field(ge=1, le=4096)  # of the square that a spectrogram is folded into
    num_mel_bins: int = pydantic.Field(ge=1, le=512)
    patch_stride: tuple[int, int] = (4, 4)

    @property
    def folds(self) -> int:
        """Parts of a spectrogram, one after the other in time, that lie one above the other in the square."""
        return self.spec_size // self.num_mel_bins

    def grid(self, stage: int) -> tuple[int, int]:
        """(s, C) behind a stage: each but the last halves the map and doubles its channels."""
        halvings = min(stage, len(self.depths) - 1)
        rows = self.spec_size // self.patch_stride[0] // 2**halvings // self.folds
        return rows, self.patch_embeds_hidden_size * 2**halvings


class ClapConfig(EncoderSettings, frozen=True):
    """Four stages of windowed attention over a mel spectrogram of 10 s at 48 kHz, which shorter clips are repeated to.

    Folders that are called fused hear every clip as they hear short ones. As it is or with tune=lora.
    """

    rate: ClassVar[int] = RATE
    adapts: ClassVar[tuple[str, ...]] = ("query", "value")

    name: Literal["clap"] = "clap"
    layers: Layers = (4,)  # stages, from 1 to 4, whose tokens make the embedding, each a view of it, such as layer_4
    description: str | None = None  # of the tower, as JSON; filled in from the folder
    heard: ClapHeard | None = None  # filled in from the folder

    @pydantic.model_validator(mode="after")
    def _as_it_is_or_with_adapters(self) -> Self:
        if self.tune == "all" or self.checkpointing:
            raise ValueError("backbone clap is used as it is or with tune=lora, and without checkpointing")
        return self

    def least_frames(self) -> int:
        return 1

    def read(self, path: Path) -> Read:
        file, config = next(filter(Path.is_file, map(path.joinpath, FILES)), path / FILES[0]), path / "config.json"
        described = read_description(config, WHAT, ADVICE)
        audio = described.get("audio_config", described)
        if not isinstance(audio, dict) or described.get("model_type") not in ("clap", "clap_audio_model"):
            raise UserError(f"{path} holds {str(described.get('model_type'))[:40]}, which is no {WHAT}: {ADVICE}")
        stages = len(sizes_of(ClapSizes, _full(audio, config), {}, config).depths)
        if self.layers[-1] > stages or (self.tune == "lora" and self.layers[-1] < stages):
            least = "" if self.tune == "none" else ", of which tune=lora needs the last"
            raise UserError(f"backbone.layers={list(self.layers)}: {path} has {stages} stages{least}")
        front = path / "preprocessor_config.json"
        heard = sizes_of(ClapHeard, read_description(front, WHAT, ADVICE), {}, front)
        tree = read_weights(file, WHAT, ADVICE)
        if not isinstance(tree, dict) or not all(isinstance(tensor, Tensor) for tensor in tree.values()):
            raise UserError(f"{file} holds no tensors of a {WHAT}: {ADVICE}")
        # by hand: from_pretrained of the tower alone does not find it in a file of the whole, and makes it up
        tower = {name: tensor for name, tensor in tree.items() if not name.startswith(OTHERS)}
        tensors = {f"model.{name.removeprefix('audio_model.')}": tensor for name, tensor in tower.items()}
        kept = {name: value for name, value in audio.items() if name not in ("id2label", "label2id", "auto_map")}
        return Read(file, {"description": json.dumps(kept, sort_keys=True), "heard": heard}, tensors)


class Clap(PretrainedEncoder):
    """(B, 1, 1, T) → (B, D)."""

    def __init__(self, config: ClapConfig, channels: int, bins: int) -> None:
        if config.description is None or config.heard is None:
            raise ValueError("description is missing")
        network = ClapNetwork(json.loads(config.description), config.heard)
        super().__init__(config, network, [network.sizes.grid(stage) for stage in config.layers])


class ClapNetwork(nn.Module):
    """The spectrogram of repeated clips → stages."""

    def __init__(self, described: dict[str, Any], heard: ClapHeard) -> None:
        super().__init__()
        transformers = transformers_package("clap")
        config = transformers.ClapAudioConfig.from_dict(described)
        self.model, self.sizes = transformers.ClapAudioModel(config), ClapSizes.model_validate(config.to_dict())
        self.longest, self.bank = heard.max_length_s * RATE, DecibelBank(heard)

    def forward(self, waveform: Tensor, layers: Collection[int]) -> list[Tokens]:
        """(B, T) → tokens (B, f, s, C) of each layer. UserError where a clip is longer than the encoder hears."""
        count, samples = waveform.shape
        if samples > self.longest:
            raise UserError(
                f"a clip of {samples} samples is too long for this CLAP, which hears {self.longest}: use shorter "
                "clips, or evaluate.first_s"
            )
        whole = waveform.repeat(1, self.longest // samples)
        spectrogram = self.bank(F.pad(whole, (0, self.longest - whole.shape[1])))
        short_clips = torch.zeros(count, 1, dtype=torch.bool, device=waveform.device)
        found = self.model(spectrogram.unsqueeze(1), is_longer=short_clips, output_hidden_states=True)
        last = len(self.sizes.depths)
        return [
            Tokens(found.last_hidden_state.permute(0, 3, 2, 1) if stage == last else self._unfolded(maps))
            for stage, maps in enumerate(found.hidden_states)
            if stage in layers
        ]

    def _unfolded(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) → (B, f, s, C): what lies one above the other is put one behind the other in time."""
        return maps.unflatten(2, (self.sizes.folds, -1)).permute(0, 2, 4, 3, 1).flatten(1, 2)


class DecibelBank(nn.Module):
    """(B, T) at 48 kHz → (B, F, M) decibels of power, in float32: a Hann window, librosa's triangles (Slaney), of fused
    folders torchaudio's (HTK)."""

    window: Tensor
    bank: Tensor

    def __init__(self, heard: ClapHeard) -> None:
        super().__init__()
        self.hop, points = heard.hop_length, heard.fft_window_size
        norm, scale = (None, "htk") if heard.truncation == "fusion" else ("slaney", "slaney")
        with torch.device("cpu"):  # no weights: they are there also where the rest is a sketch (device meta)
            window = torch.hann_window(points)
            bank = melscale_fbanks(
                points // 2 + 1, heard.frequency_min, heard.frequency_max, heard.feature_size, RATE, norm, scale
            )
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("bank", bank, persistent=False)  # (points / 2 + 1, M)

    def forward(self, waveform: Tensor) -> Tensor:
        with torch.autocast(waveform.device.type, enabled=False):
            power = power_spectrum(waveform.float(), self.window, self.hop)
            return 10 * (power @ self.bank).clamp(min=FLOOR).log10()


def _full(audio: dict[str, Any], config: Path) -> dict[str, Any]:
    """What a folder says of the tower, and the package's defaults for what it does not."""
    try:
        found: dict[str, Any] = transformers_package("clap").ClapAudioConfig.from_dict(audio).to_dict()
    except Exception as error:  # what a wrong description makes the package raise may be anything
        raise UserError(f"{config} is no description of a {WHAT} ({short(error)}): {ADVICE}") from None
    return found
