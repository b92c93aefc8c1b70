"""The documentation: every page can be found, every link leads somewhere, every config has its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def links(page: Path) -> list[str]:
    """Where the page's links lead, those into the web left out."""
    return [target for target in LINK.findall(page.read_text()) if "://" not in target]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


def test_the_readme_links_every_page() -> None:
    assert {f"docs/{page.name}" for page in PAGES if page.parent.name == "docs"} <= set(links(README))


def test_every_config_has_its_row_among_the_systems() -> None:
    named = {target for target in links(ROOT / "docs" / "systems.md") if target.endswith(".yaml")}
    assert named == {f"../configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")}


def test_the_readme_counts_the_configs() -> None:
    count = len(list((ROOT / "configs").glob("*.yaml")))
    assert f" {count} configs" in README.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_what_is_there(page: Path) -> None:
    """Configs, scripts and modules in code blocks; `configs/X.yaml` stands for any."""
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
    files = set(re.findall(r"\b(?:configs|docker)/[\w./*-]+", blocks))
    assert [name for name in files if not list(ROOT.glob(name)) and name != "configs/X.yaml"] == []
    modules = re.findall(r"python -m ((?:asd|shards|benchmarks)[\w.]*)", blocks)
    assert [m for m in modules if not list(ROOT.glob(f"{m.replace('.', '/')}.py"))
            and not (ROOT / m.replace(".", "/") / "__main__.py").exists()] == []  # fmt: skip
