"""Downloads of whole parts: what is asked for, continued and kept."""

from __future__ import annotations

import shutil

import pytest

from shards.download import client
from shards.download.corpora import PARTS, RECORDINGS, RECORDS
from tests.support.downloads import ADDITIONAL, DEV, EVAL, FILE, TRUTH, assert_whole, files_in, part_of, refused, run
from tests.support.zenodo import zip_holding


def test_all_parts_and_a_second_call(zenodo, out, stored, capsys):
    zenodo.add(ADDITIONAL, "eval_data_train_fan.zip", zip_holding({"fan/train/c.wav": b"c"}))
    zenodo.add(EVAL, "eval_data_test_fan.zip", zip_holding({"fan/test/d.wav": b"d"}))
    run(zenodo, out, parts=())
    assert files_in(out) == [
        *("additional/fan/train/c.wav", "dev/fan/test/b.wav", "dev/fan/train/a.wav", "eval/fan/test/d.wav")
    ]
    assert not (out / "archives").exists()
    shown = capsys.readouterr().out
    assert f"dev: Recordings of {DEV}; licence: cc-by-4.0; cite 10.5281/zenodo.{DEV}" in shown
    assert "files: 3; already there: 0" in shown
    asked = len(zenodo.asked_files())
    run(zenodo, out, parts=())
    assert len(zenodo.asked_files()) == asked == 3
    assert "files: 3; already there: 3; to fetch: 0.00 GiB" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["current", "late2023", "legacy"])
def test_every_form_of_the_api(zenodo, out, stored, form, capsys):
    zenodo.form = form
    run(zenodo, out)
    assert_whole(out)
    assert "licence: cc-by-4.0" in capsys.readouterr().out


def test_machines(zenodo, out):
    for name in ("ToyCar", "ToyCarEmu", "3DPrinter"):
        zenodo.add(DEV, f"dev_{name}_train_r2.zip", zip_holding({f"{name}/train/a.wav": b"a"}))
    zenodo.add(TRUTH, "eval_data_list.csv", b"ToyCar\r\n")
    run(zenodo, out, "--machine", "ToyCar", "--machine", "3dprinter", parts=("dev", "ground-truth"))
    assert files_in(out) == ["dev/3DPrinter/train/a.wav", "dev/ToyCar/train/a.wav", "ground-truth/eval_data_list.csv"]
    error = refused(zenodo, out, "--machine", "Toy")
    assert error.startswith("--machine Toy: no file is about it; there are dev/dev_3DPrinter_train_r2.zip, ")


def test_a_file_that_is_no_zip(zenodo, out):
    zenodo.add(TRUTH, "eval_data_list.csv", b"fan\r\n")
    run(zenodo, out, parts=("ground-truth",))
    assert (out / "ground-truth" / "eval_data_list.csv").read_bytes() == b"fan\r\n"
    run(zenodo, out, parts=("ground-truth",))
    assert len(zenodo.asked_files()) == 1


def test_every_year_has_records_of_its_own_for_all_recordings():
    assert all(set(RECORDINGS) <= set(records) <= set(PARTS) for records in RECORDS.values())
    numbers = [number for records in RECORDS.values() for number in records.values()]
    assert len(numbers) == len(set(numbers))


def test_ground_truth_that_has_no_record(zenodo, out):
    error = refused(zenodo, out, corpus="dcase2023", parts=("dev", "ground-truth"))
    assert "official evaluator of the year; there are dev, additional, eval" in error
    assert zenodo.asked == []


def test_kept_archives_are_verified_and_used(zenodo, out, stored):
    run(zenodo, out, "--keep-archives")
    archive = out / "archives" / "dev" / FILE
    assert archive.read_bytes() == stored.content
    shutil.rmtree(out / "dev")
    run(zenodo, out)
    assert len(zenodo.asked_files()) == 1
    assert_whole(out)
    shutil.rmtree(out / "dev")
    archive.parent.mkdir(parents=True)
    archive.write_bytes(bytes(len(stored.content)))  # the right size alone does not count
    run(zenodo, out)
    assert len(zenodo.asked_files()) == 2
    assert_whole(out)


def test_dropped_connections_are_continued(zenodo, out, stored):
    stored.drops = [30_000, 1, 50_000, 60_000]
    run(zenodo, out)
    assert_whole(out)
    assert zenodo.asked_files() == [None, *(f"bytes={at}-" for at in (30_000, 30_001, 80_001, 140_001))]


def test_more_drops_than_tries_as_long_as_bytes_come(zenodo, out, stored):
    stored.drops = [10_000] * (2 * client.TRIES)
    run(zenodo, out)
    assert_whole(out)


def test_the_beginning_of_an_earlier_run_is_continued(zenodo, out, stored):
    part_of(out, stored, stored.content[:77_000])
    run(zenodo, out)
    assert zenodo.asked_files() == ["bytes=77000-"]
    assert_whole(out)


def test_a_whole_part_is_not_fetched(zenodo, out, stored):
    part_of(out, stored, stored.content)
    run(zenodo, out)
    assert zenodo.asked_files() == []
    assert_whole(out)


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        ({"ranges": False}, ["bytes=77000-"]),  # the answer is the whole: no second request
        ({"check_ranges": True}, ["bytes=77000-", None]),
        ({"shift": 10}, ["bytes=77000-", None]),
    ],
)
def test_a_part_that_cannot_be_continued_is_begun_anew(zenodo, out, stored, fault, asked):
    vars(stored).update(fault)
    part_of(out, stored, stored.content[:77_000])
    run(zenodo, out)
    assert zenodo.asked_files() == asked
    assert_whole(out)


def test_a_part_that_is_too_long(zenodo, out, stored):
    part_of(out, stored, stored.content + b"more")
    run(zenodo, out)
    assert zenodo.asked_files() == [None]
    assert_whole(out)
