"""`python -m shards.cut`: long recordings → clips of one length and a table of them, as `shards.pack` takes it."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import soundfile

from asd.audio.decode import open_sound
from asd.audio.header import BadFileError, Header, read_header
from asd.data.manifest import LABEL_ANOMALY, LABEL_NORMAL, LABEL_UNKNOWN
from asd.errors import UserError, printable, run_main
from asd.files.paths import check_over, real_path, user_path
from asd.text.shell import command
from shards.layouts.clip import Choices, SourceClip
from shards.layouts.table import OPTIONAL, REQUIRED, read_tables
from shards.progress import clip_bar
from shards.report import false_headers
from shards.scan import ScannedClip
from shards.staging import check_out, check_taken, staged
from shards.wav_file import write_wav
from shards.workers import clean_up_on_signals

TABLE_FILE = "clips.csv"
WORDS = {LABEL_NORMAL: "normal", LABEL_ANOMALY: "anomaly", LABEL_UNKNOWN: "unknown"}
WHOLE_NUMBERS = {"PCM_16": "int16", "PCM_24": "int32", "PCM_32": "int32"}  # kept as they are; all else becomes float

Timed = tuple[Path, float]  # a recording and seconds of it


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    corpus = read_tables(options.source, Choices())
    recordings = corpus.clips
    check_over("--out", options.out, [*options.source, *(clip.path for clip in recordings)])
    check_out(options.out, overwrite=False)
    with clean_up_on_signals(), staged(options.out, partial(check_taken, options.out, False)) as folder:
        headers = [_header(clip) for clip in recordings]
        short = too_short(recordings, headers, options.seconds)
        check_short(short, len(recordings), options)
        pieces, rests = cut_all(recordings, headers, folder, options.seconds)
    scanned = [ScannedClip(clip, header) for clip, header in zip(recordings, headers, strict=True)]
    for line in (*corpus.listed, *corpus.remarks, *false_headers(scanned)):  # the clips' own headers are true
        print(printable(line))
    hours = (pieces - len(short)) * options.seconds / 3600
    print(f"{options.out / TABLE_FILE}: {pieces - len(short)} clips of {options.seconds:g} s ({hours:.2f} h)")
    if short:
        print(f"warning: {len(short)} recordings are shorter and were kept as they are, first: {_named(short[0])}")
    if rests:
        ends = f"warning: the ends of {len(rests)} recordings are shorter than a clip and were left out"
        print(f"{ends}, {sum(rest_s for _, rest_s in rests):.1f} s in all, first: {_named(rests[0])}")
    print(
        command(
            "python", "-m", "shards.pack", "--layout", "table", "--source", options.out / TABLE_FILE, "--out", "PACKED"
        )
    )
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shards.cut", description="Cut long recordings into clips.")
    parser.add_argument(
        "--source", type=user_path, action="append", required=True, help="csv as of --layout table; repeatable"
    )
    parser.add_argument("--seconds", type=_seconds, default=10.0, help="length of a clip (default 10)")
    parser.add_argument(
        "--short", choices=("keep", "refuse"), default="keep", help="recordings shorter than a clip (default keep)"
    )
    parser.add_argument("--out", type=user_path, required=True, help="new folder for the clips and their clips.csv")
    options = parser.parse_args(argv)
    options.out = real_path(options.out)
    return options


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to 600")
    return seconds


def _header(clip: SourceClip) -> Header:
    try:
        return read_header(clip.path)
    except BadFileError as error:
        raise UserError(f"{clip.path} cannot be cut: {error.detail}") from None


def too_short(recordings: Sequence[SourceClip], headers: Sequence[Header], seconds: float) -> list[Timed]:
    """The recordings of which not one clip can be cut, with their seconds."""
    lengths = [(clip.path, header.frames / header.rate) for clip, header in zip(recordings, headers, strict=True)]
    return [(path, length_s) for path, length_s in lengths if length_s < seconds]


def check_short(short: Sequence[Timed], total: int, options: argparse.Namespace) -> None:
    """Raises UserError where short recordings are not wanted, or there is no other."""
    if len(short) == total:
        raise UserError(f"no recording is {options.seconds:g} s long: choose fewer --seconds, or pack them as they are")
    if short and options.short == "refuse":
        raise UserError(
            f"{len(short)} of {total} recordings are shorter than --seconds {options.seconds:g}, first: "
            f"{_named(short[0])}; choose fewer --seconds, or --short keep"
        )


def _named(item: Timed) -> str:
    return printable(f"{item[0]} ({item[1]:.1f} s)")


def cut_all(
    recordings: Sequence[SourceClip], headers: Sequence[Header], folder: Path, seconds: float
) -> tuple[int, list[Timed]]:
    """Clips of all recordings into folder, with their table: how many there are, and the ends that were left out."""
    with (
        (folder / TABLE_FILE).open("w", newline="", encoding="utf-8") as file,
        clip_bar("cutting", len(recordings)) as bar,
    ):
        table, pieces, rests = csv.writer(file), 0, list[Timed]()
        table.writerow((*REQUIRED, *OPTIONAL))
        for clip, header in zip(recordings, headers, strict=True):
            words = (
                clip.machine_type,
                clip.machine_id,
                clip.split,
                WORDS[clip.label],
                clip.domain,
                clip.attributes,
                clip.recording or clip.key,
            )
            for name in cut(clip, header, folder, seconds):
                table.writerow((name, *words))
                pieces += 1
            rest_s = header.frames / header.rate % (round(seconds * header.rate) / header.rate)
            if header.frames / header.rate > seconds and rest_s * header.rate >= 1:
                rests.append((clip.path, rest_s))
            bar.advance()
    return pieces, rests


def cut(clip: SourceClip, header: Header, folder: Path, seconds: float) -> Iterator[str]:
    """File names of the clips, as they are written; a recording that is shorter than one is written whole."""
    try:
        with open_sound(clip.path, header.extent) as recording:
            kind = WHOLE_NUMBERS.get(recording.subtype, "float32")
            subtype = recording.subtype if recording.subtype in WHOLE_NUMBERS else "FLOAT"
            length = min(round(seconds * header.rate), header.frames)
            for number in range(header.frames // length):
                samples = recording.read(length, dtype=kind, always_2d=True)
                if len(samples) < length:
                    raise BadFileError(
                        "truncated", f"{number * length + len(samples)} of {header.frames} samples are there"
                    )
                name = f"{clip.key}-{number:05d}.wav"
                write_wav(folder / name, samples, header.rate, subtype)
                yield name
    except (soundfile.SoundFileError, BadFileError) as error:
        why = error.detail if isinstance(error, BadFileError) else error
        raise UserError(f"{clip.path} cannot be cut: {why}") from None


if __name__ == "__main__":
    run_main(main)
