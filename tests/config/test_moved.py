"""Settings that stood elsewhere in earlier versions."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from asd.augment.mixup import MixupConfig
from asd.config.load import load_config
from asd.config.moved import MOVED
from asd.config.reference import page
from asd.config.saved import saved_config
from asd.scorers import MahalanobisConfig
from asd.tasks.vicreg import VICRegTaskConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FORMER = {"train.precision": "bf16", "train.freeze": "centres", "train.stall_s": 7.0, "data.max_bad_fraction": 0.25}


def saved_before(path: Path) -> Path:
    """A config as a run of an earlier version left it."""
    tree = load_config(CONFIGS / "demo.yaml").model_dump(mode="json")
    for section in ("model", "distributed", "monitor"):
        del tree[section]
    del tree["train"]["max_bad_fraction"]
    for key, value in FORMER.items():
        section, name = key.split(".")
        tree[section][name] = value
    path.write_text(yaml.safe_dump(tree))
    return path


def test_what_an_earlier_run_left_is_read(tmp_path: Path) -> None:
    config = saved_config(saved_before(tmp_path / "config.yaml"))
    assert (config.distributed.precision, config.model.freeze) == ("bf16", "centres")
    assert (config.monitor.stall_s, config.train.max_bad_fraction) == (7.0, 0.25)


@pytest.mark.parametrize("former", MOVED)
def test_a_former_word_sets_what_it_set(former: str) -> None:
    value = {
        "train.precision": "bf16",
        "train.freeze": "centres",
        "data.max_bad_fraction": "0.5",
        "train.channels_last": "false",
        "train.compile": "true",
        "mixup.of": "spectrogram",
        "task.of": "waveform",
    }.get(former, "1")
    path = CONFIGS / ("vicreg_pretrain.yaml" if former == "task.of" else "demo.yaml")
    config = load_config(path, [f"{former}={value}"])
    assert config == load_config(path, [f"{MOVED[former]}={value}"])
    assert config != load_config(path)


def test_former_names_in_a_saved_scorer_and_system_are_read() -> None:
    assert MahalanobisConfig.model_validate({"of": "domain"}) == MahalanobisConfig(per="domain")
    assert MixupConfig.model_validate({"of": "spectrogram"}) == MixupConfig(input="spectrogram")
    assert VICRegTaskConfig.model_validate({"of": "waveform"}) == VICRegTaskConfig(mixup_input="waveform")


def test_every_place_is_one_of_today() -> None:
    shown = page()
    assert all(f"| `{now}` |" in shown and f"| `{former}` |" not in shown for former, now in MOVED.items())
