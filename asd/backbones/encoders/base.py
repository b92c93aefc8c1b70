"""What pre-trained encoders have in common: where their weights are from, what of them learns, and how tokens become an
embedding. Legend: B batch, T samples, S bands, V values of a token, D embedding.

A new encoder is a file with its settings, which read its file of weights, and its network; and its line in
asd/backbones/__init__.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeVar

import pydantic
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asd.backbones.base import Backbone, BackboneSettings, Borrowed, View
from asd.backbones.encoders.lora import LoraConfig, add_adapters, is_adapter, merge_adapters
from asd.backbones.encoders.pooling import AttentiveStatistics, Pool, Tokens, pooled
from asd.errors import UserError
from asd.files.checksum import sha256_of
from asd.files.paths import user_path_text

Size = Annotated[int, pydantic.Field(ge=1, le=65_536)]
Sizes = TypeVar("Sizes", bound=pydantic.BaseModel)
Tune = Literal["none", "lora", "all"]
MAX_LAYERS = 256
Layers = Annotated[
    tuple[Annotated[int, pydantic.Field(ge=1, le=MAX_LAYERS)], ...], pydantic.Field(min_length=1, max_length=64)
]


class EncoderSettings(BackboneSettings, frozen=True):
    """Base of their config classes."""

    takes_waveform: ClassVar[bool] = True
    rate: ClassVar[int] = 16_000  # Hz that the encoder was trained at
    has_whole: ClassVar[bool] = False  # whether there is a token of the whole clip, for pool=cls
    adapts: ClassVar[tuple[str, ...]] = ()  # names of the linear layers that tune=lora puts adapters beside

    name: str
    # the file of the pre-trained weights, or the folder that holds it: docs/encoders.md
    weights: Annotated[str, pydantic.AfterValidator(user_path_text)] | None = None
    sha256: str | None = pydantic.Field(None, pattern="^[0-9a-f]{64}$")  # of that file; filled in at the first start
    # blocks, numbered from 1, whose tokens make the embedding, each a view of it, such as layer_12
    layers: Layers = (12,)
    # of a layer's tokens: mean over time and bands; bands: over time, for scorers that look at each band; cls: the
    # token of the whole clip; attentive: mean and standard deviation with weights that learn
    pool: Pool = "mean"
    project: int | None = pydantic.Field(None, ge=1, le=65_536)  # values of a linear layer behind; null: none
    tune: Tune = "none"  # what of the encoder learns: nothing, adapters (lora), or all of it
    lora: LoraConfig = LoraConfig()
    checkpointing: bool = False  # activations are computed again in the backward pass: less memory, a third more time

    @property
    def sample_rate(self) -> int | None:
        return self.rate

    @pydantic.field_validator("layers")
    @classmethod
    def _ascend(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if any(first >= second for first, second in pairwise(layers)):
            raise ValueError("write them in ascending order, each once")
        return layers

    @pydantic.model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if self.pool == "cls" and not self.has_whole:
            raise ValueError("pool=cls: this encoder has no token of the whole clip: choose mean or bands")
        if self.pool == "attentive" and len(self.layers) > 1:
            raise ValueError("pool=attentive is for one layer: name the last of these alone")
        if self.tune == "lora" and not self.adapts:
            raise ValueError("tune=lora: this encoder has no layers for adapters: choose none or all")
        return self

    def fresh_parts(self) -> str | None:
        if self.tune != "none":
            return f"backbone.tune={self.tune}"
        if self.pool == "attentive":
            return "backbone.pool=attentive"
        return None if self.project is None else f"backbone.project={self.project}"

    def view_names(self) -> tuple[str, ...]:
        """`layer_12` and so on; of a learned pooling or projection no part stands for itself."""
        if self.pool == "attentive" or self.project is not None:
            return ()
        return tuple(f"layer_{number}" for number in self.layers)

    def usual_weights(self) -> Path | None:
        """Where the file lies if no setting says so."""
        return None

    @abstractmethod
    def read(self, path: Path) -> Read:
        """What is in a file of weights. UserError where it is none of this encoder."""

    def with_weights(self) -> tuple[Self, Borrowed]:
        """UserError where there is no file, where it is not what it should be, or where a run began with another."""
        path = self.usual_weights() if self.weights is None else Path(self.weights)
        if path is None:
            raise UserError(
                f"backbone {self.name} begins with weights of its authors: name their file, backbone.weights=FILE "
                "(docs/encoders.md says where it is published)"
            )
        read = self.read(path)
        digest = sha256_of(read.file)
        if self.sha256 not in (None, digest):
            raise UserError(
                f"{read.file} is another file than backbone.sha256 says ({str(self.sha256)[:12]}…, this one has "
                f"{digest[:12]}…): put that one back, or choose another run.dir"
            )
        known = {"weights": str(path), "sha256": digest, **read.sizes}
        return self.model_copy(update=known), Borrowed(str(read.file), read.tensors)

    def settled(self) -> Self:
        """Settings of the same network that has all its weights itself."""
        return self.model_copy(update={"weights": None, "tune": "none", "checkpointing": False})


class Read(NamedTuple):
    """A file of weights, read."""

    file: Path  # that holds the tensors, where the setting may be a folder
    sizes: Mapping[str, Any]  # settings that follow from it
    tensors: Mapping[str, Tensor]  # under the names that our network has for them


def sizes_of(kind: type[Sizes], description: Mapping[str, Any], known: Mapping[str, Any], source: object) -> Sizes:
    """The sizes of a network from what its authors' file says of it.

    UserError where they cannot be, or where the network is of another kind than those that are known.
    """
    for name, value in known.items():
        if description.get(name, value) != value:
            found = str(description[name])[:40]
            raise UserError(f"{source}: {name}={found}, where networks with {name}={value} alone are known here")
    try:
        return kind.model_validate(description)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{source}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


class PretrainedEncoder(Backbone):
    """(B, 1, 1, T) → (B, D): the chosen layers' tokens, pooled, side by side.

    network: (B, T), layer numbers → `Tokens` of each of them. Where it took its weights from a file (`borrow`) they are
    no part of `state_dict`, unless they learn: a checkpoint holds what a run made, and its settings name the file.
    """

    def __init__(self, config: EncoderSettings, network: nn.Module, grids: Sequence[tuple[int, int]]) -> None:
        """grids: (S, V) of each of the chosen layers."""
        super().__init__()
        self.config, self.network = config, network
        for parameter in network.parameters():
            parameter.requires_grad_(config.tune == "all")
        if config.tune == "lora":
            add_adapters(network, config.adapts, config.lora)
        bands = [bands if config.pool == "bands" else 1 for bands, _ in grids]
        widths = [kept * size for kept, (_, size) in zip(bands, grids, strict=True)]
        ends = pairwise(accumulate(widths, initial=0))
        views = zip(config.view_names(), ends, bands, strict=False)
        self.views = {name: View(*end, kept) for name, end, kept in views}
        self.attention = AttentiveStatistics(grids[0][1]) if config.pool == "attentive" else None
        total = sum(widths) * (1 if self.attention is None else 2)
        self.projection = None if config.project is None else nn.Linear(total, config.project)
        self.embedding_dim = config.project or total
        self._borrowed: tuple[str, ...] = ()
        self.register_state_dict_post_hook(_leave_out_borrowed)
        self.register_load_state_dict_pre_hook(_fill_in_borrowed)

    def forward(self, given: Tensor) -> Tensor:
        """(B, 1, 1, T) float32 → (B, D)."""
        layers: list[Tokens] = self.network(given[:, 0, 0], self.config.layers)
        if self.attention is None:
            embedding = torch.cat([pooled(tokens, self.config.pool) for tokens in layers], 1)
        else:
            embedding = self.attention(layers[0].grid.flatten(1, 2))
        return embedding if self.projection is None else self.projection(embedding)

    def train(self, mode: bool = True) -> Self:
        """What does not learn rests, with its running statistics; adapters have no other mode."""
        super().train(mode)
        if self.config.tune != "all":
            self.network.eval()
        return self

    def borrow(self, borrowed: Borrowed) -> None:
        """Take the weights of a file. UserError names what it lacks, what is left over, or what has another shape."""
        own = {name: tensor for name, tensor in self.network.state_dict().items() if not is_adapter(name)}
        given = borrowed.tensors
        shaped = [name for name in own.keys() & given.keys() if own[name].shape != given[name].shape]
        wrong = {"lacks": own.keys() - given.keys(), "has left over": given.keys() - own.keys(), "misshapes": shaped}
        if said := [f"{what} {in_words(names)}" for what, names in wrong.items() if names]:
            raise UserError(
                f"{borrowed.source} does not fit backbone {self.config.name}: it {', '.join(said)}: nothing is loaded"
            )
        self.network.load_state_dict(dict(given), strict=False)
        self._borrowed = () if self.config.tune == "all" else tuple(f"network.{name}" for name in own)

    def settle(self) -> EncoderSettings:
        merge_adapters(self.network)
        self._borrowed = ()
        return self.config.settled()

    def before_last_block(self) -> list[nn.Module]:
        raise UserError(
            f"model.freeze=all_but_last_block is not for backbone {self.config.name}: backbone.tune says what learns"
        )


def in_words(names: Collection[str]) -> str:
    """The first few of some tensors, and how many more there are."""
    few = sorted(names)[:3]
    return ", ".join(few) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def run_block(block: Callable[..., Tensor], again: bool, *inputs: Tensor) -> Tensor:
    """A block's output; again: its activations are not kept for the backward pass, but computed once more."""
    if again and torch.is_grad_enabled():
        return checkpoint(block, *inputs, use_reentrant=False)
    return block(*inputs)


def _leave_out_borrowed(module: nn.Module, state: dict[str, Tensor], prefix: str, _: Any) -> None:
    assert isinstance(module, PretrainedEncoder)
    for name in module._borrowed:
        del state[prefix + name]


def _fill_in_borrowed(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    assert isinstance(module, PretrainedEncoder)
    own = dict(module.network.named_parameters()) | dict(module.network.named_buffers())
    for name in module._borrowed:
        state[prefix + name] = own[name.removeprefix("network.")]
