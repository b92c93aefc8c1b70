"""Windows of spectrograms: where they begin, how many there are, what is done to them, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asd.errors import UserError
from asd.frontends import Windows, WindowsConfig
from asd.frontends.windows import drawn_places


def maps(frames: int, channels: int = 1, bins: int = 4) -> torch.Tensor:
    return 20 * torch.randn(3, channels, bins, frames, generator=torch.Generator().manual_seed(0)) - 40


@pytest.mark.parametrize(
    ("frames", "size", "hop", "expected"),
    [(313, 64, 8, 32), (313, 32, 32, 9), (313, 5, 1, 309), (64, 64, 8, 1), (72, 64, 8, 2), (71, 64, 8, 1)],
)
def test_windows_are_slices_every_hop_frames(frames, size, hop, expected):
    config, clips = WindowsConfig(frames=size, hop=hop), maps(frames, channels=2)
    windows = Windows(config, least_s=1.0)(clips)
    assert windows.shape == (3, expected, 2, 4, size)
    assert config.windows_of(frames) == expected
    for number in range(expected):
        assert windows[:, number].equal(clips[..., number * hop : number * hop + size])


def test_copies_repeat_the_channels():
    windows = Windows(WindowsConfig(frames=8, hop=4, copies=3), least_s=1.0)(maps(20, channels=2))
    plain = Windows(WindowsConfig(frames=8, hop=4), least_s=1.0)(maps(20, channels=2))
    assert windows.shape == (3, 4, 6, 4, 8)
    for copy in range(3):
        assert windows[:, :, 2 * copy : 2 * copy + 2].equal(plain)


def test_each_piece_is_standardised_alone():
    clips = maps(21, channels=2)
    windows = Windows(WindowsConfig(frames=8, hop=6, normalise="piece"), least_s=1.0)(clips)
    for number in range(3):
        for clip in range(3):
            piece = clips[clip, ..., 6 * number : 6 * number + 8].double().numpy()
            expected = (piece - piece.mean()) / piece.std()
            torch.testing.assert_close(windows[clip, number].double(), torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_silence_stays_finite():
    windows = Windows(WindowsConfig(frames=8, hop=8, normalise="piece"), least_s=1.0)(torch.full((1, 1, 4, 16), -100.0))
    assert not windows.any()


def test_gradients_pass_to_every_frame_of_a_full_window():
    clips = maps(21).requires_grad_()
    Windows(WindowsConfig(frames=8, hop=6), least_s=1.0)(clips).sum().backward()
    covered = (clips.grad != 0).all((0, 1, 2))
    assert covered.tolist() == [True] * 20 + [False]


def test_a_clip_shorter_than_a_window_is_refused_with_the_least_length():
    windows = Windows(WindowsConfig(frames=64, hop=8), least_s=63 * 512 / 16_000)
    with pytest.raises(UserError, match=r"a clip gives 63 frames and a window has 64: .* at least 2\.016 s"):
        windows(maps(63))
    assert WindowsConfig(frames=64, hop=8).windows_of(63) == 0


def splitmix64(x: int) -> int:
    """Steele et al. 2014, in Python's whole numbers."""
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


def signed(x: int) -> int:
    return x - 2**64 if x >= 2**63 else x


def test_drawn_windows_are_those_of_splitmix64_for_seed_epoch_step_and_clip():
    clips = [0, 1, 7, 123_456, 7]
    found = drawn_places(torch.tensor(clips), 9, 3, seed=5, epoch=2, step=11).tolist()
    for clip, places in zip(clips, found, strict=True):
        state = splitmix64(splitmix64(splitmix64(5) + 2) + 11)
        keys = [signed(splitmix64((splitmix64((state + clip) % 2**64) + place) % 2**64)) for place in range(9)]
        assert places == np.argsort(keys)[:3].tolist()
    assert found[2] == found[4] != found[1]


def test_drawn_windows_are_whole_windows_of_the_clip_and_every_place_has_its_turn():
    windows, clips = Windows(WindowsConfig(frames=64, hop=8, copies=3, drawn=1), 1.0, seed=3), maps(313)
    every = windows(clips)
    places = windows.places(313, torch.tensor([4, 5, 6]), epoch=0, step=9)
    assert places.shape == (3, 1)
    for clip in range(3):
        assert windows(clips, places)[clip, 0].equal(every[clip, places[clip, 0]])
    drawn = torch.cat([windows.places(313, torch.arange(320), epoch, 0) for epoch in range(10)]).flatten()
    counts = torch.bincount(drawn, minlength=32)
    assert len(counts) == 32
    assert (counts - 100).abs().max() < 50  # five standard deviations


def test_a_clip_with_no_more_windows_than_are_drawn_shows_them_all():
    assert Windows(WindowsConfig(frames=64, hop=8, drawn=2), 1.0).places(72, torch.arange(4), 0, 0) is None
    assert Windows(WindowsConfig(frames=64, hop=8), 1.0).places(313, torch.arange(4), 0, 0) is None
