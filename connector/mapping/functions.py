"""Expressions in mappings: a small language without side effects, parsed and checked once when the mapping is loaded.

`round(UnitPrice * 12, 2) if Product2.Family == 'Yearly' else UnitPrice` reads fields by their path, calculates in Decimal,
and can call only the functions of `FUNCTIONS`. An empty field is `None`: arithmetic with it is None again, comparisons of
order with it are false. A date is its text, `2026-01-31`, so that dates compare as they are.
What simpleeval is not asked to guard is not let in: after parsing every node must be of a kind listed here, names must be
field paths or functions, number literals become Decimal, the text and the size of every result are bounded (decision D-25).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, DecimalException
from typing import Any

import simpleeval

from connector.core.period import boundary
from connector.core.terms import Interval
from connector.mapping.conditions import getter

MAX_LENGTH = 1_000
MAX_NODES = 200
MAX_EXPONENT = 12
MAX_TEXT = 40_000
_MAX_MONTHS = 1_200
_MAX_DAYS = 36_600
_MAX_PLACES = 12
# our own context: the ambient one belongs to whoever imported us last
_MATH = Context(prec=40)


class ExpressionError(ValueError):
    """The text is no expression, or cannot be evaluated for a record; *offset* counts characters from its start."""

    def __init__(self, message: str, *, offset: int = 0, hint: str = "") -> None:
        self.message = message
        self.offset = offset
        self.hint = hint
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """One parsed expression: the field paths it reads, and `evaluate`, which raises ExpressionError."""

    text: str
    paths: tuple[str, ...]
    evaluate: Callable[[Mapping[str, Any]], Any]


# ---------------------------------------------------------------- functions


def _number(value: Any) -> Decimal | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        raise ExpressionError(f"{value!r} is no number.")
    try:
        number = Decimal(value)
    except DecimalException:
        raise ExpressionError(f"{value!r} is no number.") from None
    if not number.is_finite():
        raise ExpressionError(f"{value!r} is no number.")
    return number


def _whole(value: Any, limit: int) -> int:
    number = _number(value)
    if number is None or number != int(number) or abs(number) > limit:
        raise ExpressionError(f"{value!r} is no whole number up to {limit}.")
    return int(number)


def _day(value: Any) -> date | None:
    if value is None or value == "":
        return None
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        raise ExpressionError(f"{value!r} is no date.") from None


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _rounded(value: Any, places: Any = 0) -> Decimal | None:
    number = _number(value)
    step = Decimal(1).scaleb(-_whole(places, _MAX_PLACES))
    return None if number is None else number.quantize(step, rounding=ROUND_HALF_UP, context=_MATH)


def _extreme(pick: Callable[[list[Any]], Any], values: tuple[Any, ...]) -> Any:
    present = [v for v in values if v is not None and v != ""]
    return pick(present) if present else None


def _coalesce(*values: Any) -> Any:
    return next((v for v in values if v is not None and v != ""), None)


def _add_months(day: Any, months: Any) -> str | None:
    start = _day(day)
    count = _whole(months, _MAX_MONTHS)
    if start is None:
        return None
    moved = boundary(datetime(start.year, start.month, start.day), Interval(unit="month"), count)  # noqa: DTZ001 - civil
    return moved.date().isoformat()


def _add_days(day: Any, days: Any) -> str | None:
    start = _day(day)
    count = _whole(days, _MAX_DAYS)
    return None if start is None else (start + timedelta(days=count)).isoformat()


def _days_between(first: Any, second: Any) -> Decimal | None:
    start, end = _day(first), _day(second)
    return None if start is None or end is None else Decimal((end - start).days)


def _part(name: str) -> Callable[[Any], Decimal | None]:
    def part(day: Any) -> Decimal | None:
        found = _day(day)
        return None if found is None else Decimal(getattr(found, name))

    return part


FUNCTIONS: Mapping[str, tuple[Callable[..., Any], str]] = {
    "blank": (lambda value: value is None or value == "", "blank(a): whether a is empty"),
    "coalesce": (_coalesce, "coalesce(a, b, ..): the first that is not empty"),
    "lower": (lambda value: _text(value).lower(), "lower(a): a in small letters"),
    "upper": (lambda value: _text(value).upper(), "upper(a): a in capital letters"),
    "trim": (lambda value: _text(value).strip(), "trim(a): a without blanks around it"),
    "left": (lambda value, n: _text(value)[: _whole(n, MAX_TEXT)], "left(a, n): the first n characters"),
    "contains": (lambda value, part: _text(part) in _text(value), "contains(a, b): whether b stands in a"),
    "starts_with": (lambda value, part: _text(value).startswith(_text(part)), "starts_with(a, b): whether a begins with b"),
    "text": (_text, "text(a): a as text"),
    "number": (_number, "number(a): a text as a number"),
    "round": (_rounded, "round(a, places): half away from zero; places is 0 if left out"),
    "abs": (lambda value: None if (n := _number(value)) is None else abs(n), "abs(a): a without its sign"),
    "min": (lambda *values: _extreme(min, values), "min(a, b, ..): the least that is not empty"),
    "max": (lambda *values: _extreme(max, values), "max(a, b, ..): the greatest that is not empty"),
    "date": (lambda value: None if (d := _day(value)) is None else d.isoformat(), "date(a): the day of a date or instant"),
    "add_months": (_add_months, "add_months(day, n): n months later; 31 January becomes 28 February"),
    "add_days": (_add_days, "add_days(day, n): n days later"),
    "days_between": (_days_between, "days_between(a, b): days from a to b"),
    "year": (_part("year"), "year(day)"),
    "month": (_part("month"), "month(day): 1 to 12"),
    "day": (_part("day"), "day(day): 1 to 31"),
}


# ---------------------------------------------------------------- operators


def _math(work: Callable[[Decimal, Decimal], Decimal]) -> Callable[[Any, Any], Any]:
    def operate(left: Any, right: Any) -> Any:
        a, b = _operand(left), _operand(right)
        return None if a is None or b is None else work(a, b)

    return operate


def _operand(value: Any) -> Decimal | None:
    if isinstance(value, str) and value:
        raise ExpressionError(f"{value!r} is a text, not a number.", hint="Use number(..) to read a text as a number.")
    return _number(value)


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        if len(left) + len(right) > MAX_TEXT:
            raise ExpressionError(f"The text would be longer than {MAX_TEXT} characters.")
        return left + right
    return _math(_MATH.add)(left, right)


def _power(left: Decimal, right: Decimal) -> Decimal:
    if right != int(right) or abs(right) > MAX_EXPONENT:
        raise ExpressionError(f"An exponent is a whole number up to {MAX_EXPONENT}.")
    return _MATH.power(left, right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def operate(left: Any, right: Any) -> bool:
        if left is None or right is None:
            return False
        try:
            return compare(left, right)
        except TypeError:
            raise ExpressionError(f"{left!r} and {right!r} cannot be compared.") from None

    return operate


def _within(value: Any, container: Any) -> bool:
    if not isinstance(container, str):
        raise ExpressionError("`in` looks for a text in a text.")
    return isinstance(value, str) and value in container


_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _add,
    ast.Sub: _math(_MATH.subtract),
    ast.Mult: _math(_MATH.multiply),
    ast.Div: _math(_MATH.divide),
    ast.FloorDiv: _math(_MATH.divide_int),
    ast.Mod: _math(_MATH.remainder),
    ast.Pow: _math(_power),
    ast.USub: lambda value: None if (n := _operand(value)) is None else -n,
    ast.UAdd: _operand,
    ast.Not: lambda value: not value,
    ast.Eq: lambda left, right: left == right,
    ast.NotEq: lambda left, right: left != right,
    ast.Lt: _ordered(lambda left, right: left < right),
    ast.LtE: _ordered(lambda left, right: left <= right),
    ast.Gt: _ordered(lambda left, right: left > right),
    ast.GtE: _ordered(lambda left, right: left >= right),
    ast.In: _within,
    ast.NotIn: lambda left, right: not _within(left, right),
}
_SHAPES = (ast.Expr, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.BinOp, ast.Compare, ast.IfExp, ast.Call, ast.Constant)
_SHAPES_ALL: tuple[type[ast.AST], ...] = (*_SHAPES, ast.Name, ast.Load, *_OPERATORS)
_CONSTANTS = {"true": True, "false": False, "null": None}

_record: ContextVar[Mapping[str, Any]] = ContextVar("record")


class _Fields:
    """Names of an expression, read from the record under evaluation (per thread, hence the context variable)."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        self._read = {path: getter(path) for path in paths}

    def __getitem__(self, path: str) -> Any:
        if path in _CONSTANTS:
            return _CONSTANTS[path]
        return self._read[path](_record.get())


class _Rewriter(ast.NodeTransformer):
    """Checks every node, turns dotted names into one name each and number literals into Decimal."""

    def __init__(self, text: str) -> None:
        self.paths: dict[str, None] = {}
        self._text = text

    def fail(self, node: ast.AST, message: str, hint: str = "") -> ExpressionError:
        return ExpressionError(message, offset=getattr(node, "col_offset", 0), hint=hint)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, _SHAPES_ALL):
            raise self.fail(node, f"{type(node).__name__} is not part of the expression language.")
        return super().generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        value: Any = node.value
        if isinstance(value, float):
            # the text of the literal, not the float: 0.1 is one tenth
            literal = ast.get_source_segment(self._text, node)
            value = Decimal((literal or repr(value)).replace("_", ""))
        elif isinstance(value, int) and not isinstance(value, bool):
            value = Decimal(value)
        elif not isinstance(value, (str, bool, Decimal)) and value is not None:
            raise self.fail(node, f"{value!r} is not part of the expression language.")
        return ast.copy_location(ast.Constant(value=value), node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return self._field(node, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        parts = [node.attr]
        inner: ast.expr = node.value
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            raise self.fail(node, "A dot stands only inside a field path such as Account.Name.")
        return self._field(node, ".".join((inner.id, *reversed(parts))))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name not in FUNCTIONS:
            shown = name or ast.get_source_segment(self._text, node.func) or "it"
            raise self.fail(node, f'There is no function "{shown}".', f"Functions: {', '.join(sorted(FUNCTIONS))}.")
        if node.keywords or any(isinstance(arg, ast.Starred) for arg in node.args):
            raise self.fail(node, f"{name} takes its arguments by position.")
        node.args = [self.visit(arg) for arg in node.args]
        return node

    def _field(self, node: ast.expr, path: str) -> ast.AST:
        if any(part.startswith("_") for part in path.split(".")):
            raise self.fail(node, f'"{path}" is no field.')
        if path not in _CONSTANTS:
            self.paths[path] = None
        return ast.copy_location(ast.Name(id=path, ctx=ast.Load()), node)


def parsed_expression(text: str) -> Expression:
    """Return *text* as an expression that can be evaluated over records.

    Raises: ExpressionError naming what is not part of the language.
    """
    text = text.strip()
    if not text:
        raise ExpressionError("The expression is empty.")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"The expression is longer than {MAX_LENGTH} characters.")
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        offset = (getattr(error, "offset", 1) or 1) - 1
        raise ExpressionError("It is not understood from here on.", offset=max(0, min(offset, len(text) - 1))) from None
    if len(module.body) != 1 or not isinstance(module.body[0], ast.Expr):
        raise ExpressionError("An expression is one value, not a statement.")
    if sum(1 for _ in ast.walk(module)) > MAX_NODES:
        raise ExpressionError(f"The expression has more than {MAX_NODES} parts.")
    rewriter = _Rewriter(text)
    tree = rewriter.visit(module.body[0])
    return _compiled(text, tuple(rewriter.paths), tree)


def _compiled(text: str, paths: tuple[str, ...], tree: ast.AST) -> Expression:
    names = _Fields(paths)
    functions = {name: function for name, (function, _) in FUNCTIONS.items()}
    evaluator = simpleeval.SimpleEval(operators=_OPERATORS, functions=functions, names=names)

    def evaluate(record: Mapping[str, Any]) -> Any:
        token = _record.set(record)
        try:
            return evaluator.eval(text, previously_parsed=tree)
        except ExpressionError:
            raise
        except (simpleeval.InvalidExpression, ArithmeticError, TypeError, ValueError, RecursionError) as error:
            raise ExpressionError(f"{text!r} cannot be calculated: {error}.") from error
        finally:
            _record.reset(token)

    return Expression(text=text, paths=paths, evaluate=evaluate)
