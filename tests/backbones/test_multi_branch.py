"""The multi-branch network: sizes layer by layer, magnitudes against numpy, and the numbers of ASDKit's own code."""

from __future__ import annotations

import math

import numpy as np
import pydantic
import pytest
import torch
from torch import Tensor, nn

from asd.backbones import build_backbone
from asd.backbones.multi_branch import Block, MultiBranch, MultiBranchConfig, SpectrogramBranch
from asd.errors import UserError
from asd.losses import SubClusterAdaCosConfig, build_loss
from tests.support.nets import count, without_gradient

TEN_S = 160_000
SMALL = MultiBranchConfig(n_fft=(128, 256), fft_samples=None, width=16)
BINS = {256: 125, 1024: 500, 4096: 1997}  # from 200 to 8000 Hz
# of clips of ten seconds: the stem's maps, then those behind each stage (channels, h, f)
MAPS = {
    256: [(16, 29, 311), (16, 29, 311), (32, 15, 156), (64, 8, 78), (128, 4, 39)],
    1024: [(16, 123, 76), (16, 123, 76), (32, 62, 38), (64, 31, 19), (128, 16, 10)],
    4096: [(16, 497, 18), (16, 497, 18), (32, 249, 9), (64, 125, 5), (128, 63, 3)],
}


def network_of(config: MultiBranchConfig = SMALL) -> MultiBranch:
    torch.manual_seed(0)
    network = build_backbone(config, 1, 1)
    assert isinstance(network, MultiBranch)
    return network


def noise(clips: int, samples: int = 8_000, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(clips, 1, 1, samples, generator=torch.Generator().manual_seed(seed))


def spectrogram_size(last_bins: int) -> int:
    """Counted from the recipe: 7x7, two blocks of four stages, squeeze and excitation by 16, one layer; no biases."""
    total, inner = 49 * 16, 16
    for outer in (16, 32, 64, 128):
        shortcut = 0 if inner == outer else inner * outer
        total += shortcut + 9 * inner * outer + 9 * outer * outer + 2 * outer * (outer // 16)
        total += 18 * outer * outer + 2 * outer * (outer // 16)
        inner = outer
    return total + 128 * last_bins * 128


def spectrum_size() -> int:
    filters = 128 * 256 + 128 * 128 * 64 + 128 * 128 * 16 + 3 * 2 * 128 * 8
    return filters + 6 * 128 * 128 + 5 * 128 * 128  # six values of each channel are left of ten seconds


def test_the_branches_have_the_sizes_of_the_recipe():
    branches = {n_fft: spectrogram_size(MAPS[n_fft][-1][1]) for n_fft in BINS}
    with torch.device("meta"):
        whole, small, alone = (
            build_backbone(MultiBranchConfig(**settings), 1, 1)
            for settings in ({}, {"n_fft": (1024,)}, {"n_fft": (1024,), "fft_samples": None})
        )
    assert count(whole) == sum(branches.values()) + spectrum_size() == 5_000_432
    assert count(small) == branches[1024] + spectrum_size() == 2_495_568
    assert count(alone) == branches[1024] == 965_712
    assert [n.embedding_dim for n in (whole, small, alone)] == [512, 256, 128]
    affine = [m for m in whole.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.affine]
    biased = [m for m in whole.modules() if getattr(m, "bias", None) is not None]
    assert affine == biased == []


@pytest.mark.parametrize("n_fft", BINS)
def test_maps_have_the_sizes_of_the_recipe(n_fft):
    branch = SpectrogramBranch(MultiBranchConfig(), n_fft)
    seen: list[tuple[int, ...]] = []
    for layer in (branch.stem, *branch.blocks[1::2]):
        layer.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape[1:])))
    assert branch(torch.zeros(2, TEN_S)).shape == (2, 128)
    assert seen == MAPS[n_fft]
    assert MultiBranchConfig().bins_of(n_fft) == BINS[n_fft]
    assert [block.residual[1].stride for block in branch.blocks] == [(s, s) for s in (1, 1, 2, 1, 2, 1, 2, 1)]


def test_the_whole_spectrum_is_filtered_to_six_values():
    network, seen = network_of(MultiBranchConfig(width=8)), list[tuple[int, ...]]()
    for layer in network.whole.filters:
        if isinstance(layer, nn.Conv1d):
            layer.register_forward_hook(lambda module, args, out: seen.append(tuple(out.shape[1:])))
    network.whole(noise(2, TEN_S)[:, 0, 0])
    assert seen == [(8, 1247), (8, 37), (8, 6)]


@pytest.mark.parametrize("n_fft", [128, 1024])
def test_magnitudes_are_numpys_from_200_hz_on(n_fft):
    branch = SpectrogramBranch(MultiBranchConfig(), n_fft)
    waveform = noise(2)[:, 0, 0]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(waveform.double().numpy(), ((0, 0), (n_fft // 2, n_fft // 2)))
    starts = range(0, padded.shape[1] - n_fft + 1, n_fft // 2)
    frames = np.stack([np.abs(np.fft.rfft(padded[:, s : s + n_fft] * window)) for s in starts], -1)
    kept = np.fft.rfftfreq(n_fft, 1 / 16_000) >= 200
    expected = frames[:, kept] / np.sqrt((window**2).sum())
    np.testing.assert_allclose(branch.magnitudes(waveform).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_each_bin_is_normalised_over_clips_and_frames():
    branch, given = SpectrogramBranch(SMALL, 128), list[Tensor]()
    branch.stem.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    branch(noise(4)[:, 0, 0] * torch.tensor([0.1, 1, 2, 5])[:, None])
    assert given[0].shape[1] == 1
    by_bin = given[0][:, 0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(by_bin.mean(1), torch.zeros(len(by_bin)), rtol=0, atol=1e-4)
    torch.testing.assert_close(by_bin.var(1, correction=0), torch.ones(len(by_bin)), rtol=1e-2, atol=0)


@pytest.mark.parametrize("samples", [1_280, 5_000, 8_001, 40_000])
def test_takes_clips_of_any_length_without_the_whole_spectrum(samples):
    embedding = network_of().eval()(noise(2, samples))
    assert embedding.shape == (2, 32)
    assert embedding.isfinite().all()


def test_a_clip_that_is_too_short_is_refused():
    with pytest.raises(UserError, match=r"1279 samples is too short for n_fft=256 of backbone multi_branch, .*1280"):
        network_of()(noise(2, 1_279))


def test_the_whole_spectrum_takes_one_length():
    network = network_of(SMALL.model_copy(update={"fft_samples": 70_014}))
    assert network.eval()(noise(2, 70_014)).shape == (2, 48)
    with pytest.raises(UserError, match=r"70015 samples does not fit a network for 70014: set data\.crop_s and eval"):
        network(noise(2, 70_015))
    assert network_of().branches[0].power.config.hop == 64


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fft_samples": 70_013}, "fft_samples=70013 is too short for the filters over its spectrum, which need 70014"),
        ({"max_period": 2}, "max_period=2 leaves n_fft=256 1 bins, where 11 are needed"),
        ({"n_fft": ()}, "at least 1 item"),
        ({"n_fft": (32,)}, "greater than or equal to 64"),
        ({"width": 20}, "multiple of 8"),
        ({"norm": "group"}, "'batch' or 'sync'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(pydantic.ValidationError, match=said):
        MultiBranchConfig(**settings)


@pytest.mark.parametrize("norm", ["batch", "sync"])
@pytest.mark.parametrize("samples", [None, 70_014])
def test_every_parameter_learns(norm, samples):
    """DDP waits for ever for a gradient that never comes. The one hidden value of a squeeze may rest in its ReLU."""
    network = network_of(SMALL.model_copy(update={"norm": norm, "fft_samples": samples}))
    embedding = network(noise(6, samples or 8_000))
    (embedding * torch.randn(embedding.shape)).sum().backward()
    assert [name for name in without_gradient(network) if "weigh" not in name] == []
    assert all(p.grad is not None for p in network.parameters())


def test_an_embedding_does_not_depend_on_its_batch_mates():
    network = network_of()
    network(3 * noise(8, seed=1))  # running statistics other than 0 and 1
    network.eval()
    clips = noise(5)
    together, alone = network(clips), torch.cat([network(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.01 * together.abs().mean()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_is_finite_and_near_in_half_precision(kind):
    """Also a tone of full scale, whose magnitude of 80,000 float16 cannot hold."""
    network = network_of(SMALL.model_copy(update={"fft_samples": 80_000}))
    tone = 0.99 * torch.sin(2 * math.pi * 1000 / 16_000 * torch.arange(80_000)).view(1, 1, 1, -1)
    clips = torch.cat([tone, noise(5, 80_000)])
    expected = network(clips)
    with torch.autocast("cpu", kind):
        embedding = network(clips)
    embedding.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert (embedding.float() - expected).norm() < 0.1 * expected.norm()


def test_channels_last_gives_the_same():
    network, clips = network_of().eval(), noise(3)
    expected = network(clips)
    torch.testing.assert_close(network.to(memory_format=torch.channels_last)(clips), expected, rtol=1e-3, atol=1e-5)


def test_what_lies_before_the_last_block_is_all_but_that_and_the_layers_behind():
    network = network_of(SMALL.model_copy(update={"fft_samples": 70_014}))
    resting = {p for module in network.before_last_block() for p in module.parameters()}
    learning = {name for name, p in network.named_parameters() if p not in resting}
    last = {name for name, _ in network.named_parameters() if name.startswith(("branches.0.blocks.7", "branches.1.b"))}
    assert {n.rpartition(".")[0] for n in learning if n.startswith("branches.0.project")} == {"branches.0.project.1"}
    assert {n for n in learning if n.startswith("branches.0.blocks")} == {n for n in last if "branches.0" in n}
    assert {n.split(".")[1] for n in learning if n.startswith("whole")} == {"layers"}
    assert all(isinstance(branch.blocks[7], Block) for branch in network.branches)


# The numbers of TakuyaFujimura/dcase-asd-toolkit at commit ed27d82f, its MultiResNet and SCAdaCos (trainable, not
# dynamic) with these weights, these sounds and this batch, in training: every 64th value of two clips, and the loss.
ASDKIT = {
    (256, 1024, 4096): (
        [
            [-0.048507, 0.057480, -0.914949, -0.028629, -0.779649, 0.304187, -0.206343, -0.139441],
            [-0.189199, 0.249731, 0.154913, -0.549489, 0.087471, -0.029096, 0.121320, -0.056416],
        ],
        1.651333,
    ),
    (1024,): (
        [[-0.048507, 0.057480, 0.302509, 0.442289], [-0.189199, 0.249731, -0.357108, -0.507925]],
        1.560879,
    ),
}


def fill(module: nn.Module) -> None:
    """Weights by a formula, in the order of the parameters."""
    for index, p in enumerate(module.parameters()):
        n = torch.arange(p.numel(), dtype=torch.float64)
        values = torch.sin(0.7 * n + index) * torch.cos(0.013 * n + 2 * index) * 1.5 / math.sqrt(p[0].numel())
        p.data.copy_(values.view(p.shape))


def sounds() -> Tensor:
    """(4, 160,000): three partials of four speeds, and a chirp."""
    t, speed = torch.arange(TEN_S, dtype=torch.float64) / 16_000, torch.arange(4, dtype=torch.float64)[:, None]
    partials = ((0.1, 220.0), (0.05, 997.0), (0.03, 3100.0))
    tones = sum(a * torch.sin(2 * math.pi * f * t * (1 + 0.1 * speed)) for a, f in partials)
    return (tones + 0.02 * torch.sin(2 * math.pi * (300 + 40 * speed) * t * t)).float()


@pytest.mark.parametrize("n_fft", ASDKIT)
def test_embeddings_and_loss_are_asdkits(n_fft):
    network = network_of(MultiBranchConfig(n_fft=n_fft))
    loss = build_loss(SubClusterAdaCosConfig(), network.embedding_dim, 5)
    fill(network)
    fill(loss)
    embedding = network(sounds()[:, None, None])
    values, mean = ASDKIT[n_fft]
    torch.testing.assert_close(embedding[:2, ::64], torch.tensor(values), rtol=0, atol=2e-5)
    first, second, weight = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 1, 0, 2]), torch.tensor([0.3, 1.0, 0.8, 0.5])
    assert loss(embedding, first, second, weight).mean().item() == pytest.approx(mean, abs=1e-5)
