"""The interface of a backbone: its settings, and the network. Legend: B batch, M bins, F frames, D embedding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Self

import pydantic
from torch import Tensor, nn


class View(NamedTuple):
    """Columns of an embedding, which are (values, bands) in a row: values of each band."""

    first: int
    behind: int  # the last
    bands: int


class Borrowed(NamedTuple):
    """Tensors that a network takes from a user's file."""

    source: str
    tensors: Mapping[str, Tensor]


class BackboneSettings(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Base of the config classes; `name` chooses among them."""

    shows_maps: ClassVar[bool] = False  # whether the network has `forward_map` and `pool`
    takes_waveform: ClassVar[bool] = False  # (B, 1, 1, T), else spectrograms

    @property
    def sample_rate(self) -> int | None:
        """Hz, the only ones that it is for; None: any."""
        return None

    def fresh_parts(self) -> str | None:
        """The setting by which parts have weights that mean nothing until they have learnt; None: there are none."""
        return None

    def with_weights(self) -> tuple[Self, Borrowed | None]:
        """The settings with what their file of weights says, and its tensors; None where a network begins without."""
        return self, None

    def view_names(self) -> tuple[str, ...]:
        """Parts of the embedding that scorers may look at by themselves (`view`): the keys of `Backbone.views`."""
        return ()

    def fixed_frames(self, windowed: bool) -> int | None:
        """The number of frames that every input must have; None: any. windowed: inputs are windows of clips."""
        return None

    def least_frames(self) -> int:
        """The fewest frames of an input."""
        return 1


class Backbone(nn.Module):
    """(B, channels, M, F) → (B, D)."""

    embedding_dim: int
    views: Mapping[str, View] = MappingProxyType({})  # named parts of the embedding

    def before_last_block(self) -> list[nn.Module]:
        """What lies before the last residual block, for model.freeze=all_but_last_block."""
        raise NotImplementedError

    def borrow(self, borrowed: Borrowed) -> None:
        """Take the weights of a file, where the config's `with_weights` gives some."""
        raise NotImplementedError

    def settle(self) -> BackboneSettings | None:
        """From now on it learns no more and has all its weights itself; the settings of such a network where they are
        others than those that it was built by, which is for pre-trained encoders."""
        return None

    def forward_map(self, spectrogram: Tensor) -> Tensor:
        """(B, channels, M, F) → (B, D, m, f), where the config says `shows_maps`."""
        raise NotImplementedError

    def pool(self, maps: Tensor) -> Tensor:
        """(B, D, m, f) → (B, D), where the config says `shows_maps`."""
        raise NotImplementedError


class ReconstructorSettings(pydantic.BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Base of the config classes of networks that reconstruct or predict."""

    takes_waveform: ClassVar[bool] = False  # else spectrograms, or windows of them
    needs_windows: ClassVar[bool] = False

    def fixed_frames(self) -> int | None:
        """The number of frames that every window must have; None: any."""
        return None


class Reconstructor(nn.Module):
    """`forward(x)` is to be compared with `target(x)`, x a spectrogram, a window or a waveform."""

    def target(self, given: Tensor) -> Tensor:
        raise NotImplementedError


def before_last(kind: type[nn.Module], chain: Iterable[nn.Module]) -> list[nn.Module]:
    """The modules of a chain that come before the last one of a kind."""
    modules = list(chain)
    return modules[: max(index for index, module in enumerate(modules) if isinstance(module, kind))]
