"""WaveNet: a prediction sees the past alone, exactly as far as its receptive field; targets stand where they should."""

from __future__ import annotations

import math

import pytest
import torch

from asd.backbones import SampleWaveNetConfig, WaveNetConfig, build_reconstructor
from asd.errors import UserError
from tests.support.nets import SMALL_SAMPLES, SMALL_WAVENET, count, decibels, without_gradient

FIELD = 1 + 2 * (1 + 2 + 4)  # of the small networks


@pytest.mark.parametrize("config", [SMALL_WAVENET, WaveNetConfig(channels=8, kernel=3, dilations=(1, 3), stacks=2)])
def test_a_prediction_depends_on_its_receptive_field_and_on_nothing_else(config):
    torch.manual_seed(0)
    network = build_reconstructor(config, 1, 6).double()
    field = 1 + config.stacks * (config.kernel - 1) * sum(config.dilations)
    clip = decibels(2, 1, 6, field + 9).double().requires_grad_()
    prediction = network(clip)
    assert prediction.shape == network.target(clip).shape == (2, 1, 6, 9)
    for column in range(9):
        (gradient,) = torch.autograd.grad(prediction[0, ..., column].sum(), clip, retain_graph=True)
        assert not gradient[1].any()
        frames = gradient[0].abs().amax((0, 1)).nonzero().flatten().tolist()
        assert frames == list(range(column, column + field))  # the last is the frame before the predicted one


def test_the_target_is_the_frame_behind_the_receptive_field():
    network, clip = build_reconstructor(SMALL_WAVENET, 1, 6), decibels(2, 1, 6, FIELD + 9)
    assert network.receptive_field == SMALL_WAVENET.receptive_field == FIELD
    assert network.target(clip).equal(clip[..., FIELD:])
    assert not SMALL_WAVENET.takes_waveform


def test_default_receptive_fields():
    assert WaveNetConfig().receptive_field == 1 + 2 * 31 == 63
    assert SampleWaveNetConfig().receptive_field == 1 + 3 * 1023 == 3070


def test_has_the_size_of_its_layers():
    config, bins = WaveNetConfig(), 128
    layer = 2 * 64 * 128 + 128 + 64 * 128 + 128 + 64 * 64 + 64  # gates, skip, residual
    total = bins * 64 + 64 + 10 * layer - (64 * 64 + 64) + 128 * 128 + 128 + 128 * bins + bins
    with torch.device("meta"):
        assert count(build_reconstructor(config, 1, bins)) == total


def test_the_scale_of_decibels_changes_nothing_but_numbers():
    """Shifting and scaling clip and settings alike shifts and scales the prediction."""
    torch.manual_seed(0)
    network = build_reconstructor(SMALL_WAVENET, 1, 6)
    plain = build_reconstructor(SMALL_WAVENET.model_copy(update={"centre_db": 0.0, "spread_db": 1.0}), 1, 6)
    plain.load_state_dict(network.state_dict())
    clip = decibels(2, 1, 6, 30)
    torch.testing.assert_close(network(clip), plain((clip + 40) / 20) * 20 - 40, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_parameter_learns_also_in_bfloat16(channels):
    torch.manual_seed(0)
    network, clips = build_reconstructor(SMALL_WAVENET, channels, 6), decibels(4, channels, 6, 40)
    with torch.autocast("cpu", torch.bfloat16):
        prediction = network(clips)
    (prediction.float() - network.target(clips)).square().mean().backward()
    assert prediction.isfinite().all()
    assert without_gradient(network) == []


def test_channels_last_gives_the_same():
    network, clips = build_reconstructor(SMALL_WAVENET, 3, 6).eval(), decibels(4, 3, 6, 40)
    torch.testing.assert_close(network(clips.to(memory_format=torch.channels_last)), network(clips))


def test_predicts_a_periodic_spectrogram():
    torch.manual_seed(0)
    network = build_reconstructor(SMALL_WAVENET, 1, 4)
    phase = torch.randint(0, 5, (64, 1, 1, 1))
    clips = torch.where((torch.arange(40) + phase) % 5 == 0, -20.0, -60.0).expand(64, 1, 4, 40)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(150):
        optimiser.zero_grad()
        (network(clips) - network.target(clips)).square().mean().backward()
        optimiser.step()
    assert (network(clips) - network.target(clips)).square().mean() < 0.02 * clips.var()


def mu_law(sample: float) -> int:
    """ITU-T G.711 companding with μ = 255, rounded to 256 classes."""
    companded = math.copysign(math.log1p(255 * abs(sample)) / math.log1p(255), sample)
    return int((companded + 1) / 2 * 255 + 0.5)


def test_samples_are_classes_of_mu_law():
    network, waveform = build_reconstructor(SMALL_SAMPLES, 1, 1), torch.rand(2, FIELD + 50) * 2 - 1
    target = network.target(waveform)
    assert target.shape == (2, 50)
    assert target.tolist() == [[mu_law(s) for s in row[FIELD:].tolist()] for row in waveform]
    assert network(waveform).shape == (2, 256, 50)
    assert SMALL_SAMPLES.takes_waveform


def test_a_sample_is_predicted_from_its_receptive_field_alone():
    torch.manual_seed(0)
    network, waveform = build_reconstructor(SMALL_SAMPLES, 1, 1).double(), torch.rand(1, FIELD + 30) - 0.5
    before = network(waveform)
    for place in (0, 3, FIELD + 11):
        changed = waveform.clone()
        changed[0, place] += 0.4
        moved = (network(changed) - before).abs().amax((0, 1)) > 1e-12
        wanted = [j for j in range(30) if j <= place < j + FIELD]  # column j sees samples j … j + FIELD − 1
        assert moved.nonzero().flatten().tolist() == wanted


def test_every_parameter_of_the_sample_network_learns_also_in_bfloat16():
    torch.manual_seed(0)
    network, waveform = build_reconstructor(SMALL_SAMPLES, 1, 1), torch.rand(4, 2000) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(waveform)
    torch.nn.functional.cross_entropy(logits.float(), network.target(waveform)).backward()
    assert logits.isfinite().all()
    assert without_gradient(network) == []


def test_clips_without_a_prediction_are_refused():
    with pytest.raises(UserError, match=r"a clip gives 15 frames, and wavenet predicts from 15 before: .* 16 frames"):
        build_reconstructor(SMALL_WAVENET, 1, 6)(decibels(1, 1, 6, FIELD))
    with pytest.raises(UserError, match="a clip gives 9 samples, and wavenet_mu_law"):
        build_reconstructor(SMALL_SAMPLES, 1, 1)(torch.zeros(1, 9))


def by_recursion(network: torch.nn.Module, clip: torch.Tensor, now: int) -> torch.Tensor:
    """The frame behind `now`, (M,), from a (M, F) clip: van den Oord et al.'s equations one time at a time."""
    layers = list(network.layers.layers)

    def weights(conv: torch.nn.Conv1d, tap: int = 0) -> torch.Tensor:
        return conv.weight[:, :, tap]

    def into(index: int, time: int) -> torch.Tensor:
        """What layer `index` is given at a time."""
        if index == 0:
            return weights(network.input) @ ((clip[:, time] + 40) / 20) + network.input.bias
        below = layers[index - 1]
        return into(index - 1, time) + weights(below.residual) @ hidden(index - 1, time) + below.residual.bias

    def hidden(index: int, time: int) -> torch.Tensor:
        gated, (dilation,) = layers[index].gated, layers[index].gated.dilation
        summed = sum(weights(gated, tap) @ into(index, time - (1 - tap) * dilation) for tap in (0, 1)) + gated.bias
        half = len(summed) // 2
        return torch.tanh(summed[:half]) * torch.sigmoid(summed[half:])

    total = sum(weights(layer.skip) @ hidden(i, now) + layer.skip.bias for i, layer in enumerate(layers))
    _, first, _, second = network.output
    inner = weights(first) @ total.relu() + first.bias
    return (weights(second) @ inner.relu() + second.bias) * 20 - 40


@torch.no_grad()
def test_equals_the_papers_equations_one_time_at_a_time():
    torch.manual_seed(0)
    config = SMALL_WAVENET.model_copy(update={"dilations": (1, 2), "stacks": 2})
    network, clip = build_reconstructor(config, 1, 3).double(), decibels(1, 1, 3, 12).double()
    expected = torch.stack([by_recursion(network, clip[0, 0], now) for now in range(6, 11)], -1)
    torch.testing.assert_close(network(clip)[0, 0], expected)
