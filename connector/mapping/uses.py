"""Which CRM fields a mapping reads and writes, from the file alone: what an integration user must be allowed to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from connector.mapping.conditions import condition_paths
from connector.mapping.functions import parsed_expression
from connector.mapping.language import DiscountRule, MappingFile, Value, WriteBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """reads - (object, path from it), each once; of an `if_exists` all that may be read. writes - what is written back."""

    reads: tuple[tuple[str, str], ...]
    writes: tuple[WriteBlock, ...]


def uses(mapping: MappingFile) -> Uses:
    """Return what *mapping* reads and writes."""
    source, lines = mapping.source, mapping.source.lines
    on_record = [source.name]
    for condition in (source.when, source.open, source.drop, source.preview):
        on_record += condition_paths(condition)
    on_record += _paths(mapping.deal.values(), mapping.deal_discounts)
    on_lines = [lines.parent, *([lines.skip] if lines.skip else []), *_paths(mapping.line.values(), mapping.line_discounts)]
    found = [(source.object, p) for p in on_record] + [(lines.object, p) for p in on_lines]
    return Uses(reads=tuple(dict.fromkeys(pair for pair in found if not pair[1].startswith("$"))), writes=mapping.write_back)


def _paths(values: Iterable[Value], discounts: Iterable[DiscountRule]) -> Iterator[str]:
    for rule in discounts:
        yield from _of_value(rule.percent_off)
        if rule.months is not None:
            yield from _of_value(rule.months)
        yield from _of_expression(rule.when)
    for value in values:
        yield from _of_value(value)


def _of_value(value: Value) -> Iterator[str]:
    yield from value.paths
    yield from _of_expression(value.expr)
    yield from _of_expression(value.when)


def _of_expression(text: str) -> Iterator[str]:
    if text:
        yield from parsed_expression(text).paths
