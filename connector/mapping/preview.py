"""A record seen through a mapping, field by field: what the CRM holds, by which rule it is read, what it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from connector.mapping.compile import Compiled
from connector.mapping.functions import ExpressionError
from connector.mapping.readers import Leaf, Reading, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewStep:
    """One field: *target* of the mapping, the *source* paths, what was *found* there, the *rule*, and the *result* as text.

    problem - what is wrong with it, "" if nothing is.
    """

    target: str
    source: str
    found: str
    rule: str
    result: str
    problem: str = ""


def rows(compiled: Compiled, record: Record, lines: Sequence[Record]) -> list[PreviewStep]:
    """Return every field that the mapping reads of the record and its lines, in the order of the mapping's tables."""
    return [_step(target, leaf, held, reading) for target, leaf, held, reading in compiled.leaves(record, lines)]


def _step(target: str, leaf: Leaf, record: Record, reading: Reading) -> PreviewStep:
    before = len(reading.problems)
    result = leaf.read(record, reading)
    problem = " ".join(f"{p.message} {p.hint}" for p in reading.problems[before:])
    return PreviewStep(
        target=target, source=", ".join(leaf.paths), found=_found(leaf, record), rule=leaf.rule, result=_text(result), problem=problem
    )


def _found(leaf: Leaf, record: Record) -> str:
    try:
        return _text(leaf.raw(record))
    except ExpressionError as error:
        return error.message


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.date().isoformat()
    return str(value)
