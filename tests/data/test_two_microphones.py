"""Sets of a near and a reference microphone: both are read as they were recorded, side by side in every clip."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asd.data.loader import Loader, Request, whole_clip_requests
from asd.data.manifest import Manifest, load_manifest
from asd.data.reader import Reader
from asd.data.resident.held import Held, Layout
from asd.data.resident.loading import load
from asd.data.resident.on_device import DeviceLoader
from asd.data.resident.reader import memory_loader
from asd.errors import UserError
from shards import pack
from shards.verify import check_shard, shard_checks, verify
from tests.support.sets import make_stereo_set
from tests.support.tars import row_of


@pytest.fixture(scope="module")
def stereo_flac(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_stereo_set(tmp_path_factory.mktemp("flac"), codec="flac", train=3, test=1)


@pytest.fixture(params=["stereo_set", "stereo_flac"])
def stereo(request: pytest.FixtureRequest) -> Manifest:
    return load_manifest(request.getfixturevalue(request.param))


def recorded(manifest: Manifest, clip: int) -> np.ndarray:
    """(samples, 2) int16 of the recording that a clip was packed from."""
    machine, split, name = (manifest.strings(c, np.array([clip]))[0] for c in ("machine_type", "split", "file_name"))
    path = manifest.root.parent / "recordings" / machine / split / Path(name).name
    return soundfile.read(path, dtype="int16")[0]


def test_both_channels_are_read_as_they_were_recorded(stereo: Manifest) -> None:
    """Crops in any order; shorter clips are repeated, both channels at the same place."""
    rng, reader = np.random.default_rng(0), Reader(stereo)
    clips = rng.permutation(len(stereo))[:12]
    starts = rng.integers(0, 3_000, 12)
    near, far = (np.full((12, 10_000), 12345, dtype=np.int16) for _ in range(2))
    frames, valid = reader.read(clips, starts, near, far)
    alone = np.zeros_like(near)
    reader.read(clips, starts, alone)
    reader.close()
    assert valid.all()
    assert frames.tolist() == np.minimum(stereo.frames[clips] - starts, 10_000).tolist()
    sounds = [recorded(stereo, clip) for clip in clips.tolist()]
    for channel, rows in enumerate((near, far)):
        wanted = [row_of(sound[:, channel], start, 10_000) for sound, start in zip(sounds, starts, strict=True)]
        np.testing.assert_array_equal(rows, np.stack(wanted))
    np.testing.assert_array_equal(alone, near)


def test_a_set_says_that_it_has_two_and_passes_its_own_check(stereo: Manifest) -> None:
    assert (stereo.file.format, stereo.channels, set(stereo.column("channels"))) == (5, 2, {2})
    assert stereo.file.heard is not None
    assert stereo.file.heard.channel_in_words() == "channels 0 (near) and 1 (reference) of 2"
    assert stereo.file.notes["two_channels_chosen"] == len(stereo)
    assert verify(stereo) == []


def test_the_check_finds_a_clip_of_one_channel(stereo_set: Path) -> None:
    check = shard_checks(load_manifest(stereo_set))[0]
    (position,) = (i for i, field in enumerate(check.table.schema) if field.name == "channels")
    wrong = check.table.set_column(position, "channels", [np.ones(len(check.table), dtype=np.int8)])
    problems = check_shard(check.__class__(**{**vars(check), "table": wrong}), lambda: None).problems
    assert len(problems) == len(wrong)
    assert "samples of 2 channels at 16000 Hz, the table says otherwise" in problems[0]


def test_a_clip_that_cannot_be_read_is_silence_in_both(stereo_set: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(stereo_set, tmp_path / "set"))
    manifest = load_manifest(root)
    for shard in manifest.file.shards:
        (root / shard.file).unlink()
    near, far = (np.full((2, 500), 12345, dtype=np.int16) for _ in range(2))
    reader = Reader(manifest)
    _, valid = reader.read(np.arange(2), np.zeros(2, dtype=np.int64), near, far)
    reader.close()
    assert not valid.any()
    assert not near.any()
    assert not far.any()


def test_batches_have_the_reference_where_it_is_wanted(stereo_set: Path) -> None:
    manifest = load_manifest(stereo_set)
    clips = np.flatnonzero(manifest.frames == manifest.frames.min())[:3]
    loader = Loader(manifest, torch.device("cpu"), threads=1, prefetch=1)
    requests = [
        *whole_clip_requests(manifest, [clips], reference=True),
        Request(clips, np.full(3, 100), 2_000),
        Request(clips, np.full(3, 100), 2_000, reference=True),
    ]
    found = [
        (b.waveform.clone(), None if b.reference is None else b.reference.clone()) for b in loader.stream(requests)
    ]
    loader.close()
    sounds = np.stack([recorded(manifest, clip) for clip in clips.tolist()])
    assert found[1][1] is None
    for (near, far), begin, end in zip(found, (0, 100, 100), (None, 2_100, 2_100), strict=True):
        np.testing.assert_array_equal(near.numpy(), sounds[:, begin:end, 0])
        if far is not None:
            np.testing.assert_array_equal(far.numpy(), sounds[:, begin:end, 1])


def test_a_set_in_memory_gives_the_same_batches(stereo: Manifest) -> None:
    """Crops of which some are repeated: from the tars, from the node's memory, and by a gather on the device."""
    clips, cpu = np.arange(len(stereo)), torch.device("cpu")
    layout = Layout.of(stereo, clips)
    memory = np.full(layout.bytes // 2, 77, dtype=np.int16)
    assert sum(size for size, _ in load(stereo, layout, memory, threads=2)) == layout.bytes
    held = Held(layout, torch.from_numpy(memory))
    requests = [Request(clips, 0 * clips + 900, 12_000, reference=reference) for reference in (True, False)]
    found = []
    for source in (
        Loader(stereo, cpu, threads=1, prefetch=1),
        memory_loader(stereo, held, cpu, threads=1),
        DeviceLoader(stereo, held),
    ):
        both, near = [(b.waveform.clone(), b.reference if b.reference is None else b.reference.clone())
                      for b in source.stream(requests)]  # fmt: skip
        source.close()
        assert near[1] is None
        assert torch.equal(both[0], near[0])
        found.append(torch.stack([both[0], both[1]]))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0][0], found[0][1])


def test_rows_of_a_batch_keep_their_reference(stereo_set: Path) -> None:
    manifest = load_manifest(stereo_set)
    loader = Loader(manifest, torch.device("cpu"), threads=1, prefetch=1)
    (batch,) = loader.stream([Request(np.arange(4), np.zeros(4, dtype=np.int64), 400, reference=True)])
    loader.close()
    assert batch.reference is not None
    for part, rows in zip(batch.split(2), (slice(0, 2), slice(2, 4)), strict=True):
        assert part.reference is not None
        assert part.reference.equal(batch.reference[rows])


def test_channels_may_be_exchanged_and_resampled(tmp_path: Path, stereo_set: Path) -> None:
    recordings = stereo_set.parent / "recordings"
    words = ["--layout", "dcase2020", "--source", str(recordings), "--workers", "1", "--out"]
    rows = {}
    for name, channel in (("set", "1,0"), ("near", "1"), ("far", "0")):
        chosen = ["--channel", channel, "--sample-rate", "8000", "--resample"]
        assert pack.main([*words, str(tmp_path / name), *chosen]) == 0
        manifest = load_manifest(tmp_path / name)
        reader, clips = Reader(manifest), np.arange(len(manifest))
        rows[name] = np.zeros((manifest.channels, len(clips), 4_000), dtype=np.int16)
        reader.read(clips, 0 * clips, *rows[name])
        reader.close()
    np.testing.assert_array_equal(rows["set"][0], rows["near"][0])
    np.testing.assert_array_equal(rows["set"][1], rows["far"][0])


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ("0,2", r"have no channel 0,2, first: .* it has 2 channels, numbered from 0; choose another --channel"),
        ("0,0", r"'0,0': near and reference microphone are two channels"),
        ("0,1,2", r"'0,1,2' is no number from 0, no two of them \(near,reference\), nor 'average'"),
        ("left", r"'left' is no number from 0"),
        ("0,", r"'0,' is no number"),
    ],
)
def test_channels_that_cannot_be_are_refused(
    channel: str, said: str, stereo_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--layout", "dcase2020", "--source", str(stereo_set.parent / "recordings"), "--out", str(tmp_path / "set")]
    with pytest.raises((UserError, SystemExit)) as error:
        pack.main([*words, "--channel", channel])
    text = str(error.value) if error.type is UserError else capsys.readouterr().err
    assert re.search(said, text)
    assert not (tmp_path / "set").exists()
