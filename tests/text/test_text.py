"""Text is UTF-8 in every file and shown in every locale; names are names wherever they are shown."""

from __future__ import annotations

import ast
import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.errors import UserError, printable
from asd.report import build_report, console_table, markdown
from asd.report.figures.panels import new_panels, short, style
from asd.text.markdown import escaped, markdown_table
from asd.text.terminal import open_console
from shards.layouts.clip import Choices
from shards.layouts.table import read_tables
from tests.report.test_report import HEADER, clips

ROOT = Path(__file__).parents[2]
SOURCES = [*ROOT.glob("asd/**/*.py"), *ROOT.glob("shards/**/*.py"), *ROOT.glob("benchmarks/**/*.py"), ROOT / "eval.py",
           ROOT / "train_ddp.py"]  # fmt: skip
TEXT_FILES = {"read_text", "write_text", "open", "fdopen", "TextIOWrapper", "NamedTemporaryFile"}
BINARY = {"rb", "wb", "ab", "xb", "r+b", "w+b", "a+b"}
OTHERS = {  # they open no text
    "os.open", "tarfile.open", "tars.open", "self.remote.open", "Detector.open", "tracker.open", "config.logging.open",
    "LoggingConfig.model_validate_json(sys.argv[4]).open",
}  # fmt: skip
# Python in a locale of plain ASCII, as some clusters have it; its own remedies, UTF-8 mode and coercion, are off.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAMES = ("pump [left]", "pump [right]", "水泵", "fan [b]", "a|b", ":fan:", "$x$", "`<b>*")


def calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def is_text_without_encoding(call: ast.Call) -> bool:
    words = {keyword.arg: keyword.value for keyword in call.keywords}
    if "encoding" in words:
        return ast.literal_eval(words["encoding"]) not in ("utf-8", "utf-8-sig")
    if ast.dump(words.get("text", call)) == ast.dump(ast.Constant(True)):  # of a subprocess
        return True
    if name_of(call) not in TEXT_FILES or ast.unparse(call.func) in OTHERS:
        return False
    given = [node for word in (*call.args, *call.keywords) for node in ast.walk(word)]
    return not any(isinstance(node, ast.Constant) and node.value in BINARY for node in given)


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("path.read_text()", True),
        ("path.open('a')", True),
        ("open(path)", True),
        ("os.fdopen(3, 'w')", True),
        ("path.write_text(text, encoding='latin-1')", True),
        ("subprocess.run(words, text=True)", True),
        ("path.write_text(text, encoding='utf-8')", False),
        ("path.open('rb', buffering=0)", False),
        ("os.open(path, os.O_RDONLY)", False),
        ("subprocess.run(words, encoding='utf-8')", False),
    ],
)
def test_the_check_below_sees_what_it_looks_for(code, wrong):
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert is_text_without_encoding(call) == wrong


def test_every_text_file_is_read_and_written_as_utf8():
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in SOURCES
        for call in calls(path)
        if is_text_without_encoding(call)
    ]
    assert found == []


def test_every_console_is_one_that_reads_no_markup():
    found = {path.relative_to(ROOT) for path in SOURCES for call in calls(path) if name_of(call) == "Console"}
    assert {path for path in found if path.parts[0] != "benchmarks"} == {Path("asd/text/terminal.py")}


# ---- what is shown -------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A csv of one recording a machine."""
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "machine_type", "machine_id", "split", "label"))
        for number, name in enumerate(NAMES):
            noise = np.random.default_rng(number).integers(-3000, 3000, 16_000).astype("<i2")
            soundfile.write(tmp_path / f"L\xfcfter{number}.wav", noise, 16_000)
            writer.writerow((f"L\xfcfter{number}.wav", name, "1", "train", "normal"))
    return tmp_path / "t.csv"


def command(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"} | variables
    env = {name: value for name, value in env.items() if name != "PYTHONIOENCODING" or name in variables}
    words = (sys.executable, *map(str, words))
    return subprocess.run(
        words, cwd=ROOT, env=env, capture_output=True, encoding="utf-8", errors="replace", check=False
    )


def test_packing_shows_every_name_as_it_is(table):
    words = ("-m", "shards.pack", "--layout", "table", "--source", table, "--out", table.parent / "set")
    done = command(*words, "--name", "factory [/b]")
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    counts, _, rest = done.stdout.partition("CLASSES")
    for name in NAMES:
        assert f"{name}/1" in counts
        assert f"{name}/1" in rest
    assert "factory [/b]" in counts


@pytest.mark.parametrize("variables", [ASCII, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}])
def test_any_locale_packs_verifies_and_explains(table, variables):
    folder = table.parent / "set"
    check = ("train_ddp.py", "--check", "--config", "configs/own_machines.yaml", f"data.shards={folder}")
    for words in (
        ("-m", "shards.pack", "--layout", "table", "--source", table, "--out", folder),
        ("eval.py", "score", "--help"),
        *([("-m", "shards.verify", folder), check] if variables == ASCII else []),
    ):
        done = command(*words, **variables)
        assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), (words, done.stderr)


def test_a_name_that_the_locale_has_no_character_for_is_one_line(tmp_path):
    done = command("-c", r"from asd.errors import run_main; run_main(lambda: open('\u6c34.txt', 'w').close())", **ASCII)
    assert done.returncode == 2
    assert done.stderr.startswith("error: \\u6c34.txt: the locale's encoding, ascii, has no such character: set PYTHON")


def test_a_file_holds_names_as_they_are_whatever_the_locale(tmp_path):
    (tmp_path / "L\xfcfter.wav").touch()
    code = "import sys; from pathlib import Path; from asd.files.paths import path_text; "
    code += "print(ascii([path_text(path) for path in Path(sys.argv[1]).iterdir()]))"
    done = command("-c", code, tmp_path, **ASCII)
    assert ast.literal_eval(done.stdout) == [str(tmp_path / "L\xfcfter.wav")], done.stderr


def test_control_characters_are_shown_as_numbers():
    assert printable("a\x1b[31m\u202e\udcff b\n") == "a\\x1b[31m\\u202e\\udcff b\\n"
    assert str(UserError("the file \x1b]0;title\x07 is\n  odd")) == "the file \\x1b]0;title\\x07 is odd"


def test_a_report_shows_names_as_they_are():
    types = (*NAMES, "_under_")
    report = build_report(clips(types), HEADER.model_copy(update={"run": "runs/[b]x[/b]"}))
    console = open_console(file=io.StringIO(), width=200)
    with console.capture() as captured:
        console.print(console_table(report))
    for name in (*types, "runs/[b]x[/b]"):
        assert name in captured.get()
    text = markdown(report)
    assert "| a\\|b |" in text and "| pump \\[left\\] |" in text and "| \\_under\\_ |" in text
    (row,) = (line for line in text.splitlines() if line.startswith("| a\\|b | 00 |"))
    assert row.count(" | ") == 6


def test_markdown_names_are_names():
    assert escaped("id_00") == "id_00"
    assert escaped("*a* [b](c) `d` <e> x|y\n") == "\\*a\\* \\[b\\](c) \\`d\\` \\<e\\> x\\|y\\\\n"
    assert markdown_table(["a", "b"], [["c", "1"]]) == "| a | b |\n| :-- | --: |\n| c | 1 |"


# ---- pictures and tables -------------------------------------------------------------------------------------------


def test_figures_draw_every_name():
    """Formulas, hidden legend entries and missing glyphs are warnings or errors of matplotlib."""
    for name in (*NAMES, "_hidden", "$\\frac{", "a$", "x" * 40, "\x1b"):
        figure, (axes,) = new_panels(1)
        axes.plot([0, 1], label=short(name))
        style(axes, name, "")
        assert [text.get_text() for text in axes.legend().get_texts()] == [short(name)]
        figure.canvas.draw()
    assert short("水泵") == "\\u6c34\\u6cf5"


@pytest.mark.parametrize(
    ("encoding", "delimiter", "told"),
    [
        ("utf-8-sig", ",", None),
        ("utf-8", ";", "separated by commas"),
        ("latin-1", ",", "is not UTF-8 text: save it as UTF-8 csv"),
        ("utf-16", ",", "is not UTF-8 text: save it as UTF-8 csv"),
        ("utf-8", "\t", "separated by commas"),
    ],
)
def test_tables_of_other_programs_are_read_or_explained(table, encoding, delimiter, told):
    text = table.read_text(encoding="utf-8").replace(",", delimiter).replace("水泵", "Lüfter")
    table.write_bytes(text.replace("\n", "\r\n").replace("\r\r", "\r").encode(encoding))
    if told is None:
        assert len(read_tables([table], Choices()).clips) == len(NAMES)
        return
    with pytest.raises(UserError, match=told) as caught:
        read_tables([table], Choices())
    assert "\n" not in str(caught.value)


def test_a_file_name_that_is_no_text_is_refused_in_one_line(tmp_path):
    folder = tmp_path / "in" / "fan" / "train"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(-3000, 3000, 16_000).astype("<i2")
    for name in (b"normal_id_00_00000000.wav", b"normal_id_00_\xff0000001.wav"):
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:  # noqa: PTH123
            soundfile.write(file, noise, 16_000, format="WAV")
    done = command("-m", "shards.pack", "--layout", "dcase2020", "--source", tmp_path / "in", "--out", tmp_path / "set")
    assert (done.returncode, done.stderr.count("Traceback")) == (2, 0), done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "set").exists()
