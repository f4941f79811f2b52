"""Files of rows as people export them: CSV (comma or semicolon), JSON, JSON Lines; each row with the place where it stands.

All values come as they are written: texts of a CSV, whole numbers and Decimals of JSON. An empty cell is left out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from connector.errors import ConfigError, Problem, Where

MAX_ROWS = 1_000_000
MAX_BYTES = 500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One row of a file; *line* is where it begins, 1-based, of a JSON list its number in the list."""

    file: str
    line: int
    values: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Where it stands: file:line."""
        return f"{self.file}:{self.line}"

    def problem(self, code: str, message: str, hint: str = "") -> Problem:
        """Return a problem of this row."""
        return Problem(code=code, message=message, hint=hint, where=Where(file=self.file, line=self.line))


def bad_file(path: Path, message: str, hint: str, *, line: int | None = None) -> ConfigError:
    """Return the refusal of a whole file."""
    return ConfigError([Problem(code="unreadable-file", message=message, hint=hint, where=Where(file=str(path), line=line))])


def text_of(path: Path) -> str:
    """Return a file's text. Raises: ConfigError for one that cannot be read."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise bad_file(path, f"{path} has more than {MAX_BYTES // 1_000_000} MB.", "Split it.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise bad_file(path, f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise bad_file(path, f"{path} is no UTF-8 text.", "Save it as UTF-8.") from error


def csv_rows(text: str, path: Path, columns: Sequence[str], required: Iterable[str]) -> list[SourceRow]:
    """Return the rows of a CSV whose first line names its columns. Raises: ConfigError for columns that nobody knows or that are missing."""
    lines = text.splitlines(keepends=True)
    head = lines[0] if lines else ""
    reader = csv.reader(lines, delimiter=";" if head.count(";") > head.count(",") else ",")
    names = [name.strip().lower() for name in next(reader, [])]
    _check_columns(names, path, columns, required)
    found: list[SourceRow] = []
    before = reader.line_num
    for cells in reader:
        line, before = before + 1, reader.line_num
        values = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
        if len(cells) > len(names) and any(c.strip() for c in cells[len(names) :]):
            raise bad_file(path, f"Line {line} has more cells than the first line has columns.", "Put quotes around a cell with commas.", line=line)
        if values:
            found.append(SourceRow(file=str(path), line=line, values=values))
    return _bounded(found, path)


def _check_columns(names: Sequence[str], path: Path, columns: Sequence[str], required: Iterable[str]) -> None:
    problems = []
    for name in names:
        if name not in columns:
            near = get_close_matches(name, columns, n=1)
            hint = f'Did you mean "{near[0]}"?' if near else f"Known are: {', '.join(columns)}."
            problems.append(Problem(code="unknown-column", message=f'There is no column "{name}".', hint=hint, where=Where(file=str(path), line=1)))
    missing = [name for name in required if name not in names]
    where = Where(file=str(path), line=1)
    hint = "The first line names the columns."
    problems += [Problem(code="missing-column", message=f'The column "{name}" is missing.', hint=hint, where=where) for name in missing]
    if problems:
        raise ConfigError(problems)


def json_rows(text: str, path: Path, columns: Sequence[str]) -> list[SourceRow]:
    """Return the rows of a JSON list of objects, or of JSON Lines. Raises: ConfigError for anything else."""
    if text.lstrip().startswith("["):
        entries = list(enumerate(_json(text, path, 1), 1))
    else:
        entries = [(n, _json(line, path, n)) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    found = []
    for number, entry in entries:
        if not isinstance(entry, dict):
            raise bad_file(path, f"Row {number} is no object.", "Write one object a row, with the columns as keys.", line=number)
        _check_columns(list(entry), path, columns, ())
        found.append(SourceRow(file=str(path), line=number, values={k: v for k, v in entry.items() if v not in (None, "")}))
    return _bounded(found, path)


def _json(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise bad_file(path, f"This is not valid JSON: {error}.", "Write a list of objects, or one object a line.", line=line) from error


def _bounded(found: list[SourceRow], path: Path) -> list[SourceRow]:
    if len(found) > MAX_ROWS:
        raise bad_file(path, f"{path} has {len(found):,} rows; {MAX_ROWS:,} are possible.", "Split it.")
    return found


def repeated(rows: Iterable[SourceRow], names: Iterable[str]) -> dict[int, SourceRow]:
    """Return by index the rows whose name stood before in the file, with the row that it stood in first."""
    first: dict[str, SourceRow] = {}
    found: dict[int, SourceRow] = {}
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        if name in first:
            found[number] = first[name]
        first.setdefault(name, row)
    return found
