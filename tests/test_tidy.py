"""The rules of style that a machine can check; `-m "not tidy"` leaves them out.

Ratchets: a number in `LONG_FILES` or `LONG_FUNCTIONS` may only fall. When a file has shrunk, the test asks for the new number.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from connector.kit.observe import EVENTS

pytestmark = pytest.mark.tidy

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES = 500
FUNCTION_LINES = 70
SLACK_LINES = 40
"""How far a listed number may stand above the truth before it must be lowered."""

LONG_FILES = {
    "connector/billing/store.py": 860,  # all statements of the books stand together
    "connector/sync/ledger.py": 776,  # all statements of the ledger stand together
    "tests/test_demo_crm_rest.py": 600,
    "tests/test_mapping_deals.py": 540,
}
LONG_FUNCTIONS = {
    "connector/migrations/versions/0001_first_schema.py upgrade": 310,  # one statement a table, written once
    "connector/migrations/versions/0002_whole_engine.py upgrade": 153,
}
LIKENESSES = {("connector/mapping/leaves.py", 0.85), ("connector/mapping/report.py", 0.6)}
"""How alike two words must be for "did you mean": the only floats in the pure rooms."""
BROAD_EXCEPTS = {
    "connector/billing/stripe_backend/pushing.py": "a bug in one push is told on its deal; the others go on (decision D-17)",
    "connector/billing/stripe_backend/reading/pulling.py": "a bug in reading one object keeps that object and no other from the books (decision D-17)",
    "connector/cli.py": "an unforeseen error becomes exit status 70 and one sentence instead of a stack of lines",
    "connector/daemon.py": "a bug in one run or in a reload must not end the daemon",
    "connector/posting.py": "a bug in one mail keeps that mail and no other (decision D-17)",
    "connector/sync/apply.py": "a bug in one deal parks that deal and not the chunk (decision D-17)",
    "connector/sync/intents.py": "a bug in one request is told to who asked; the others go on (decision D-17)",
    "connector/sync/mapper.py": "a bug in one record is met again by apply, which parks that deal alone (decision D-17)",
    "connector/sync/rounds.py": "a bug in one chain parks that chain (decision D-17)",
    "connector/sync/write_back.py": "a bug in one deal's rows keeps that deal alone from being told (decision D-17)",
}


def run(*command: str) -> None:
    """Run a checker in the project's folder; its whole output is the failure's text."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{' '.join(command[1:])}\n{done.stdout}\n{done.stderr}"


@cache
def sources(*folders: str) -> tuple[tuple[str, str, ast.Module], ...]:
    """Return (name, text, tree) of every Python file of ours below *folders*."""
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            found.append((path.relative_to(ROOT).as_posix(), text, ast.parse(text)))
    return tuple(found)


def tracked() -> Iterator[tuple[str, str]]:
    """Yield (name, text) of every tracked text file; without git, of every file that could be one."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    names = [name for name in listed.stdout.split("\0") if name] if listed.returncode == 0 else []
    for name in names:
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png", ".woff2", ".pdf", ".ico"):
            yield name, path.read_text(encoding="utf-8", errors="replace")


def test_ruff() -> None:
    """Ruff finds nothing under the rules of pyproject.toml."""
    run(sys.executable, "-m", "ruff", "check", ".")


def test_mypy() -> None:
    """Mypy in strict mode finds nothing in the package."""
    run(sys.executable, "-m", "mypy", "connector")


def test_import_contracts() -> None:
    """No import goes against the arrows of the house, and each library has one door."""
    run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")


def test_files_stay_short() -> None:
    """No file is longer than 500 lines, except the listed ones, which only shrink."""
    lengths = {name: text.count("\n") for name, text, _ in sources("connector", "tests", "bench")}
    assert not ratchet(lengths, LONG_FILES, FILE_LINES)


def test_functions_stay_short() -> None:
    """No function is longer than 70 lines, except the listed ones, which only shrink."""
    lengths = {
        f"{name} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, _, tree in sources("connector", "bench")
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert not ratchet(lengths, LONG_FUNCTIONS, FUNCTION_LINES)


def ratchet(lengths: dict[str, int], listed: dict[str, int], limit: int) -> list[str]:
    """Return what is longer than allowed, and what is listed with a number that could fall."""
    wrong = [f"{name}: {n} lines, allowed {listed.get(name, limit)}" for name, n in lengths.items() if n > listed.get(name, limit)]
    for name, number in listed.items():
        now = lengths.get(name, 0)
        if now <= limit:
            wrong.append(f"{name}: {now} lines, take it off the list")
        elif number > now + SLACK_LINES:
            wrong.append(f"{name}: {now} lines, lower its number from {number}")
    return wrong


def test_no_float_where_money_is_counted() -> None:
    """The pure rooms have no float: no call of it and no literal with a point, but for the likeness of two words."""
    found = [
        f"{name}:{node.lineno}"
        for name, _, tree in sources("connector/core", "connector/mapping")
        for node in ast.walk(tree)
        if (isinstance(node, ast.Constant) and isinstance(node.value, float) and (name, node.value) not in LIKENESSES)
        or (isinstance(node, ast.Call) and called(node) == "float")
    ]
    assert not found


def test_nothing_is_left_for_later() -> None:
    """No note to oneself and no stub stays in the code."""
    note = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|NotImplemented" + r"Error")
    found = [f"{name}: {match[0]}" for name, text, _ in sources("connector", "tests", "bench") if (match := note.search(text))]
    assert not found


def test_event_names_are_registered() -> None:
    """Every event that is logged stands in the registry."""
    used: dict[str, str] = {}
    for name, _, tree in sources("connector"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called(node) in ("log", "_log") and node.args:
                for event in words(node.args[0]):
                    used[event] = f"{name}:{node.lineno}"
    assert not {event: place for event, place in used.items() if event not in EVENTS}


def called(node: ast.Call) -> str:
    """Return the last name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def words(node: ast.expr) -> list[str]:
    """Return the texts in an event argument; one that is put together is reported as such."""
    if isinstance(node, ast.JoinedStr):
        return ["(an interpolated text)"]
    return [leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)]


def test_errors_are_caught_by_name() -> None:
    """Only the listed places catch everything; elsewhere a broad except must raise again."""
    found = [
        f"{name}:{node.lineno}"
        for name, _, tree in sources("connector")
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and is_broad(node) and name not in BROAD_EXCEPTS
    ]
    assert not found


def is_broad(handler: ast.ExceptHandler) -> bool:
    """Return whether *handler* catches everything and does not end by raising it again."""
    is_any = handler.type is None or (isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException"))
    last = handler.body[-1]
    return is_any and not (isinstance(last, ast.Raise) and last.exc is None)


def test_every_test_says_what_it_shows() -> None:
    """Each test has a sentence as docstring."""
    found = [
        f"{name}:{node.lineno} {node.name}"
        for name, _, tree in sources("tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not found


def test_parts_are_real() -> None:
    """No test replaces a part of the program behind its back."""
    patch = re.compile(r"mock\." + r"patch|monkeypatch\.set" + r"attr|unittest\." + r"mock")
    assert not [name for name, text, _ in sources("tests") if patch.search(text)]


def test_the_project_stands_alone() -> None:
    """No tracked file names a place of somebody's machine or the address of a package registry."""
    places = ("wo" + "rk", "ro" + "ot", "opt/py" + "pi", "opt/whe" + "els")
    hosts = ("pypi" + r"\.org", "python" + r"hosted\.org", "registry\\.npm" + r"js\.org", "proxy\\.go" + r"lang\.org")
    banned = re.compile(rf"(?<![\w./~-])/(?:{'|'.join(places)})/|{'|'.join(hosts)}|--(?:extra-)?index-url|--find-links")
    found = [
        f"{name}:{number}"
        for name, text in tracked()
        for number, line in enumerate(text.splitlines(), 1)
        if (match := banned.search(line)) and name != "tests/test_tidy.py" and match
    ]
    assert not found
