"""The page of features names only what there is: commands of the program, fields of the shipped mappings, keys of the language."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from world import ROOT

from connector.cli import app

TEXT = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
MAPPINGS = "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path(ROOT / "mappings").glob("*.yaml")))


def commands() -> set[str]:
    """Return every command as typed, without `connector`."""
    root = typer.main.get_command(app)
    found = set()
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        found |= {f"{name} {verb}" for verb in below} if below else {name}
    return found


def test_every_command_of_the_page_exists() -> None:
    """A command that the page names can be typed."""
    named = set(re.findall(r"`connector ([a-z -]+?)(?: --?[^`]*| [A-Z][^`]*)?`", TEXT))
    assert named
    assert named - commands() == set()


def test_every_field_of_the_page_is_mapped() -> None:
    """A field that the page names is read or written by a shipped mapping."""
    fields = set(re.findall(r"\b([A-Z]\w*__c)\b", TEXT))
    assert fields
    assert {field for field in fields if field not in MAPPINGS} == set()
