"""Fetch the official recordings of DCASE Task 2 from Zenodo, verify and unpack them, and say what to run next.

python -m shards.download dcase2020 --out data/dcase2020_recordings
"""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from contextlib import suppress

from asd.errors import UserError, run_main
from asd.files.locks import FolderLock
from asd.files.paths import user_path
from shards.download.bars import Bars, open_bars
from shards.download.client import is_address
from shards.download.corpora import PARTS, RECORDS, records_of
from shards.download.fetch import fetch
from shards.download.next_step import next_lines
from shards.download.selection import ARCHIVES, Job, check_full_disk, choose, gib
from shards.download.unpack import remove_stale, unpack
from shards.download.zenodo import get_record
from shards.workers import TerminatedError, clean_up_on_signals

FULL = (errno.ENOSPC, errno.EDQUOT)


class DownloadLock(FolderLock):
    """Held by the download into a folder."""

    name = ".download.lock"
    what = "downloads"
    refusal = "another run is downloading into {root} ({holder}): wait for it, or stop it"


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    with clean_up_on_signals():
        try:
            run(options)
        except (KeyboardInterrupt, TerminatedError):
            print("stopped: downloaded files are kept; run the same command to continue", file=sys.stderr)
            raise
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise UserError(
                f"no space left in {options.out}: free some space, then run the same command again"
            ) from None
    print("\n".join(next_lines(options.corpus, options.out)))
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m shards.download", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", choices=RECORDS, help="year of the challenge")
    parser.add_argument("--out", type=user_path, required=True, help="folder; parts become folders in it")
    parser.add_argument(
        "--part", action="append", choices=PARTS, default=[], help="repeatable (default: dev, additional, eval)"
    )
    parser.add_argument(
        "--machine", action="append", default=[], help="machine type, such as fan; repeatable (default: all)"
    )
    parser.add_argument(
        "--keep-archives", action="store_true", help=f"in OUT/{ARCHIVES} (default: delete them after unpacking)"
    )
    parser.add_argument(
        "--url", type=_url, default="https://zenodo.org", help="address of Zenodo or of a compatible server"
    )
    return parser.parse_args(argv)


def _url(text: str) -> str:
    if not is_address(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an address such as https://zenodo.org")
    return text.rstrip("/")


def run(options: argparse.Namespace) -> None:
    """Everything that is asked for and not there yet."""
    numbers = records_of(options.corpus, options.part)
    with DownloadLock(options.out) as lock:
        lock.take()
        records = {part: get_record(options.url, number) for part, number in numbers.items()}
        for part, record in records.items():
            print(f"{part}: {record.notice()}")
            remove_stale(options.out / part)
        jobs = choose(records, options.machine, options.out)
        missing = [job for job in jobs if not job.is_done]
        here = sum(job.bytes_here for job in missing)
        total = sum(job.file.size for job in missing)
        print(
            f"files: {len(jobs)}; already there: {len(jobs) - len(missing)}; to fetch: {gib(total - here)}", flush=True
        )
        check_full_disk(missing, options.out)
        if not missing:
            return
        with open_bars(total, here) as bars:
            for job in missing:
                get(job, bars, options.keep_archives)


def get(job: Job, bars: Bars, keep_archive: bool) -> None:
    """One archive: fetched, verified, unpacked and, unless it is to be kept, removed."""
    with bars.fetching(job.name, job.file.size, job.bytes_here) as done:
        fetch(job.file, job.archive, done)
    with bars.unpacking(job.name) as begin:
        unpack(job.archive, job.file, job.folder, begin)
    if not keep_archive:
        job.archive.unlink()
        for folder in (job.archive.parent, job.archive.parent.parent):
            with suppress(OSError):  # other archives, or beginnings of them, are kept there
                folder.rmdir()
    print(f"{job.name}: fetched, verified, unpacked", flush=True)


if __name__ == "__main__":
    run_main(main)
