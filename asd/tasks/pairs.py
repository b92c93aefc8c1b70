"""Pairs of clips and their mixtures, which both steps of S5 learn from.

Legend: N pairs of this rank, T samples, P windows of a clip, C channels, M bins.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from asd.augment.mixup import MixupInput
from asd.data.batch import Batch, to_float
from asd.tasks.encoder import Encoder


def branches(
    encoder: Encoder, batch: Batch, first: slice, second: slice, weight: Tensor, mixed: MixupInput
) -> list[Tensor]:
    """The windows of the first and the second clips and of their mixtures, (N, P, C, M, frames) three times.

    first, second: which rows of the batch they are; weight: λ (N,) of the first. mixed="spectrogram": the windows are
    mixed, each from its own place in its clip; "waveform": the clips are mixed, and all three are cut at one place.
    """
    clips = [batch.waveform[first], batch.waveform[second]]
    index = [batch.clip_index[first], batch.clip_index[second]]
    if mixed == "waveform":
        sounds = [to_float(clip) for clip in clips]
        sounds.append(torch.lerp(sounds[1], sounds[0], weight[:, None]))
        spectrogram, index = encoder.frontend(torch.cat(sounds)), [index[0]] * 3
    else:
        spectrogram = encoder.frontend(to_float(torch.cat(clips)))
    places = encoder.places(spectrogram, replace(batch, clip_index=torch.cat(index)))
    pieces = list(encoder.cut(spectrogram, places).split(len(weight)))
    if mixed == "spectrogram":
        pieces.append(torch.lerp(pieces[1], pieces[0], weight.view(-1, 1, 1, 1, 1)))
    return pieces
