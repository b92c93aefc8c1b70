"""Sets of recordings that many tests read; made once, never written to by a test (copy them first)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from asd.data.manifest import Manifest, load_manifest
from asd.process import logs
from shards import pack
from shards.synth import __main__ as synth
from tests.awake import sitecustomize
from tests.support import leftovers
from tests.support.sets import make_domain_set, make_set, make_stereo_set

os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(sitecustomize.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)
soundfile.SoundFile.flush = lambda self: None  # it syncs every file that it closes


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left() -> Iterator[None]:
    """An error of the session's last test where tests left processes, or files in the working tree."""
    before = leftovers.files()
    yield
    assert leftovers.files() - before == set()
    assert leftovers.processes() == []


@pytest.fixture(autouse=True)
def lines_are_plain() -> None:
    """What a command set up in a test before is not this one's."""
    logs.set_up("plain")


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 classes, 24 training and 8 test clips each, 1 s, PCM, several shards."""
    return make_set(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def fault_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 classes, 12 training and 6 test clips each, 2 of the anomalies known to training, 0.5 s, PCM."""
    return make_set(tmp_path_factory.mktemp("faults"), train=12, test=4, seconds=0.5, faults=2)


@pytest.fixture(scope="session")
def flac_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings of small_set in FLAC shards."""
    return make_set(tmp_path_factory.mktemp("flac"), codec="flac")


@pytest.fixture(scope="session")
def uneven_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes of 0.5, 0.7, 1 and 1.3 s, PCM."""
    return make_set(tmp_path_factory.mktemp("uneven"), seconds=(0.5, 0.7, 1.0, 1.3), train=13, test=3)


@pytest.fixture(scope="session")
def stereo_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two microphones: 3 classes of 0.5, 0.7 and 1 s, 12 training and 6 test clips each, PCM; see make_stereo_set."""
    return make_stereo_set(tmp_path_factory.mktemp("stereo"))


@pytest.fixture(scope="session")
def many_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 classes, 150 training and 4 test clips each, 0.5 s, PCM, about a dozen shards."""
    return make_set(tmp_path_factory.mktemp("many"), train=150, test=2, seconds=0.5)


@pytest.fixture(scope="session")
def domain_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 types of 3 sections, 16 source and 3 target training clips each, test clips of both domains, 0.5 s, PCM."""
    return make_domain_set(tmp_path_factory.mktemp("domains"))


@pytest.fixture(scope="session")
def factory2022(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DCASE 2022: 7 types of 2 sections, 7 + 3 training and 4 + 4 test clips of source and target each, 0.5 s."""
    folder = tmp_path_factory.mktemp("factory2022")
    few = "--sections 2 --train-clips 10 --target-clips 3 --test-clips 2 --clip-s 0.5 --workers 1"
    assert synth.main(["--layout", "dcase2022", "--out", str(folder / "recordings"), *few.split()]) == 0
    words = f"--layout dcase2022 --source {folder / 'recordings'} --out {folder / 'shards'} --shard-mib 1 --workers 1"
    assert pack.main(words.split()) == 0
    return folder / "shards"


@pytest.fixture(scope="session")
def small_manifest(small_set: Path) -> Manifest:
    return load_manifest(small_set)


@pytest.fixture(scope="session")
def flac_manifest(flac_set: Path) -> Manifest:
    return load_manifest(flac_set)


@pytest.fixture(scope="session")
def uneven_manifest(uneven_set: Path) -> Manifest:
    return load_manifest(uneven_set)


@pytest.fixture(scope="session")
def domain_manifest(domain_set: Path) -> Manifest:
    return load_manifest(domain_set)
