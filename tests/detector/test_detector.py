"""A detector file: what goes in comes out, and what is no detector is refused in one line and runs nothing."""

from __future__ import annotations

import io
import os
import pickle
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
import torch
from torch import Tensor

from asd.data.manifest import MachineClass
from asd.detector import (
    Detector,
    DetectorFile,
    FittedScorer,
    Provenance,
    Software,
    build_network,
    read_detector,
    write_detector,
)
from asd.distributed.start import start_ranks
from asd.errors import UserError
from asd.scorers import SCORERS, ScorerConfig, build_scorer
from asd.scorers.state import restored, state_of
from asd.tasks.build import build_task
from asd.tasks.system import System
from tests.scorers.test_scorers import NUM_CLASSES, TEST, TRAIN

CONFIG = pydantic.TypeAdapter(ScorerConfig)
SOFTWARE = Software(versions={"torch": "2.13.0"}, git_commit=None)
SYSTEM = System.model_validate(
    {
        "frontend": {"name": "log_mel", "n_mels": 8, "n_fft": 256, "hop": 128},
        "backbone": {"name": "mobilefacenet", "width": 0.125, "embedding": 6},
        "loss": {"name": "arcface"},
    }
)


def fitted(*names: str) -> tuple[FittedScorer, ...]:
    """Scorers fitted to random clips."""
    found = []
    for name in names:
        config = CONFIG.validate_python({"name": name})
        scorer = build_scorer(config)
        scorer.fit(TRAIN)
        thresholds = dict.fromkeys(range(NUM_CLASSES), 0.5)
        found.append(FittedScorer(config=config, state=state_of(config, scorer), thresholds=thresholds))
    return tuple(found)


def detector_file(*names: str) -> DetectorFile:
    torch.manual_seed(0)
    return DetectorFile(
        provenance=Provenance(
            run="run", step=1, epoch=0.5, data="set", fingerprint="f", trained=SOFTWARE, exported=SOFTWARE
        ),
        system=SYSTEM,
        weights=build_task(SYSTEM, 0, 16_000, NUM_CLASSES).state_dict(),
        precision="fp32",
        average="scores",
        sample_rate=16_000,
        classes=tuple(MachineClass(machine_type="fan", machine_id=f"{i:02d}") for i in range(NUM_CLASSES)),
        flipped=(),
        clip_s=0.5,
        longest_s=1.0,
        fixed_length=False,
        scorers=fitted(*(names or ("knn", "centroid"))),
    )


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "detector.pt"
    write_detector(path, detector_file())
    return path


def score_one(path: Path, label: str | None = None) -> float:
    """What the detector says of half a second of noise."""
    file = read_detector(path)
    noise = np.random.default_rng(0).integers(-900, 900, (1, 8_000)).astype(np.int16)
    with start_ranks("fp32", 60) as ranks:
        detector = Detector.open(file, path, ranks, 0, label)
        return float(detector.score([detector.embed(noise, 0)])[0])


# ---- what goes in comes out ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCORERS)
def test_a_scorer_says_the_same_after_a_file(name: str, tmp_path: Path) -> None:
    config = CONFIG.validate_python({"name": name})
    scorer = build_scorer(config)
    scorer.fit(TRAIN)
    write_detector(tmp_path / "d.pt", detector_file(name))
    (stored,) = read_detector(tmp_path / "d.pt").scorers
    again = restored(stored.config, stored.state)
    for clips in (TEST, TRAIN):  # of a training clip, the own one is left out, still
        np.testing.assert_allclose(again.score(clips), scorer.score(clips), rtol=1e-12)  # a matrix may lie transposed


def test_the_network_is_the_same_after_a_file(good: Path) -> None:
    file = detector_file()
    network = build_network(read_detector(good), good)
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, file.weights[name]), name


def test_it_is_plain_torch_and_says_what_it_is(good: Path) -> None:
    tree = torch.load(good, weights_only=True)
    assert (tree["kind"], tree["format"]) == ("asd detector", 3)
    assert tree["classes"][1] == {"machine_type": "fan", "machine_id": "01"}
    assert tree["provenance"]["fingerprint"] == "f"


def test_what_several_scorers_know_is_stored_once(tmp_path: Path) -> None:
    banks = []
    for names in (("knn",), ("knn", "lof", "local_knn", "mahalanobis")):
        write_detector(tmp_path / "d.pt", detector_file(*names))
        tensors = all_tensors(torch.load(tmp_path / "d.pt", weights_only=True)["scorers"])
        of_clips = [t for t in tensors if t.dim() == 2 and t.shape[1] == TRAIN.embedding.shape[1]]
        banks.append((len(of_clips), len({t.data_ptr() for t in of_clips})))
    (_, alone), (named, together) = banks
    assert together == alone
    assert named >= 4 * NUM_CLASSES


def all_tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    inside = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return [tensor for value in inside for tensor in all_tensors(value)]


def test_a_failed_write_leaves_the_former_one(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.pt"
    path.write_bytes(good.read_bytes())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_detector(path, detector_file("centroid"))
    assert [p.name for p in tmp_path.iterdir()] == ["d.pt"]
    assert path.read_bytes() == good.read_bytes()


def test_machines_are_told_by_what_is_needed() -> None:
    file = detector_file()
    assert file.class_index("fan", "01") == file.class_index(None, "01") == 1
    with pytest.raises(UserError, match="name the machine: --machine fan --id 00, --machine fan --id 01"):
        file.class_index("fan", None)
    with pytest.raises(UserError, match="has no such machine: it has --machine fan --id 00"):
        file.class_index("pump", "00")
    with pytest.raises(UserError, match="has no scorer gmm: it has knn, centroid"):
        file.scorer("gmm")


# ---- what is refused -----------------------------------------------------------------------------------------------


def refused(path: Path, *words: str) -> str:
    """The one line that reading or opening a file ends with."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(UserError) as caught, warnings.catch_warnings():
        warnings.simplefilter("error")
        score_one(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.isprintable(), repr(line)
    assert len(line) < 400 + len(str(path))
    assert str(path) in line
    for word in words:
        assert word in line, line
    assert sorted(path.parent.rglob("*")) == before, "something was written"
    return line


@pytest.mark.parametrize("content", [b"", b"no detector", b"RIFF\0\0\0\0WAVEfmt ", b"PK\3\4", pickle.dumps({"a": 1})])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "detector.pt"
    path.write_bytes(content)
    refused(path, "is no detector file", "make one by `python eval.py export`")


@pytest.mark.parametrize("place", ["pipe", "/dev/zero", "."])
def test_what_is_no_file_is_refused_unread(tmp_path: Path, place: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / place, "is no detector file but a folder, pipe or device", "make one by")


def test_a_missing_file_is_named_by_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path / "none.pt")):
        read_detector(tmp_path / "none.pt")


@pytest.mark.parametrize("value", [[1, 2], {"weights": {}}, torch.ones(3), {"kind": torch.ones(2)}, {"kind": "asd"}])
def test_other_things_that_torch_saved_are_refused(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "other.pt")
    refused(tmp_path / "other.pt", "is no detector file")


def test_another_format_version_is_named(good: Path, tmp_path: Path) -> None:
    for version, said in ((5, "5"), (torch.ones(2), "?"), ("\x1b[2J", "?")):
        path = changed(good, tmp_path, lambda tree, v=version: tree.update(format=v))
        refused(path, f"is a detector of format {said}, where formats up to 4 are read: export it again")


def test_an_older_format_is_read(good: Path, tmp_path: Path) -> None:
    def as_before(tree: dict[str, Any]) -> None:
        tree.update(format=2, turned=tree.pop("flipped"), first_only=tree.pop("fixed_length"))

    older = read_detector(changed(good, tmp_path, as_before))
    assert (older.flipped, older.fixed_length, older.classes) == ((), False, read_detector(good).classes)


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.999])
def test_a_part_of_a_file_is_refused(good: Path, tmp_path: Path, kept: float) -> None:
    path, whole = tmp_path / "d.pt", good.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    refused(path, "or only a part of one")


def test_a_changed_byte_is_found(good: Path, tmp_path: Path) -> None:
    path, draw = tmp_path / "d.pt", random.Random(0)
    whole = good.read_bytes()
    with zipfile.ZipFile(good) as archive:
        weights = max(archive.infolist(), key=lambda entry: entry.file_size)
    middle = weights.header_offset + 200 + weights.file_size // 2
    for position in [middle, *(draw.randrange(len(whole)) for _ in range(20))]:
        damaged = bytearray(whole)
        damaged[position] ^= 0x40
        path.write_bytes(damaged)
        try:
            read_detector(path)  # between the members lie bytes that nobody reads
        except UserError as error:
            assert "damaged" in str(error) or "no detector file" in str(error)
        else:
            assert position != middle


def changed(good: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The detector with something else in its tree."""
    tree = torch.load(good, weights_only=True)
    change(tree)
    torch.save(tree, folder / "d.pt")
    return folder / "d.pt"


def scorer_state(tree: dict[str, Any], number: int) -> dict[int, Any]:
    return tree["scorers"][number]["state"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree.pop("weights"), "weights: Field required"),
        (lambda tree: tree.update(more=1), "more: Extra inputs"),
        (lambda tree: tree.update(sample_rate=-1), "sample_rate"),
        (lambda tree: tree.update(sample_rate=10**12), "sample_rate"),
        (lambda tree: tree.update(clip_s=10.0**9), "clip_s"),
        (lambda tree: tree.update(clip_s=2.0), "longest_s: Value error, it is below clip_s"),
        (lambda tree: tree.update(classes=[]), "classes"),
        (lambda tree: tree["classes"][0].update(machine_type="\x1b[31mfan"), "a name cannot be printed"),
        (lambda tree: tree["classes"][0].update(machine_id="01"), "two classes have one name"),
        (lambda tree: tree["scorers"][0]["thresholds"].update({0: float("nan")}), "finite number"),
        (lambda tree: tree["scorers"][0]["config"].update(name="\x1b[31m"), "scorers.0.config"),
        (lambda tree: tree["system"]["frontend"].update(n_mels=100_000, n_fft=65_536), "damaged: system"),
        (lambda tree: tree["system"]["backbone"].update(embedding=7), "its weights do not fit its network"),
        (lambda tree: tree["system"]["backbone"].update(embedding=10**9), "its weights do not fit its network"),
        (lambda tree: tree["system"]["backbone"].update(embedding=10**30), "its network cannot be built"),
        (
            lambda tree: tree["system"].update(backbone={"name": "resnet50_ir", "depths": [10**9, 1, 1, 1]}),
            "its network cannot be built (it has more than",
        ),
        (lambda tree: tree["weights"].update({"\x1b[2J": torch.ones(1)}), "its weights do not fit its network"),
        (lambda tree: tree["weights"].update({"loss.centres": torch.ones(3, 6).int()}), "a tensor that is not plain"),
        (lambda tree: tree["weights"].update({"x": torch.ones(1).expand(10**12)}), "a tensor that is not plain"),
        (lambda tree: tree["weights"].update({"x": torch.ones(2, 2).to_sparse()}), "a tensor that is not plain"),
        (lambda tree: tree["weights"].update({"x": torch.nn.Parameter(torch.ones(2))}), "it holds a Parameter"),
        (lambda tree: tree.update(flipped={1, 2}), "it holds a set"),
        (lambda tree: scorer_state(tree, 0).clear(), "has no state for fan/00"),
        (lambda tree: scorer_state(tree, 0).update({0: 5}), "the state of scorer knn does not fit it"),
        (lambda tree: scorer_state(tree, 0)[0].update(embedding=torch.ones(2)), "the state of scorer knn does not"),
        (lambda tree: scorer_state(tree, 0)[0].pop("domain"), "the state of scorer knn does not fit it"),
        (lambda tree: widen(scorer_state(tree, 0)[0]), "its scorer does not fit its network"),
    ],
)
def test_what_does_not_fit_is_refused(
    good: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    refused(changed(good, tmp_path, change), said)


def widen(model: dict[str, Any]) -> None:
    model["embedding"] = torch.ones(len(model["embedding"]), 9)


# ---- what would do harm --------------------------------------------------------------------------------------------


class Bomb:
    """Unpickled, it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_runs_no_code(tmp_path: Path, legacy: bool) -> None:
    torch.save(
        {"kind": "asd detector", "format": 1, "weights": Bomb(tmp_path / "harm")},
        tmp_path / "bomb.pt",
        _use_new_zipfile_serialization=not legacy,
    )
    refused(tmp_path / "bomb.pt", "is no detector file")
    assert not (tmp_path / "harm").exists()
    torch.load(tmp_path / "bomb.pt", weights_only=False)
    assert (tmp_path / "harm").exists(), "the bomb is none"


def rewritten(good: Path, path: Path, change: Callable[[str, bytes], tuple[str, bytes]], packed: bool = False) -> Path:
    """The archive with other members, and sound checksums."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            name, content = change(entry.filename, source.read(entry))
            target.writestr(name, content, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    return path


def test_names_that_lead_out_write_nothing(good: Path, tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    path = rewritten(good, inner / "d.pt", lambda name, content: (f"../../{name}", content))
    try:
        read_detector(path)
    except UserError as error:
        assert "is no detector file" in str(error)
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "b", "d.pt"]


def test_an_archive_that_unpacks_to_more_than_itself_is_refused(good: Path, tmp_path: Path) -> None:
    path = rewritten(good, tmp_path / "bomb.pt", lambda name, content: (name, content + bytes(1 << 18)), packed=True)
    with zipfile.ZipFile(path) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) > 10 * path.stat().st_size
    refused(path, "it is not stored as torch does it")


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("d/data.pkl", bytes(1 << 20))
        for number in range(20):
            archive.filelist.append(archive.getinfo("d/data.pkl"))
            archive.NameToInfo[f"d/data/{number}"] = archive.filelist[0]
    refused(path, "it is not stored as torch does it")


def test_a_storage_that_claims_more_than_is_there_is_refused(good: Path, tmp_path: Path) -> None:
    """The pickle says how many numbers each storage has, and how large the tensors on it are."""
    claims = 0
    for size in (6 * 128, 6 * 3):  # of a weight, of the centres
        for opcode, code in ((b"M", size.to_bytes(2, "little")), (b"K", bytes([size % 256]))):

            def claim(name: str, content: bytes, old: bytes = opcode + code) -> tuple[str, bytes]:
                if name.endswith("data.pkl"):
                    content = content.replace(old, b"J" + (2**31 - 1).to_bytes(4, "little"))
                return name, content

            path = rewritten(good, tmp_path / "d.pt", claim)
            if path.read_bytes() == good.read_bytes():
                continue
            try:
                score_one(path)
            except UserError as error:
                claims += 1
                assert str(path) in str(error)
    assert claims


def test_a_value_that_refers_to_itself_often_is_looked_at_once(good: Path, tmp_path: Path) -> None:
    def laugh(tree: dict[str, Any]) -> None:
        value: list[Any] = ["ha"]
        for _ in range(60):
            value = [value, value]
        tree["flipped"] = value

    refused(changed(good, tmp_path, laugh), "flipped")


def test_deep_nesting_is_refused(good: Path, tmp_path: Path) -> None:
    depth = 20_000
    nested = b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."
    path = rewritten(good, tmp_path / "d.pt", lambda n, c: (n, nested if n.endswith("data.pkl") else c))
    refused(path, "is no detector file")


def test_any_pickle_is_refused_in_one_line_or_read(good: Path, tmp_path: Path) -> None:
    """Random changes to the pickle, with sound checksums."""
    draw, ends = random.Random(1), {"read": 0, "refused": 0}
    for _ in range(60):

        def spoil(name: str, content: bytes) -> tuple[str, bytes]:
            if name.endswith("data.pkl"):
                spoilt = bytearray(content)
                for _ in range(draw.randint(1, 2)):
                    spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
                content = bytes(spoilt)
            return name, content

        try:
            score_one(rewritten(good, tmp_path / "d.pt", spoil))
            ends["read"] += 1
        except UserError as error:
            ends["refused"] += 1
            assert str(error).isprintable()
    assert min(ends.values()) > 0, ends
    assert [p.name for p in tmp_path.iterdir()] == ["d.pt"]


def test_the_file_is_written_without_pickled_classes(good: Path) -> None:
    with zipfile.ZipFile(good) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("data.pkl"))
        code = archive.read(name)
    import pickletools

    named = {str(arg) for op, arg, _ in pickletools.genops(io.BytesIO(code)) if op.name == "GLOBAL"}
    assert named <= {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch FloatStorage",
        "torch LongStorage",
        "torch DoubleStorage",
    }
