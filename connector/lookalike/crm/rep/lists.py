"""A list of records: tabs, search, filters, and pages that go on from the last row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from typing import Any
from urllib.parse import urlencode

from connector.lookalike.crm.ids import id18
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.rep import words
from connector.lookalike.crm.rep.kinds import FIELD_LABELS, Kind, ListView
from connector.lookalike.crm.rep.typed import Option
from connector.lookalike.crm.rep.words import Fact
from connector.lookalike.crm.table import Row

PAGE_ROWS = 50
_MAX_QUERY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """A tab of a list, with how many records it has."""

    title: str
    href: str
    count: int
    is_current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A filter: its field, what it may be, what it is."""

    name: str
    label: str
    value: str
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRow:
    """A record in a list; *message* is what billing says about it."""

    href: str
    cells: tuple[Fact, ...]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """A list as it is shown."""

    title: str
    many: str
    path: str
    view: str
    query: str
    tabs: tuple[Tab, ...]
    choices: tuple[Choice, ...]
    columns: tuple[Fact, ...]
    rows: tuple[ListRow, ...]
    found: str
    next_href: str
    first_href: str
    is_filtered: bool


def list_page(org: Org, kind: Kind, asked: Mapping[str, str]) -> ListPage:
    """Return the list that an address asks for: `view`, `q`, a value for each filter, `after` the last row of the page before."""
    view = next((v for v in kind.views if v.key == asked.get("view")), kind.views[0])
    query = asked.get("q", "").strip()[:_MAX_QUERY]
    filters = {name: asked[name] for name in kind.filters if asked.get(name) and org.field(org.type(kind.name), name)}
    found, counts, known = _found(org, kind, view, query, filters)
    page, is_more = _page(kind, found, asked.get("after", ""))
    kept = {"view": view.key, "q": query, **filters}
    columns = [fact for name in kind.columns if (fact := words.head_of(org, org.type(kind.name), name))]
    rows = [_row(org, kind, row, columns, view) for row in page]
    return ListPage(
        title=kind.title, many=kind.many, path=f"/{kind.path}", view=view.key, query=query, columns=tuple(columns), rows=tuple(rows),
        tabs=tuple(
            Tab(title=v.title, href=_href(kind, {**kept, "view": v.key}), count=counts[v.key], is_current=v is view) for v in kind.views
        ),
        choices=tuple(_choice(org, kind, name, filters.get(name, ""), known[name]) for name in known),
        found=f"{len(found):,} {kind.one if len(found) == 1 else kind.many}",
        next_href=_href(kind, {**kept, "after": _mark(kind, page[-1])}) if is_more else "",
        first_href=_href(kind, kept) if asked.get("after") else "", is_filtered=bool(query or filters),
    )  # fmt: skip


def _href(kind: Kind, asked: Mapping[str, str]) -> str:
    said = {name: value for name, value in asked.items() if value and (name, value) != ("view", "all")}
    return f"/{kind.path}{'?' if said else ''}{urlencode(said)}"


def _found(org: Org, kind: Kind, view: ListView, query: str, filters: Mapping[str, str]) -> tuple[list[Row], dict[str, int], dict[str, set[str]]]:
    """Return what the view, the search and the filters leave; how many each tab has; and the values that each filter can have."""
    parts = query.lower().split()
    counts = {v.key: 0 for v in kind.views}
    known: dict[str, set[str]] = {name: set() for name in kind.filters if org.field(org.type(kind.name), name)}
    found = []
    for row in org.rows(kind.name):
        for name, values in known.items():
            if row.get(name):
                values.add(str(row[name]))
        if any(row.get(name) != value for name, value in filters.items()) or not _has_all(org, kind, row, parts):
            continue
        for one in kind.views:
            if one.shows(row):
                counts[one.key] += 1
        if view.shows(row):
            found.append(row)
    return found, counts, known


def _has_all(org: Org, kind: Kind, row: Row, parts: Iterable[str]) -> bool:
    parts = list(parts)
    if not parts:
        return True
    account = org.row("Account", row.get("AccountId") or row.get("Account__c")) or {}
    text = " ".join(str(value) for value in (*(row.get(name) for name in kind.found_by), account.get("Name")) if value).lower()
    return all(part in text for part in parts)


def _key(kind: Kind, row: Row) -> tuple[str, str]:
    return (str(row.get(kind.order, "")).casefold(), row["Id"])


def _mark(kind: Kind, row: Row) -> str:
    """Return how the address of the next page names the last row of this one."""
    return f"{row['Id']}{_key(kind, row)[0]}"


def _page(kind: Kind, rows: list[Row], after: str) -> tuple[list[Row], bool]:
    """Return the rows behind *after*, and whether more follow: by key, so that rows may come and go between two pages."""
    record = id18(after[:18])
    if record:
        mark = (after[18:], record)
        rows = [row for row in rows if (_key(kind, row) > mark if kind.is_ascending else _key(kind, row) < mark)]
    take: Any = nsmallest if kind.is_ascending else nlargest
    page = take(PAGE_ROWS, rows, key=lambda row: _key(kind, row))
    return page, len(rows) > len(page)


def _row(org: Org, kind: Kind, row: Row, columns: Iterable[Fact], view: ListView) -> ListRow:
    one = org.type(kind.name)
    cells = tuple(words.cell_of(org, one, row, column) for column in columns)
    message = str(row.get("Billing_Message__c") or "") if view.has_message else ""
    return ListRow(href=words.url_of(kind.name, row["Id"]), cells=cells, message=message)


def _choice(org: Org, kind: Kind, name: str, value: str, known: Iterable[str]) -> Choice:
    field = org.type(kind.name).by_lower[name.lower()]
    there = set(known)
    values = [v for v in field.picklist if v in there] + sorted(there - set(field.picklist))
    options = tuple(Option(value=v, label=v) for v in values)
    return Choice(name=name, label=FIELD_LABELS.get(name) or words.label_of(field), value=value, options=options)
