"""`python -m shards.cut`: long recordings → clips of one length and a table of them, as `shards.pack` takes it."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import soundfile

from asd.audio.recording import BadFileError, read_header
from asd.data.manifest import LABEL_ANOMALY, LABEL_NORMAL, LABEL_UNKNOWN
from asd.errors import UserError, run_main
from asd.words import command
from shards.layouts.clip import Choices, SourceClip
from shards.layouts.table import OPTIONAL, REQUIRED, read_tables
from shards.progress import clip_bar
from shards.staging import check_out, refuse_taken, staged
from shards.workers import clean_up_on_signals

TABLE_FILE = "clips.csv"
WORDS = {LABEL_NORMAL: "normal", LABEL_ANOMALY: "anomaly", LABEL_UNKNOWN: "unknown"}
WHOLE_NUMBERS = {"PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32"}  # kept as they are; all else becomes float


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    check_out(options.out, overwrite=False)
    recordings = read_tables(options.source, Choices()).clips
    with clean_up_on_signals(), staged(options.out, partial(refuse_taken, options.out, False)) as folder:
        pieces = cut_all(recordings, folder, options.seconds)
    hours = pieces * options.seconds / 3600
    print(f"{options.out / TABLE_FILE}: {pieces} clips of {options.seconds:g} s ({hours:.2f} h)")
    print(
        command(
            "python", "-m", "shards.pack", "--layout", "table", "--source", options.out / TABLE_FILE, "--out", "PACKED"
        )
    )
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shards.cut", description="Cut long recordings into clips.")
    parser.add_argument(
        "--source", type=Path, action="append", required=True, help="csv as of --layout table; repeatable"
    )
    parser.add_argument("--seconds", type=_seconds, default=10.0, help="length of a clip (default 10)")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the clips and their clips.csv")
    options = parser.parse_args(argv)
    options.out = options.out.resolve()
    return options


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 600")
    return seconds


def cut_all(recordings: Sequence[SourceClip], folder: Path, seconds: float) -> int:
    """Clips of all recordings into folder, with their table; how many there are. UserError where there is none."""
    names = (*REQUIRED, *OPTIONAL)
    with (
        (folder / TABLE_FILE).open("w", newline="", encoding="utf-8") as file,
        clip_bar("cutting", len(recordings)) as bar,
    ):
        table, pieces = csv.writer(file), 0
        table.writerow(names)
        for clip in recordings:
            for name in cut(clip, folder, seconds):
                words = (
                    clip.machine_type,
                    clip.machine_id,
                    clip.split,
                    WORDS[clip.label],
                    clip.domain,
                    clip.attributes,
                    clip.recording or clip.key,
                )
                table.writerow((name, *words))
                pieces += 1
            bar.advance()
    if not pieces:
        raise UserError(f"no recording is {seconds:g} s long: choose fewer --seconds")
    return pieces


def cut(clip: SourceClip, folder: Path, seconds: float) -> Iterator[str]:
    """File names of the clips, as they are written; a rest that is shorter than a clip is left out."""
    try:
        read_header(clip.path)
        with soundfile.SoundFile(clip.path) as recording:
            kind = WHOLE_NUMBERS.get(recording.subtype, "float32")
            subtype = recording.subtype if recording.subtype in WHOLE_NUMBERS else "FLOAT"
            length = round(seconds * recording.samplerate)
            if length > recording.frames:
                return
            for number, samples in enumerate(recording.blocks(length, dtype=kind, always_2d=True)):
                if len(samples) < length:
                    return
                name = f"{clip.key}-{number:05d}.wav"
                soundfile.write(folder / name, samples, recording.samplerate, subtype)
                yield name
    except (soundfile.SoundFileError, BadFileError) as error:
        why = error.detail if isinstance(error, BadFileError) else error
        raise UserError(f"{clip.path} cannot be cut: {why}") from None


if __name__ == "__main__":
    run_main(main)
