"""The layout of own recordings: a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from asd.audio.header import BadFileError, read_header
from asd.errors import UserError
from asd.text.terminal import open_console
from shards import report as shards_report
from shards.layouts import find_clips
from shards.layouts.clip import SourceClip, make_key

HEADER = "path,machine_type,machine_id,split,label,domain,attributes\n"


def table(sources: list[Path]) -> list[SourceClip]:
    return find_clips("table", sources).clips


def test_table(tmp_path, write_wav):
    for name in ("a.wav", "day 1/b.wav", "c.wav"):
        write_wav(tmp_path / name)
    (tmp_path / "clips.csv").write_text(
        "\ufeff" + HEADER + "a.wav,Pump A,7,train,normal,source,speed 3\n"
        '"day 1/b.wav",Pump A,7,test,1,target,\nc.wav,Pump A,7,TEST,-1,,"x, y"\n',
        encoding="utf-8",
    )
    a, b, c = table([tmp_path / "clips.csv"])
    assert (a.machine_type, a.machine_id, a.split, a.label, a.domain) == ("Pump A", "7", "train", 0, "source")
    assert (a.attributes, a.file_name, a.path) == ("speed 3", "a.wav", tmp_path / "a.wav")
    assert (b.split, b.label, b.domain, b.file_name) == ("test", 1, "target", "day 1/b.wav")
    assert (c.split, c.label, c.attributes) == ("test", -1, "x, y")
    assert len({a.key, b.key, c.key}) == 3
    assert all(set(clip.key) <= set(make_key(clip.key)) for clip in (a, b, c))


def test_table_needs_no_optional_columns(tmp_path, write_wav):
    write_wav(tmp_path / "a.wav")
    (tmp_path / "clips.csv").write_text("label,path,split,machine_id,machine_type\n0,a.wav,train,00,fan\n")
    assert table([tmp_path / "clips.csv"])[0].machine_class == ("fan", "00")


def test_table_names_recordings_and_says_where_one_is_in_training_and_test(tmp_path, write_wav):
    lines = ["path,machine_type,machine_id,split,label,recording"]
    for number, (unit, split, recording) in enumerate(
        [("1", "train", "mon"), ("1", "test", "mon"), ("1", "test", "tue"), ("2", "test", "mon"), ("1", "train", "")]
    ):
        write_wav(tmp_path / f"{number}.wav")
        lines.append(f"{number}.wav,fan,{unit},{split},normal,{recording}")
    (tmp_path / "clips.csv").write_text("\n".join(lines) + "\n")
    corpus = find_clips("table", [tmp_path / "clips.csv"])
    assert [clip.recording for clip in corpus.clips] == ["mon", "mon", "tue", "mon", ""]
    assert corpus.notes == {"recordings_in_training_and_test": 1}
    (remark,) = corpus.remarks
    assert remark.startswith("warning: 1 recordings have clips in both training and test")
    assert remark.endswith(": mon of fan/1")


def test_a_recording_of_known_faults_is_in_no_test(tmp_path, write_wav):
    for name in "abc":
        write_wav(tmp_path / f"{name}.wav")
    csv = tmp_path / "clips.csv"
    lines = ["a.wav,fan,00,train,normal,,{0}", "b.wav,fan,00,train,anomaly,,monday", "c.wav,fan,00,test,{1},,{2}"]
    columns = HEADER.strip() + ",recording\n"
    text = columns + "".join(line.replace(",,", ",,,") + "\n" for line in lines)
    csv.write_text(text.format("monday", "anomaly", "tuesday"))
    clips = {clip.path.stem: clip for clip in table([csv])}
    assert [clips[name].is_known_fault for name in "abc"] == [False, True, False]
    csv.write_text(text.format("monday", "anomaly", "monday"))
    with pytest.raises(
        UserError, match="1 recordings have known faults in training and clips in test: monday of fan/00"
    ):
        table([csv])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.wav,fan,00,train,normal\n", "csv:2: .*number of cells"),
        ("b.wav,fan,00,train,normal,,\n", r"csv:2: there is no file .*b\.wav"),
        ("a.wav,,00,train,normal,,\n", "csv:2: machine_type is empty"),
        ("a.wav,fan,00,training,normal,,\n", "csv:2: split is 'training', not one of train, test"),
        ("a.wav,fan,00,test,bad,,\n", "csv:2: label is 'bad', not one of normal, anomaly, unknown"),
        ("a.wav,fan,00,test,0,here,\n", "csv:2: domain is 'here', not one of"),
        (
            "a.wav,fan,00,train,unknown,,\n",
            r"csv:2: a training clip is normal, or a known fault \(anomaly\), the label is",
        ),
        ("", "lists no clip"),
    ],
)
def test_table_errors_name_the_line(tmp_path, write_wav, line, message):
    write_wav(tmp_path / "a.wav")
    (tmp_path / "clips.csv").write_text(HEADER + line)
    with pytest.raises(UserError, match=message):
        table([tmp_path / "clips.csv"])


def test_table_takes_accents_as_the_disk_writes_them_and_says_what_is_alike(tmp_path, write_wav):
    on_disk = write_wav(tmp_path / "Ma\u0308rz" / "Lu\u0308fter.wav")  # as a Mac writes it: letter and two dots
    csv = tmp_path / "clips.csv"
    csv.write_text(HEADER + "M\u00e4rz/L\u00fcfter.wav,fan,00,train,normal,,\n", encoding="utf-8")
    (clip,) = table([csv])
    assert (clip.path, clip.file_name) == (on_disk, "M\u00e4rz/L\u00fcfter.wav")
    csv.write_text(HEADER + "M\u00e4rz/l\u00fcfter.WAV,fan,00,train,normal,,\n", encoding="utf-8")
    with pytest.raises(UserError, match="is there: names are case-sensitive"):
        table([csv])


def test_table_passes_over_lines_of_empty_cells(tmp_path, write_wav):
    write_wav(tmp_path / "a.wav")
    csv = tmp_path / "clips.csv"
    csv.write_text(f"{HEADER},,,,,,\na.wav,fan,00,train,normal,,\n , ,,,,,\n,,,,,,\n")
    assert [clip.path for clip in table([csv])] == [tmp_path / "a.wav"]


def test_table_says_what_leads_round_in_a_circle(tmp_path):
    (tmp_path / "a.wav").symlink_to("b.wav")
    (tmp_path / "b.wav").symlink_to("a.wav")
    (tmp_path / "clips.csv").write_text(f"{HEADER}a.wav,fan,00,train,normal,,\n")
    (clip,) = table([tmp_path / "clips.csv"])
    with pytest.raises(BadFileError, match="symbolic links"):
        read_header(clip.path)


def test_table_columns_and_encoding(tmp_path):
    csv = tmp_path / "clips.csv"
    csv.write_text("path;machine_type\n")
    with pytest.raises(UserError, match="csv:1: the first line must name the columns path,machine_type"):
        table([csv])
    csv.write_bytes(HEADER.encode() + b"\xff\xfe\n")
    with pytest.raises(UserError, match="is not UTF-8"):
        table([csv])
    with pytest.raises(UserError, match="takes a csv"):
        table([tmp_path])


def test_keys_are_plain_and_stay_apart():
    assert make_key("fan", "train", "normal_id_00_00000000") == "fan-train-normal_id_00_00000000"
    odd = [
        make_key("펌프", "1.5"),
        make_key("펌프", "1_5"),
        make_key("팬팬", "1.5"),
        make_key("x" * 200),
        make_key("x" * 201),
    ]
    assert len(set(odd)) == 5
    assert all(len(key) <= 90 and key.isascii() and "." not in key and " " not in key for key in odd)


def test_table_tells_recordings_apart_and_moved_ones_keep_their_keys(tmp_path, write_wav):
    names = ["a/b.wav", "a-b.wav", "a/b.flac", "x/b.wav"]
    for home in ("here", "moved"):
        for day in ("one", "two"):
            for name in names:
                write_wav(tmp_path / home / day / name)
            lines = [f"{name},fan,00,train,normal,,\n" for name in names]
            (tmp_path / home / day / "c.csv").write_text(HEADER + "".join(lines))
    lists = {home: [tmp_path / home / day / "c.csv" for day in ("one", "two")] for home in ("here", "moved")}
    clips = table(lists["here"])
    assert len({c.key for c in clips}) == 8
    assert all(len(c.key) <= 90 and make_key(c.key) == c.key for c in clips)
    assert [c.key for c in table(lists["moved"])] == [c.key for c in clips]
    with pytest.raises(UserError, match=r"two/c\.csv:2: .*b\.wav is listed twice, first in .*two/c\.csv:2"):
        table([lists["here"][1]] * 2)


def test_table_refuses_a_recording_listed_twice(tmp_path, write_wav):
    write_wav(tmp_path / "day" / "a.wav")
    lines = "day/a.wav,fan,00,train,normal,,\nday/../day/a.wav,fan,01,test,anomaly,,\n"
    (tmp_path / "c.csv").write_text(HEADER + lines)
    with pytest.raises(UserError, match=r"c\.csv:3: .*a\.wav is listed twice, first in .*c\.csv:2"):
        table([tmp_path / "c.csv"])


def test_a_table_says_what_it_does_not_list(tmp_path: Path, write_wav):
    for name in ("a.wav", "b.wav", "c.FLAC", "sub/d.wav", "._a.wav"):
        write_wav((tmp_path / name).with_suffix(".wav")).rename(tmp_path / name)
    (tmp_path / "again.wav").symlink_to("a.wav")
    csv = tmp_path / "clips.csv"
    csv.write_text(HEADER + "a.wav,fan,00,train,normal,,\n")
    said = f"{csv}: 1 recordings; 2 in the same folders are not listed, first: {tmp_path / 'b.wav'}"
    assert find_clips("table", [csv]).listed == [said]
    csv.write_text(HEADER + "".join(f"{name},fan,00,train,normal,,\n" for name in ("a.wav", "b.wav", "c.FLAC")))
    assert find_clips("table", [csv]).listed == [f"{csv}: 3 recordings"]


def test_folders_of_several_lists(tmp_path: Path, write_wav):
    for name in ("one", "two"):
        write_wav(tmp_path / name / "a.wav")
        (tmp_path / name / "c.csv").write_text(HEADER + f"a.wav,{name},00,train,normal,,\n")
    assert {c.machine_type for c in table([tmp_path / "one" / "c.csv", tmp_path / "two" / "c.csv"])} == {"one", "two"}


def test_the_table_of_recordings_keeps_long_names_and_every_number(capsys):
    """A terminal of 80 columns: names are folded, nothing is cut."""
    long = "a_machine_with_a_name_that_is_longer_than_half_of_a_line_of_any_terminal"
    clips = [
        SourceClip(Path("x.wav"), f"{machine_id}-{n}", long, machine_id, split, label, "x.wav")
        for machine_id in ("00", "01")
        for split, label, count in (("train", 0, 1234), ("test", 0, 1001), ("test", 1, 987), ("test", -1, 10))
        for n in range(count)
    ]
    console = open_console(width=80)
    console.print(shards_report._counts_table(clips))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    cells = [line.replace("│", " ").split() for line in lines]
    assert sum(row[-4:] == ["1234", "1001", "987", "10"] for row in cells) == 2
    assert ["all", "2468", "2002", "1974", "20"] in cells
    names = "".join(row[0] for row in cells if row and row[0] in f"{long}/00{long}/01")
    assert names == f"{long}/00{long}/01"
