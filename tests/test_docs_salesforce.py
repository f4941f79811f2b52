"""The page about setting up Salesforce names only what there is: commands with their options, settings, permission sets, problem codes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from world import ROOT

from connector.cli import app
from connector.config import load_config
from connector.crm.package.rights import INTEGRATION, REP
from connector.kit import yamlpos

PAGES = ("docs/salesforce-setup.md", "docs/commands.md")
TEXT = (ROOT / PAGES[0]).read_text(encoding="utf-8")
GLOBAL = {"--json", "-v", "--verbose", "-c", "--config", "--help"}
PARTIAL = re.compile(r"[\[\]|…]|\.\.\.")


def typed(page: str) -> list[str]:
    """Return every command line of a page, in code blocks and between backticks; patterns with brackets are no command lines."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = re.findall(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )?(connector [a-z].*)$", text, re.MULTILINE)
    lines += re.findall(r"`(?:[A-Z_]+=\S+ )?(connector [a-z][^`\n]*)`", text)
    return [part.split(" #")[0].strip() for line in lines for part in line.split(" && ") if not PARTIAL.search(part)]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_can_be_typed(page: str) -> None:
    """Command and options exist; so many lines are looked at that the search cannot have missed the page."""
    lines = typed(page)
    assert len(lines) > 8
    assert [f"{line}: {fault}" for line in lines if (fault := wrong_with(line))] == []


def wrong_with(line: str) -> str:
    """Return what cannot be typed of a command line; empty if all can."""
    command: Any = typer.main.get_command(app)
    words = [word for word in shlex.split(line)[1:] if word not in GLOBAL]
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return ", ".join(f"no option {word}" for word in words if word.startswith("--") and word.partition("=")[0] not in known)


def test_the_check_finds_what_is_wrong() -> None:
    """A command and an option that do not exist are found."""
    assert wrong_with("connector crm deploi") == "no command deploi"
    assert wrong_with("connector crm deploy --check") == "no option --check"
    assert wrong_with("connector crm deploy --check-only --json") == ""


def test_the_configuration_of_the_page_is_one(tmp_path: Path) -> None:
    """The example of config.yaml loads, with mappings beside it."""
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "config.yaml").write_text(block)
    (tmp_path / "mappings").mkdir()
    for file in (ROOT / "mappings").glob("*.yaml"):
        (tmp_path / "mappings" / file.name).write_text(file.read_text())
    config = load_config(tmp_path / "config.yaml", {"SF_CLIENT_ID": "3MVG", "SF_CLIENT_SECRET": "x"})
    assert config.crm.auth == "client_credentials"
    assert yamlpos.loads(block, "block").value["crm"]["url"].endswith(".my.salesforce.com")


def test_the_page_names_what_there_is() -> None:
    """Permission sets by the names they have, every problem code that the code can raise, and what was not verified is marked."""
    for name in (INTEGRATION, REP):
        assert name in TEXT
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "connector").rglob("*.py"))
    codes = re.findall(r"^\| `([a-z-]+)`", TEXT, re.MULTILINE)
    assert len(codes) >= 8
    assert [code for code in codes if f'"{code}"' not in source] == []
    assert TEXT.count("(not verified)") >= 5


def test_the_readme_leads_there() -> None:
    """Whoever begins with README.md finds the page."""
    assert PAGES[0] in (ROOT / "README.md").read_text(encoding="utf-8")
