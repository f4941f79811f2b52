"""Complaints about a mapping file: each with its place, the line it stands on, a caret below, and the fix.

The layout is the one of every complaint about a file in this project:

    mappings/salesforce-opportunity.yaml:27:13: unknown-field
    27 |   quantity: Quantitty
       |             ^^^^^^^^^
    OpportunityLineItem has no field "Quantitty". Did you mean "Quantity"?
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from connector.errors import Problem, Where
from connector.mapping.language import Path, SourceText

WARNINGS: Mapping[str, str] = {
    "warn-calculated-field": "A formula or roll-up never moves the record's timestamp: its changes are seen when all records are compared with the CRM (`schedule.reconcile`, every night).",
    "warn-few-decimals": "The field keeps fewer decimal places than the currency has: the CRM rounds what stands there.",
    "warn-few-digits": "The field has no room for large amounts; the CRM refuses to write one.",
    "warn-not-unique": "The key of created rows is not unique: two rows of one value can no longer be written.",
    "warn-short-text": "The text field is too short for the longest of what is written, which is cut.",
    "warn-text-too-short": "The text field is too short for what is usually written: a text is cut, a number or link is left out.",
    "warn-unmapped-value": "The picklist has a value that `values` does not translate; a record with it is not billed.",
}
"""The codes that do not keep a file from being used, with what they mean."""

_CLOSE = 0.6
_TOKEN_END = re.compile(r"\s*(?:#.*)?$")


class Report:
    """Collects the problems of one file; `at` reads its tree."""

    def __init__(self, source: SourceText) -> None:
        self._source = source
        self._found: list[Problem] = []

    def at(self, path: Path) -> Any:
        """Return the node at *path*; None where there is none."""
        node = self._source.located.value
        for step in path:
            try:
                node = node[step]
            except (KeyError, IndexError, TypeError):
                return None
        return node

    def add(self, code: str, path: Path, message: str, hint: str = "", *, offset: int | None = None) -> None:
        """Record a problem with the value at *path*; *offset* - where in its text it lies, in characters."""
        line, column = self._source.located.position(path)
        width = self._width(self.at(path), line, column)
        if offset is not None:
            column, width = self._shifted(line, column, offset)
        self._record(code, (line, column), width, (message, hint))

    def add_key(self, code: str, path: Path, message: str, hint: str = "") -> None:
        """Record a problem with the key at the end of *path* rather than with its value."""
        key = str(path[-1])
        self._record(code, self._source.located.key_position(path), len(key), (message, hint))

    def problems(self) -> tuple[Problem, ...]:
        """Return all problems in the order of the file."""
        return tuple(sorted(dict.fromkeys(self._found), key=lambda p: (p.where.line or 0, p.where.column or 0)))

    def has_errors(self) -> bool:
        """Say whether something was found that is more than a warning."""
        return any(p.code not in WARNINGS for p in self._found)

    def _record(self, code: str, place: tuple[int, int], width: int, said: tuple[str, str]) -> None:
        lines = self._source.located.lines
        line, column = place
        excerpt = ""
        if 0 < line <= len(lines):
            head = f"{line} | "
            caret = " " * (len(head) - 2) + "| " + " " * (column - 1) + "^" * max(1, width)
            excerpt = f"{head}{lines[line - 1].rstrip()}\n{caret}"
        where = Where(file=self._source.file, line=line, column=column)
        self._found.append(Problem(code=code, message=said[0], hint=said[1], where=where, excerpt=excerpt))

    def _text(self, line: int) -> str:
        lines = self._source.located.lines
        return lines[line - 1] if 0 < line <= len(lines) else ""

    def _width(self, node: Any, line: int, column: int) -> int:
        rest = self._text(line)[column - 1 :]
        if isinstance(node, str):
            if rest.startswith(node):
                return len(node)
            if rest[:1] in "\"'" and (end := rest.find(rest[0], 1)) > 0:
                return end + 1
        if isinstance(node, (Mapping, list)):
            end_of_key = rest.find(":")
            return end_of_key if isinstance(node, Mapping) and end_of_key > 0 and rest[0] not in "{[" else 1
        return len(re.split(r"[,}\]#\s]", rest, maxsplit=1)[0]) or 1

    def _shifted(self, line: int, column: int, offset: int) -> tuple[int, int]:
        rest = self._text(line)[column - 1 :]
        column += offset + (1 if rest[:1] in "\"'" and rest else 0)
        after = self._text(line)[column - 1 :]
        word = re.match(r"[\w.$]+", after)
        if _TOKEN_END.fullmatch(after):
            column = min(column, len(self._text(line).rstrip()) + 1)
        return column, len(word.group(0)) if word else 1


def nearest(word: str, known: Iterable[str], *, cutoff: float = _CLOSE) -> str:
    """Return `Did you mean "X"?` for the known word closest to *word*, "" where none is closer than *cutoff* (1 = equal)."""
    candidates = list(known)
    folded = {c.casefold(): c for c in candidates}
    close = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=cutoff)
    return f'Did you mean "{folded[close[0]]}"?' if close else ""


def listed(words: Iterable[str]) -> str:
    """Return the words as people list them: `a, b or c`."""
    *head, last = [str(w) for w in words]
    return f"{', '.join(head)} or {last}" if head else last
