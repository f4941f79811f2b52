"""YAML and JSON with positions: the only door to ruamel.yaml.

A file becomes plain dicts, lists and scalars, and every key and value remembers where it stands, so that a problem can point
at it. YAML 1.2: `on` and `yes` are text. A number with a point is a Decimal, never a float; dates stay text, for the reader to
parse in its own terms. Duplicate keys and broken syntax are problems with line and column; there are no anchors across files,
no tags, no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from connector.errors import ConfigError, Problem, Where

Path = tuple[str | int, ...]
MAX_DEPTH = 50
MAX_NODES = 500_000
MAX_DIGITS = 100
"""A longer whole number stays text: no key takes one, and Python refuses to read very long ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A parsed file: *value* is the tree; positions are 1-based (line, column)."""

    value: Any
    name: str
    lines: tuple[str, ...]
    values_at: Mapping[Path, tuple[int, int]]
    keys_at: Mapping[Path, tuple[int, int]]

    def position(self, path: Path) -> tuple[int, int]:
        """Return where the value at *path* stands, or its nearest ancestor that exists."""
        while path and path not in self.values_at:
            path = path[:-1]
        return self.values_at.get(path, (1, 1))

    def key_position(self, path: Path) -> tuple[int, int]:
        """Return where the key at the end of *path* stands; for list elements and the root, the value."""
        return self.keys_at.get(path) or self.position(path)

    def problem(self, code: str, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """Return a problem that points at the value (or key) at *path*, with the excerpt and a caret below."""
        line, column = self.key_position(path) if at_key else self.position(path)
        width = len(str(path[-1])) if at_key and path else _width(self.lines, line, column)
        return Problem(
            code=code,
            message=message,
            hint=hint,
            where=Where(file=self.name, line=line, column=column),
            excerpt=excerpt(self.lines, line, column, width),
        )


def excerpt(lines: tuple[str, ...], line: int, column: int, width: int) -> str:
    """Return the source line with carets below it, as hledger prints them."""
    if not 0 < line <= len(lines):
        return ""
    head = f"{line} | "
    return f"{head}{lines[line - 1].rstrip()}\n{' ' * (len(head) - 2)}| {' ' * (column - 1)}{'^' * max(1, width)}"


def _width(lines: tuple[str, ...], line: int, column: int) -> int:
    rest = lines[line - 1][column - 1 :] if 0 < line <= len(lines) else ""
    for end, sign in enumerate(rest):
        if sign in ",}]#":
            return max(1, len(rest[:end].rstrip()))
    return max(1, len(rest.rstrip()))


def loads(text: str, name: str) -> Located:
    """Parse YAML or JSON *text*; *name* is the file's name for messages.

    Raises: ConfigError with every duplicate key, or with the place where the syntax breaks.
    """
    lines = tuple(text.splitlines())
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise ConfigError([_syntax_problem(error, name, lines)]) from error
    except ReaderError as error:
        raise ConfigError([_character_problem(error, text, name)]) from error
    except RecursionError as error:
        raise ConfigError([_too_deep(name)]) from error
    reading = _Reading(name, lines)
    value = None if root is None else reading.read(root, (), 0)
    if reading.problems:
        raise ConfigError(reading.problems)
    return Located(value=value, name=name, lines=lines, values_at=reading.values_at, keys_at=reading.keys_at)


def _syntax_problem(error: MarkedYAMLError, name: str, lines: tuple[str, ...]) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    return Problem(
        code="bad-yaml",
        message=f"This is not valid YAML: {said}.",
        hint="Check indentation, colons and quotes on this line and the one before.",
        where=Where(file=name, line=line, column=column),
        excerpt=excerpt(lines, line, column, 1),
    )


def _character_problem(error: ReaderError, text: str, name: str) -> Problem:
    before = text[: error.position]
    where = Where(file=name, line=before.count("\n") + 1, column=len(before) - before.rfind("\n"))
    message = f"The character U+{ord(text[error.position]):04X} cannot stand in a YAML file."
    return Problem(code="bad-yaml", message=message, hint="Delete it, and save the file as UTF-8 text.", where=where)


def _too_deep(name: str) -> Problem:
    message = "This file is nested too deeply or too large."
    return Problem(code="too-deep", message=message, hint="Make it smaller.", where=Where(file=name, line=1, column=1))


class _Reading:
    """One walk over the nodes of a file."""

    def __init__(self, name: str, lines: tuple[str, ...]) -> None:
        self._name = name
        self._lines = lines
        self._count = 0
        self.problems: list[Problem] = []
        self.values_at: dict[Path, tuple[int, int]] = {}
        self.keys_at: dict[Path, tuple[int, int]] = {}

    def read(self, node: Node, path: Path, depth: int) -> Any:
        self._count += 1
        self.values_at[path] = _place(node)
        if depth > MAX_DEPTH or self._count > MAX_NODES:
            raise ConfigError([_too_deep(self._name)])
        if isinstance(node, MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, SequenceNode):
            return [self.read(child, (*path, i), depth + 1) for i, child in enumerate(node.value)]
        assert isinstance(node, ScalarNode)  # there are only these three kinds
        return _scalar(node)

    def _mapping(self, node: MappingNode, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.problems.append(self._problem("bad-yaml", _place(key_node), "A key is a text.", "Put quotes around it."))
                continue
            key = _text(key_node)
            at = (*path, key)
            if key in found:
                line, _ = self.keys_at[at]
                text = f"The key `{key}` stands here twice; the first is in line {line}."
                self.problems.append(self._problem("duplicate-key", _place(key_node), text, "Remove one of them."))
                continue
            self.keys_at[at] = _place(key_node)
            found[key] = self.read(value_node, at, depth + 1)
        return found

    def _problem(self, code: str, place: tuple[int, int], message: str, hint: str) -> Problem:
        line, column = place
        where = Where(file=self._name, line=line, column=column)
        return Problem(code=code, message=message, hint=hint, where=where, excerpt=excerpt(self._lines, line, column, 1))


def _place(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _text(node: ScalarNode) -> str:
    """Return a scalar's text; JSON escapes characters beyond U+FFFF as two halves, which become one again."""
    text = str(node.value)
    if text.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _scalar(node: ScalarNode) -> Any:
    kind = str(node.tag).rpartition(":")[2]
    text = _text(node)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int" and len(text) <= MAX_DIGITS:
        try:
            return int(text.replace("_", ""), 0)
        except ValueError:
            return int(text.replace("_", ""))
    if kind == "float":
        try:
            return Decimal(text.replace("_", ""))
        except InvalidOperation:
            return text
    return text
