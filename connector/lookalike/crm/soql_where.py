"""Conditions -> predicates over rows, and the index that spares looking at every row.

`SystemModstamp >= T AND IsWon = true` becomes a function of a row, and the access `Stamps(T, end)`: only rows in that window
are asked. An access never decides; it only narrows what the predicate is asked about.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from connector.lookalike.crm.ids import id18
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.schema import NUMBERS, STRINGS, Field
from connector.lookalike.crm.soql import characters, complaint, unescaped
from connector.lookalike.crm.soql_dates import day_range, instant_range
from connector.lookalike.crm.soql_scope import Column, Scope
from connector.lookalike.crm.soql_tree import (
    Call,
    Compare,
    Condition,
    Includes,
    Junction,
    Literal,
    Negation,
    Path,
    Query,
    Within,
)
from connector.lookalike.crm.values import instant_from_text, instant_text

Predicate = Callable[[Any], bool]
_ORDERING: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_LAST = "~"
_NAMED = {"datetime": "dateTime", "currency": "double", "percent": "double", "picklist": "string", "email": "string", "url": "string",
          "phone": "string", "textarea": "string", "id": "string", "reference": "string"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """The condition can only hold for these records."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamps:
    """The condition can only hold for records with low <= SystemModstamp <= high."""

    low: str
    high: str


Access = Ids | Stamps | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Compiles conditions of one scope.

    column - resolves the left side (fields, in HAVING also aggregates). sub_select - evaluates a semi-join to its ids.
    """

    scope: Scope
    column: Callable[[Path | Call], Column]
    sub_select: Callable[[Query], frozenset[str]]

    def predicate(self, condition: Condition, *, is_under_or: bool = False) -> Predicate:
        """Return the condition as a function of a row. Raises: Refusal."""
        if isinstance(condition, Junction):
            under_or = is_under_or or not condition.is_and
            parts = [self.predicate(part, is_under_or=under_or) for part in condition.parts]
            return _all(parts) if condition.is_and else _any(parts)
        if isinstance(condition, Negation):
            part = self.predicate(condition.part, is_under_or=is_under_or)
            return lambda item: not part(item)
        if isinstance(condition, Within):
            if is_under_or and isinstance(condition.values, Query):
                raise complaint(
                    self.scope.soql, condition.left.at, "Semi join sub-selects are not allowed with the 'OR' operator"
                )
            return self._within(condition)
        if isinstance(condition, Includes):
            return self._includes(condition)
        return self._compare(condition)

    # -- single conditions ------------------------------------------------------------------------------------------------

    def _filtered(self, left: Path | Call) -> Column:
        column = self.column(left)
        if not column.field.is_filterable:
            text = f"field '{column.field.name}' can not be filtered in a query call"
            raise complaint(self.scope.soql, left.at, text, "INVALID_FIELD")
        return column

    def _compare(self, condition: Compare) -> Predicate:
        column, literal, sign = self._filtered(condition.left), condition.right, condition.operator
        get, kind = column.get, column.field.type
        if sign == "like":
            return self._like(column, condition)
        if sign in _ORDERING and (kind in ("boolean", "multipicklist") or literal.kind == "null"):
            raise complaint(self.scope.soql, condition.left.at, f"invalid operator on {kind} field", "INVALID_FIELD")
        if literal.kind == "range":
            return self._ranged(column, condition)
        if literal.kind == "money":
            return self._converted(column, condition)
        value = self.value(column.field, literal)
        if sign in _ORDERING and value is None:
            raise complaint(self.scope.soql, literal.at, "an empty text cannot be ordered", "INVALID_FIELD")
        if kind in STRINGS:
            get = _lowered(get)
        if sign == "=":
            return lambda item: get(item) == value
        if sign == "!=":
            return lambda item: get(item) != value
        holds = _ORDERING[sign]

        def compare(item: Any) -> bool:
            found = get(item)
            return found is not None and holds(found, value)

        return compare

    def _like(self, column: Column, condition: Compare) -> Predicate:
        if column.field.type not in STRINGS or condition.right.kind != "string":
            raise complaint(
                self.scope.soql, condition.left.at, f"invalid operator on {column.field.type} field", "INVALID_FIELD"
            )
        parts = []
        for char, is_escaped in characters(self.scope.soql, condition.right):
            wild = {"%": ".*", "_": "."}.get(char) if not is_escaped else None
            parts.append(wild or re.escape(char))
        matches = re.compile("".join(parts), re.IGNORECASE | re.DOTALL).fullmatch
        get = column.get
        return lambda item: matches(get(item) or "") is not None

    def _ranged(self, column: Column, condition: Compare) -> Predicate:
        if column.field.type not in ("date", "datetime"):
            raise self._wrong_value(column.field, condition.right)
        find = day_range if column.field.type == "date" else instant_range
        try:
            low, high = find(condition.right.value, self.scope.org.now(), self.scope.org.zone)
        except ValueError:
            raise complaint(self.scope.soql, condition.right.at, f"unexpected token: {condition.right.value}") from None
        get = column.get
        tests: dict[str, Predicate] = {
            "=": lambda value: value is not None and low <= value < high,
            "!=": lambda value: value is None or not low <= value < high,
            "<": lambda value: value is not None and value < low,
            "<=": lambda value: value is not None and value < high,
            ">": lambda value: value is not None and value >= high,
            ">=": lambda value: value is not None and value >= low,
        }
        test = tests[condition.operator]
        return lambda item: test(get(item))

    def _converted(self, column: Column, condition: Compare) -> Predicate:
        """Compare amounts of several currencies with one of a given currency, by the org's rates."""
        org, literal, sign = self.scope.org, condition.right, condition.operator
        if column.field.type != "currency" or not column.is_direct or not org.is_multi_currency():
            raise self._wrong_value(column.field, literal)
        rates = {row["IsoCode"]: row["ConversionRate"] for row in org.rows("CurrencyType")}
        code, amount = literal.value[:3].upper(), Decimal(literal.value[3:])
        if code not in rates:
            raise complaint(self.scope.soql, literal.at, f"Invalid currency code: {code}", "INVALID_FIELD")
        wanted, get = amount / rates[code], column.get
        equality: dict[str, Callable[[Any, Any], bool]] = {"=": operator.eq, "!=": operator.ne}
        holds = (equality | _ORDERING)[sign]

        def compare(item: Any) -> bool:
            found = get(item)
            if found is None:
                return sign == "!="
            return holds(found / rates[item.get("CurrencyIsoCode", org.currency)], wanted)

        return compare

    def _includes(self, condition: Includes) -> Predicate:
        column = self._filtered(condition.left)
        if column.field.type != "multipicklist":
            text = f"INCLUDES and EXCLUDES work on fields of several picklist values, not on '{column.field.name}'"
            raise complaint(self.scope.soql, condition.left.at, text, "INVALID_FIELD")
        groups = [self._group(column.field, literal) for literal in condition.values]
        get, is_negated = column.get, condition.is_negated

        def includes(item: Any) -> bool:
            chosen = frozenset((get(item) or "").lower().split(";"))
            return any(group <= chosen for group in groups) != is_negated

        return includes

    def _group(self, field: Field, literal: Literal) -> frozenset[str]:
        if literal.kind != "string":
            raise self._wrong_value(field, literal)
        return frozenset(one.strip() for one in unescaped(self.scope.soql, literal).lower().split(";"))

    def _within(self, condition: Within) -> Predicate:
        column = self._filtered(condition.left)
        values = self._values(column, condition)
        get = _lowered(column.get) if column.field.type in STRINGS else column.get
        if condition.is_negated:
            return lambda item: get(item) not in values
        return lambda item: get(item) in values

    def _values(self, column: Column, condition: Within) -> frozenset[Any]:
        if not isinstance(condition.values, Query):
            return frozenset(self.value(column.field, literal) for literal in condition.values)
        if column.field.type not in ("id", "reference"):
            text = f"The left operand '{condition.left.text}' of a semi join must be an id or reference field"
            raise complaint(self.scope.soql, condition.left.at, text)
        return self.sub_select(condition.values)

    # -- values -----------------------------------------------------------------------------------------------------------

    def value(self, field: Field, literal: Literal) -> Any:
        """Return a literal in the form in which *field* is stored, text in lower case. Raises: Refusal for another type."""
        kind = field.type
        if literal.kind == "null" and kind != "boolean":
            return None
        if kind in STRINGS and literal.kind == "string":
            return unescaped(self.scope.soql, literal).lower() or None
        if kind in ("id", "reference") and literal.kind == "string":
            return self._id(literal)
        if (kind in NUMBERS or kind == "int") and literal.kind == "number":
            return literal.value
        if kind == "boolean" and literal.kind == "bool":
            return literal.value
        if kind == "date" and literal.kind == "day" and _is_day(literal.value):
            return literal.value
        if kind == "datetime" and literal.kind == "instant":
            at = instant_from_text(literal.value)
            if at is not None:
                return instant_text(at)
        raise self._wrong_value(field, literal)

    def _id(self, literal: Literal) -> str | None:
        text = unescaped(self.scope.soql, literal)
        if not text:
            return None
        found = id18(text)
        if found is None:
            raise complaint(self.scope.soql, literal.at, f"invalid ID field: {text}", "INVALID_QUERY_FILTER_OPERATOR")
        return found

    def _wrong_value(self, field: Field, literal: Literal) -> Refusal:
        name = _NAMED.get(field.type, field.type)
        quotes = "should be" if name == "string" else "should not be"
        text = (
            f"value of filter criterion for field '{field.name}' must be of type {name} and {quotes} enclosed in quotes"
        )
        return complaint(self.scope.soql, literal.at, text, "INVALID_FIELD")

    # -- access -----------------------------------------------------------------------------------------------------------

    def access(self, condition: Condition | None) -> Access:
        """Return the narrowest index that covers the condition; None means every row."""
        if isinstance(condition, Junction):
            found = [self.access(part) for part in condition.parts]
            return _narrowest(found) if condition.is_and else _widest(found)
        if isinstance(condition, Within) and not condition.is_negated:
            column = self.column(condition.left)
            if column.is_direct and self._is_indexed(column):
                return self._by_values(column, self._values(column, condition))
        if isinstance(condition, Compare):
            return self._compared(condition)
        return None

    def _compared(self, condition: Compare) -> Access:
        column, literal = self.column(condition.left), condition.right
        if not column.is_direct:
            return None
        if column.name == "SystemModstamp" and literal.kind == "instant":
            value = self.value(column.field, literal)
            lows = {">=": (value, _LAST), ">": (value, _LAST), "<": ("", value), "<=": ("", value), "=": (value, value)}
            found = lows.get(condition.operator)
            return Stamps(low=found[0], high=found[1]) if found else None
        if condition.operator == "=" and literal.kind == "string" and self._is_indexed(column):
            return self._by_values(column, [self.value(column.field, literal)])
        return None

    def _is_indexed(self, column: Column) -> bool:
        return column.name == "Id" or self.scope.org.table(column.kind.name).is_indexed(column.name)

    def _by_values(self, column: Column, values: Iterable[Any]) -> Access:
        table = self.scope.org.table(column.kind.name)
        known = list(values)
        if None in known:
            return None
        if column.name == "Id":
            return Ids(ids=tuple(sorted(one for one in known if one in table.rows)))
        return Ids(ids=tuple(sorted({one for value in known for one in table.matching(column.name, value)})))


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _narrowest(found: list[Access]) -> Access:
    by_id = [one for one in found if isinstance(one, Ids)]
    if by_id:
        return min(by_id, key=lambda one: len(one.ids))
    windows = [one for one in found if isinstance(one, Stamps)]
    if not windows:
        return None
    return Stamps(low=max(one.low for one in windows), high=min(one.high for one in windows))


def _widest(found: list[Access]) -> Access:
    if all(isinstance(one, Ids) for one in found):
        return Ids(ids=tuple(sorted({record for one in found if isinstance(one, Ids) for record in one.ids})))
    windows = [one for one in found if isinstance(one, Stamps)]
    if len(windows) == len(found):
        return Stamps(low=min(one.low for one in windows), high=max(one.high for one in windows))
    return None


def _lowered(get: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def lowered(item: Any) -> Any:
        found = get(item)
        return found.lower() if found is not None else None

    return lowered


def _all(parts: list[Predicate]) -> Predicate:
    if len(parts) == 2:
        first, second = parts
        return lambda item: first(item) and second(item)
    return lambda item: all(part(item) for part in parts)


def _any(parts: list[Predicate]) -> Predicate:
    if len(parts) == 2:
        first, second = parts
        return lambda item: first(item) or second(item)
    return lambda item: any(part(item) for part in parts)
