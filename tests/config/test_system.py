"""What a config asks of a set, refused before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.config.build import build_task, open_data
from asd.config.load import load_config
from asd.config.run import RunConfig
from asd.data.subset import restrict
from asd.errors import UserError

TINY = Path(__file__).parents[1] / "support" / "tiny.yaml"
WINDOWS = ["windows.frames=18", "windows.hop=9", "data.crop_s=0.7", "mixup=null"]


def config_of(shards: Path, *words: str) -> RunConfig:
    return load_config(TINY, [f"data.shards={shards}", *words])


def test_a_flip_names_a_class_of_the_set(small_set, small_manifest):
    build_task(config_of(small_set, "evaluate.flip=[fan/02, valve/04]"), small_manifest)
    with pytest.raises(
        UserError, match=r"evaluate\.flip names fan, which is not a class of the set: it has fan/00, fan/02"
    ):
        build_task(config_of(small_set, "evaluate.flip=[fan/02, fan]"), small_manifest)


def test_a_flip_may_be_of_a_machine_type_that_the_run_leaves_out(small_set, small_manifest):
    build_task(config_of(small_set, "evaluate.flip=[valve/04]"), restrict(small_manifest, ["fan"]))


def test_every_clip_must_give_a_window(uneven_set, uneven_manifest):
    config = config_of(uneven_set, *WINDOWS)
    seconds = config.frontend.samples_for(18) / 16_000
    assert 0.5 < seconds < 0.7  # the 13 + 3 + 3 clips of the first class have half a second
    with pytest.raises(UserError, match=rf"19 clips of .* are shorter than the {seconds:.3f} s of a window .*_id_00_"):
        build_task(config, uneven_manifest)
    build_task(config, restrict(uneven_manifest, ["pump", "valve"]))


def test_compiling_without_a_compiler_is_refused(small_set, small_manifest, monkeypatch, tmp_path):
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    build_task(config_of(small_set), small_manifest)
    with pytest.raises(UserError, match=r"model\.compile=default needs gcc or clang, which is not on the path"):
        build_task(config_of(small_set, "model.compile=true"), small_manifest)


def test_a_debug_run_goes_through_a_set_that_is_smaller_than_a_batch(small_set):
    words = ["train.global_batch=512", "mixup=null"]
    with pytest.raises(UserError, match="cannot fill a global batch of 512"):
        open_data(config_of(small_set, *words))
    plan = open_data(config_of(small_set, *words, "debug=true")).plan
    assert plan.steps_per_epoch == 1
    (batch,) = plan.epoch(0)[plan.streams[0].name]
    assert len(batch) == 512
    assert set(batch) == set(open_data(config_of(small_set)).splits.train)


@pytest.mark.parametrize(
    ("word", "mode"), [("true", "default"), ("false", "off"), ("off", "off"), *[("reduce-overhead",) * 2]]
)
def test_how_a_network_is_compiled_as_now_and_formerly(small_set, word, mode):
    assert config_of(small_set, f"model.compile={word}").model.compile == mode
