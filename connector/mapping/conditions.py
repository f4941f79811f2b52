"""Source conditions: the small subset of SOQL that says which records are deals, evaluated by ourselves (decision D-06).

`IsWon = true AND (Type IN ('New Business', 'Renewal') OR Type = null)` is parsed once, becomes a function over record
dicts, and can be written back as SOQL for the poll of the first load. The same text means the same to Salesforce: text is
compared without case, an empty field is `null`, `!=` and NOT IN hold for empty fields, comparisons of order do not, AND
and OR are mixed only with parentheses. Left out on purpose: date words such as TODAY (a condition must not depend on the
day it is looked at), functions, subqueries.
Source: SOQL and SOSL Reference, WHERE, fieldExpression and comparison operators.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "LIKE"]
Literals = None | bool | Decimal | str | date | datetime
Record = Mapping[str, Any]
Matches = Callable[[Record], bool]

_MAX_LENGTH = 2_000
_MAX_DEPTH = 30
_ID_LENGTH = 15
_ORDER = ("<", "<=", ">", ">=")

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^'\\]|\\.)*')
    | (?P<datetime>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))
    | (?P<date>\d{4}-\d\d-\d\d)
    | (?P<number>[+-]?(?:\d+(?:\.\d+)?|\.\d+))
    | (?P<op><=|>=|!=|<>|=|<|>)
    | (?P<mark>[(),])
    | (?P<word>[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)*)
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_KEYWORDS = {"AND", "OR", "NOT", "IN", "LIKE", "NULL", "TRUE", "FALSE"}


class ConditionError(ValueError):
    """The text is no condition; *offset* counts characters from its start, *message* and *hint* are for the admin."""

    def __init__(self, message: str, *, offset: int, hint: str = "") -> None:
        self.message = message
        self.offset = offset
        self.hint = hint
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """`path op value`."""

    path: str
    op: Operator
    value: Literals


@dataclass(frozen=True, slots=True, kw_only=True)
class Among:
    """`path IN (values)`, or NOT IN."""

    path: str
    values: tuple[Literals, ...]
    is_negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Every:
    """All of *parts* hold (AND); at least two."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Either:
    """One of *parts* holds (OR); at least two."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Negated:
    """*part* does not hold (NOT)."""

    part: Condition


Condition = Compare | Among | Every | Either | Negated


# ---------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    kind: str
    text: str
    offset: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.upper() in words


def parsed_condition(text: str) -> Condition:
    """Return the condition that *text* states.

    Raises: ConditionError with the place of the first thing that is not understood.
    """
    if len(text) > _MAX_LENGTH:
        raise ConditionError(f"The condition is longer than {_MAX_LENGTH} characters.", offset=0)
    reader = _Reader(_tokens(text))
    condition = reader.condition(0)
    reader.expect_end()
    return condition


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(text) and not text[at:].isspace():
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            hint = "Text stands in single quotes, as in Type = 'Renewal'." if text[start] in "\"'" else ""
            raise ConditionError(f"{text[start]!r} is not understood here.", offset=start, hint=hint)
        tokens.append(_Token(kind=match.lastgroup, text=match.group(match.lastgroup), offset=match.start(match.lastgroup)))
        at = match.end()
    tokens.append(_Token(kind="end", text="the end", offset=len(text)))
    return tokens


class _Reader:
    """Recursive descent over the tokens of one condition."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _take_mark(self, mark: str) -> None:
        token = self._next
        if token.kind != "mark" or token.text != mark:
            raise ConditionError(f'Expected "{mark}", found {_shown(token)}.', offset=token.offset)
        self._at += 1

    def expect_end(self) -> None:
        token = self._next
        if token.kind != "end":
            raise ConditionError(f"Expected AND, OR or the end, found {_shown(token)}.", offset=token.offset)

    def condition(self, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            raise ConditionError(f"Parentheses are nested deeper than {_MAX_DEPTH}.", offset=self._next.offset)
        parts = [self._simple(depth)]
        joint = ""
        while self._next.is_word("AND", "OR"):
            token = self._take()
            if joint and token.text.upper() != joint:
                hint = "Write (a AND b) OR c, or a AND (b OR c)."
                raise ConditionError("AND and OR stand side by side.", offset=token.offset, hint=hint)
            joint = token.text.upper()
            parts.append(self._simple(depth))
        if len(parts) == 1:
            return parts[0]
        return Every(parts=tuple(parts)) if joint == "AND" else Either(parts=tuple(parts))

    def _simple(self, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            raise ConditionError(f"Parentheses are nested deeper than {_MAX_DEPTH}.", offset=self._next.offset)
        token = self._next
        if token.is_word("NOT"):
            self._take()
            return Negated(part=self._simple(depth + 1))
        if token.kind == "mark" and token.text == "(":
            self._take()
            inner = self.condition(depth + 1)
            self._take_mark(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        name = self._take()
        if name.kind != "word" or name.text.upper() in _KEYWORDS:
            raise ConditionError(f"Expected a field, found {_shown(name)}.", offset=name.offset)
        token = self._take()
        if token.is_word("NOT", "IN"):
            is_negated = token.is_word("NOT")
            if is_negated and not self._take().is_word("IN"):
                raise ConditionError('Expected "NOT IN".', offset=token.offset)
            return Among(path=name.text, values=self._list(), is_negated=is_negated)
        if token.is_word("LIKE"):
            place = self._next.offset
            pattern = self._literal()
            if not isinstance(pattern, str):
                raise ConditionError("LIKE takes a text in single quotes.", offset=place)
            return Compare(path=name.text, op="LIKE", value=pattern)
        if token.kind != "op":
            hint = "One of = != < <= > >= LIKE, IN (..), NOT IN (..)."
            raise ConditionError(f"Expected a comparison after {name.text}, found {_shown(token)}.", offset=token.offset, hint=hint)
        op: Any = "!=" if token.text == "<>" else token.text
        place = self._next.offset
        value = self._literal()
        if op in _ORDER and (value is None or isinstance(value, bool)):
            raise ConditionError(f'"{op}" has no meaning for {_written(value)}.', offset=place, hint="Use = or !=.")
        return Compare(path=name.text, op=op, value=value)

    def _list(self) -> tuple[Literals, ...]:
        self._take_mark("(")
        values = [self._literal()]
        while self._next.kind == "mark" and self._next.text == ",":
            self._take()
            values.append(self._literal())
        self._take_mark(")")
        return tuple(values)

    def _literal(self) -> Literals:
        token = self._take()
        if token.kind == "text":
            return _unquoted(token.text)
        if token.kind == "number":
            return Decimal(token.text)
        if token.kind in ("date", "datetime"):
            return _time(token)
        if token.is_word("NULL"):
            return None
        if token.is_word("TRUE", "FALSE"):
            return token.text.upper() == "TRUE"
        if token.kind == "word":
            hint = f"Write '{token.text}' for a text; dates are written 2026-01-31, words such as TODAY are not supported."
            raise ConditionError(f"{token.text} is no value.", offset=token.offset, hint=hint)
        raise ConditionError(f"Expected a value, found {_shown(token)}.", offset=token.offset)


def _shown(token: _Token) -> str:
    return "the end" if token.kind == "end" else f'"{token.text}"'


def _time(token: _Token) -> date | datetime:
    try:
        if token.kind == "date":
            return date.fromisoformat(token.text)
        return datetime.fromisoformat(token.text).astimezone(UTC)
    except ValueError:
        raise ConditionError(f"{token.text} is no day of the calendar.", offset=token.offset) from None


def _unquoted(text: str) -> str:
    # LIKE needs to know an escaped wildcard from a bare one, so \% and \_ keep their backslash
    def plain(match: re.Match[str]) -> str:
        char = match.group(1)
        return match.group(0) if char in "%_" else _ESCAPES.get(char, char)

    return re.sub(r"\\(.)", plain, text[1:-1], flags=re.DOTALL)


# ---------------------------------------------------------------- writing


def soql(condition: Condition) -> str:
    """Return the condition as SOQL text that parses to the same condition."""
    if isinstance(condition, Compare):
        return f"{condition.path} {condition.op} {_written(condition.value)}"
    if isinstance(condition, Among):
        values = ", ".join(_written(v) for v in condition.values)
        return f"{condition.path} {'NOT IN' if condition.is_negated else 'IN'} ({values})"
    if isinstance(condition, Negated):
        return f"NOT {_nested(condition.part)}"
    word = " AND " if isinstance(condition, Every) else " OR "
    return word.join(_nested(part) for part in condition.parts)


def _nested(condition: Condition) -> str:
    text = soql(condition)
    return text if isinstance(condition, (Compare, Among)) else f"({text})"


def _written(value: Literals) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    return _quoted(value)


def _quoted(text: str) -> str:
    out = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\" and text[at + 1 : at + 2] in ("%", "_"):
            out.append(text[at : at + 2])
            at += 2
            continue
        named = next((k for k, v in _ESCAPES.items() if v == char), None)
        out.append(f"\\{named}" if named else f"\\{char}" if char in "\\'" else char)
        at += 1
    return "'" + "".join(out) + "'"


# ---------------------------------------------------------------- looking at it


def condition_literals(condition: Condition) -> tuple[tuple[str, Literals], ...]:
    """Return every field path with each value it is compared to, in the order written."""
    if isinstance(condition, Compare):
        return ((condition.path, condition.value),)
    if isinstance(condition, Among):
        return tuple((condition.path, value) for value in condition.values)
    parts: Iterable[Condition] = (condition.part,) if isinstance(condition, Negated) else condition.parts
    return tuple(pair for part in parts for pair in condition_literals(part))


def condition_paths(condition: Condition | None) -> tuple[str, ...]:
    """Return the field paths it reads, each once."""
    return tuple(dict.fromkeys(path for path, _ in condition_literals(condition))) if condition is not None else ()


# ---------------------------------------------------------------- holding it against records


def getter(path: str) -> Callable[[Record], Any]:
    """Return the function that reads *path* of a record; a parent that is not there gives None."""
    parts = path.split(".")
    if len(parts) == 1:
        return lambda record: record.get(path)
    if len(parts) == 2:
        parent, name = parts

        def of_parent(record: Record) -> Any:
            inner = record.get(parent)
            return inner.get(name) if inner else None

        return of_parent

    def deep(record: Record) -> Any:
        inner: Any = record
        for part in parts:
            if not inner:
                return None
            inner = inner.get(part)
        return inner

    return deep


def matcher(condition: Condition, type_of: Callable[[str], str]) -> Matches:
    """Return the function that says whether a record fulfils *condition*.

    type_of - Salesforce's type of a field path ("" = unknown): ids are compared without their 3-character suffix.
    """
    if isinstance(condition, Compare):
        return _comparing(condition, type_of(condition.path))
    if isinstance(condition, Among):
        kind = type_of(condition.path)
        tests = tuple(_comparing(Compare(path=condition.path, op="=", value=v), kind) for v in condition.values)
        is_negated = condition.is_negated
        return lambda record: any(test(record) for test in tests) is not is_negated
    if isinstance(condition, Negated):
        inner = matcher(condition.part, type_of)
        return lambda record: not inner(record)
    parts = tuple(matcher(part, type_of) for part in condition.parts)
    if isinstance(condition, Every):
        return lambda record: all(part(record) for part in parts)
    return lambda record: any(part(record) for part in parts)


def _comparing(condition: Compare, kind: str) -> Matches:
    read = getter(condition.path)
    op = condition.op
    if op == "LIKE":
        pattern = _pattern(str(condition.value))
        return lambda record: (value := read(record)) is not None and pattern.fullmatch(str(value)) is not None
    normal = _normal(condition.value, kind)
    wanted = normal(condition.value)
    if op == "=":
        return lambda record: normal(read(record)) == wanted
    if op == "!=":
        return lambda record: normal(read(record)) != wanted
    compare = _COMPARE[op]

    def ordered(record: Record) -> bool:
        value = normal(read(record))
        return value is not None and compare(value, wanted)

    return ordered


_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def _normal(value: Literals, kind: str) -> Callable[[Any], Any]:
    """Return what brings field values and the literal of one comparison onto one form."""
    if kind in ("id", "reference"):
        return lambda v: str(v)[:_ID_LENGTH] if v else None
    if isinstance(value, datetime):
        return _instant
    if isinstance(value, str):
        return lambda v: str(v).casefold() if v not in (None, "") else None
    if isinstance(value, date):
        return lambda v: v.isoformat() if isinstance(v, date) else v
    return lambda v: None if v == "" else v


def _instant(value: Any) -> datetime | None:
    if not value:
        return None
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _pattern(like: str) -> re.Pattern[str]:
    out = []
    at = 0
    while at < len(like):
        char = like[at]
        if char == "\\" and like[at + 1 : at + 2] in ("%", "_"):
            out.append(re.escape(like[at + 1]))
            at += 2
            continue
        out.append({"%": ".*", "_": "."}.get(char, re.escape(char)))
        at += 1
    return re.compile("".join(out), re.IGNORECASE | re.DOTALL)
