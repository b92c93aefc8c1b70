"""Waveform → network input, on the device."""

from __future__ import annotations

from asd.frontends.log_mel import LogMel, LogMelConfig

FRONTENDS = {"log_mel": LogMel}

FrontendConfig = LogMelConfig


def build_frontend(config: FrontendConfig, sample_rate: int) -> LogMel:
    """The frontend that a config names."""
    return FRONTENDS[config.name](config, sample_rate)
