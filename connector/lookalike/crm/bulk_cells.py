"""Cells of the CSV that bulk jobs read and write: `#N/A` empties a field, an empty cell leaves it alone, stamps end in `Z`."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.schema import NUMBERS, Field, ObjectType
from connector.lookalike.crm.soql import parsed
from connector.lookalike.crm.soql_scope import scope_of
from connector.lookalike.crm.soql_tree import Path
from connector.lookalike.crm.view import OrgView

_NULL = "#N/A"


def columns(org: OrgView, soql: str) -> tuple[str, list[str]]:
    """Return the object and the column names of a bulk query. Raises: Refusal for what bulk queries may not hold."""
    query = parsed(soql)
    scope = scope_of(org, query, soql)
    names = []
    if query.group_by or query.offset:
        raise Refusal("API_ERROR", "GROUP BY and OFFSET are not supported in bulk queries")
    for part in query.select:
        if not isinstance(part, Path):
            raise Refusal("API_ERROR", "aggregates, functions and subqueries are not supported in bulk queries")
        column = scope.column(part)
        if column.field.type == "address":
            raise Refusal("API_ERROR", f"compound field {column.name} is not supported in bulk queries")
        names.append(".".join([*(step.relationship for step in column.steps), column.name]))
    return scope.kind.name, names


def cell(answer: dict[str, Any], name: str) -> str:
    """Return the text of the column *name* of a record as it was answered."""
    value: Any = answer
    for step in name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f"{value:f}"
    text = str(value)
    return text.replace(".000+0000", ".000Z") if text.endswith(".000+0000") and text[10:11] == "T" else text


def record_from_cells(kind: ObjectType, cells: dict[str, str]) -> dict[str, Any]:
    """Return the fields of a row, as JSON would bring them. Raises: Refusal for a text that is no such value."""
    out: dict[str, Any] = {}
    for name, text in cells.items():
        if text == "":
            continue
        value = None if text == _NULL else text
        head, dot, tail = name.partition(".")
        if dot:
            out[head] = {tail: value}
            continue
        field = kind.by_lower.get(name.lower())
        out[name] = value if field is None or value is None else _value(field, value)
    return out


def _value(field: Field, text: str) -> Any:
    if field.type == "boolean":
        if text.lower() not in ("true", "false", "1", "0"):
            raise Refusal("INVALID_TYPE_ON_FIELD_IN_RECORD", f"{field.name}: value not of required type: {text}", fields=(field.name,))
        return text.lower() in ("true", "1")
    if field.type in NUMBERS or field.type == "int":
        try:
            return Decimal(text)
        except InvalidOperation:
            raise Refusal("INVALID_TYPE_ON_FIELD_IN_RECORD", f"{field.name}: value not of required type: {text}", fields=(field.name,)) from None
    return text
