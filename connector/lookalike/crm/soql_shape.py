"""How rows are answered and sorted: records with their parents nested, in the order of the SELECT list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from connector.lookalike.crm.schema import STRINGS, Field
from connector.lookalike.crm.soql_scope import Column, parent_of
from connector.lookalike.crm.soql_tree import SortKey
from connector.lookalike.crm.table import Row
from connector.lookalike.crm.view import OrgView

Shape = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A value of the answer: a stored field by *name*, else what *get* computes."""

    name: str
    get: Callable[[Row], Any]


class Node:
    """A record of the answer with its fields and parents, in the order of the SELECT list."""

    def __init__(self, *, url: str, kind: str, reach: Callable[[Row], Row | None] | None = None) -> None:
        self.url, self.kind, self.reach = url, kind, reach
        self.entries: dict[str, Leaf | Node] = {}

    def parent(self, step: Field, org: OrgView) -> Node:
        """Return the node of a parent, made at its first mention."""
        found = self.entries.get(step.relationship)
        if not isinstance(found, Node):
            found = Node(url=self.url, kind=step.target, reach=parent_of(org, step))
            self.entries[step.relationship] = found
        return found

    def shape(self) -> Shape:
        """Return the function from a row to the answer of this node."""
        kind, prefix = self.kind, f"{self.url}/{self.kind}/"
        stored = [(key, entry.name) for key, entry in self.entries.items() if isinstance(entry, Leaf) and entry.name]
        if len(stored) == len(self.entries):

            def flat(row: Row) -> dict[str, Any]:
                out: dict[str, Any] = {"attributes": {"type": kind, "url": prefix + row["Id"]}}
                for key, name in stored:
                    out[key] = row.get(name)
                return out

            return flat
        getters = [
            (key, entry.get if isinstance(entry, Leaf) else entry.reached()) for key, entry in self.entries.items()
        ]

        def nested(row: Row) -> dict[str, Any]:
            out: dict[str, Any] = {"attributes": {"type": kind, "url": prefix + row["Id"]}}
            for key, get in getters:
                out[key] = get(row)
            return out

        return nested

    def reached(self) -> Callable[[Row], Any]:
        """Return the function from a child's row to the answer of this parent, None where there is none."""
        shape, reach = self.shape(), self.reach

        def get(row: Row) -> Any:
            parent = reach(row) if reach else None
            return shape(parent) if parent is not None else None

        return get


def sort_value(field: Field, value: Any) -> Any:
    """Return the value by which rows are sorted and grouped: text ignores case."""
    return value.lower() if value is not None and field.type in STRINGS else value


def ordered(items: list[Any], keys: list[tuple[Column, SortKey]]) -> list[Any]:
    """Return the items in the order of *keys*, the first key first; nulls come first unless asked otherwise."""
    for column, key in reversed(keys):
        known: list[tuple[Any, Any]] = []
        unknown: list[Any] = []
        for item in items:
            value = sort_value(column.field, column.get(item))
            if value is None:
                unknown.append(item)
            else:
                known.append((value, item))
        known.sort(key=lambda pair: pair[0], reverse=key.is_descending)
        sorted_items = [item for _, item in known]
        items = sorted_items + unknown if key.nulls_last else unknown + sorted_items
    return items
