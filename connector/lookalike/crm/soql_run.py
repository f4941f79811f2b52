"""Runs a query over the org: rows, their order, and the shape in which they are answered.

The result holds rows, not answers; a page of it is shaped when it is sent. Follow-up pages read the rows as they are then
(real pages are no snapshot either).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from decimal import Decimal
from functools import cached_property, lru_cache
from itertools import islice
from typing import Any

from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.schema import NUMBERS, Field
from connector.lookalike.crm.soql import complaint, parsed
from connector.lookalike.crm.soql_scope import Column, Scope, child_scope, relationship_name, scope_of
from connector.lookalike.crm.soql_shape import Leaf, Node, Shape, ordered, sort_value
from connector.lookalike.crm.soql_tree import Aliased, Call, Path, Query, SortKey
from connector.lookalike.crm.soql_where import Access, Ids, Predicate, Stamps, Where
from connector.lookalike.crm.table import Row
from connector.lookalike.crm.values import instant_from_text
from connector.lookalike.crm.view import OrgView

_AGGREGATES = frozenset({"count", "count_distinct", "sum", "avg", "min", "max"})
_MAX_FIELDS_ROWS = 200
_TOO_LONG = "Your query request was running for too long."
_MAX_GROUPS = 2000
_parsed = lru_cache(maxsize=64)(parsed)
Park = Callable[["Result"], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a query found. total - its totalSize. items - rows, or groups. shape - how one is answered. fresh - reads a row anew."""

    total: int
    items: list[Any]
    shape: Shape
    fresh: Callable[[Any], Any] | None = None

    def answers(self, start: int = 0, size: int | None = None) -> list[dict[str, Any]]:
        """Return a page of answers. Rows are read as they are now; what was removed for good since is left out."""
        items = self.items[start : None if size is None else start + size]
        if self.fresh is not None and start:
            items = [now for now in map(self.fresh, items) if now is not None]
        return [self.shape(item) for item in items]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a query needs besides its text. park - keeps the rest of a child list, returns the path of its next page."""

    org: OrgView
    version: str = "62.0"
    has_deleted: bool = False
    park: Park | None = None


def run(session: Session, soql: str) -> Result:
    """Return what the query finds. Raises: Refusal for whatever cannot be parsed, resolved or evaluated."""
    query = _parsed(soql)
    scope = scope_of(session.org, query, soql)
    return _Select(session=session, scope=scope, query=query).result()


def records(org: OrgView, soql: str) -> list[dict[str, Any]]:
    """Return all records that a query finds, as they would be answered; for tests, pages and scripts."""
    return run(Session(org=org), soql).answers()


@dataclass(frozen=True, kw_only=True)
class _Select:
    """One SELECT being run. lookup - for a child subquery, the field that leads to the parent. No slots: it caches."""

    session: Session
    scope: Scope
    query: Query
    lookup: Field | None = None
    is_nested: bool = False
    sub_selects: dict[int, frozenset[str]] = dataclass_field(default_factory=dict)

    # -- statements -------------------------------------------------------------------------------------------------------

    def result(self) -> Result:
        query = self.query
        self._check_time()
        if self._is_bare_count():
            return Result(total=sum(1 for _ in islice(self.matching(), query.offset, self._end)), items=[], shape=dict)
        for part in query.select:
            if isinstance(part, Aliased) and not query.group_by:
                raise complaint(self.scope.soql, part.at, f"unexpected token: '{part.alias}'")
        if query.group_by or any(isinstance(part, Call) and part.name.lower() in _AGGREGATES for part in query.select):
            return self._grouped()
        if query.having is not None:
            raise complaint(self.scope.soql, query.at, "HAVING requires GROUP BY")
        shape = self.shape()
        items = self.sorted_rows()
        stored = self.scope.org.table(self.scope.kind.name).rows
        return Result(total=len(items), items=items, shape=shape, fresh=lambda row: stored.get(row["Id"]))

    @property
    def _end(self) -> int | None:
        limit = self.query.limit
        return None if limit is None else self.query.offset + limit

    def _check_time(self) -> None:
        """Raise the Refusal of a query that takes too long, as the knobs for that say."""
        org = self.session.org
        window = Stamps(low="", high="") if self.access is None and self._is_stamp_order() and self.keys else self.access
        if not isinstance(window, Stamps):
            return
        if org.faults.window_s:
            low = instant_from_text(window.low)
            high = instant_from_text(window.high) or org.now()
            if low is None or (high - low).total_seconds() > org.faults.window_s:
                raise Refusal("QUERY_TIMEOUT", _TOO_LONG)
        most = org.faults.timeout_rows
        limit = self.query.limit
        if not most or (limit is not None and limit <= most):
            return
        if sum(1 for _ in islice(self.matching(), most + 1)) > most:
            raise Refusal("QUERY_TIMEOUT", _TOO_LONG)

    def _is_bare_count(self) -> bool:
        first = self.query.select[0]
        return (
            len(self.query.select) == 1
            and isinstance(first, Call)
            and first.name.lower() == "count"
            and first.argument is None
        )

    @cached_property
    def where(self) -> Where:
        """The compiler of this query's conditions."""
        return Where(scope=self.scope, column=self._row_column, sub_select=self._sub_select)

    @cached_property
    def test(self) -> Predicate | None:
        """The condition as a function of a row; None without one."""
        return self.where.predicate(self.query.where) if self.query.where is not None else None

    @cached_property
    def access(self) -> Access:
        """The index that narrows the rows to test; what is wrong with the condition is told by the test, in the order written."""
        return self.where.access(self.query.where) if self.test is not None else None

    @cached_property
    def keys(self) -> list[tuple[Column, SortKey]]:
        """The sort keys over rows."""
        return self._sort_columns(self._row_column)

    def _row_column(self, left: Path | Call) -> Column:
        if isinstance(left, Call):
            raise complaint(self.scope.soql, left.at, f"unexpected token: '{left.name}'")
        return self.scope.column(left)

    def _sub_select(self, query: Query) -> frozenset[str]:
        if id(query) not in self.sub_selects:
            self.sub_selects[id(query)] = self._semi_join(query)
        return self.sub_selects[id(query)]

    def _semi_join(self, query: Query) -> frozenset[str]:
        if self.is_nested:
            raise complaint(self.scope.soql, query.at, "Nesting of semi join sub-selects is not supported")
        part = query.select[0]
        if len(query.select) != 1 or not isinstance(part, Path) or query.group_by:
            raise complaint(self.scope.soql, query.at, "A semi join sub-select must select exactly one field")
        scope = scope_of(self.scope.org, query, self.scope.soql)
        column = scope.column(part)
        if column.field.type not in ("id", "reference"):
            raise complaint(
                self.scope.soql, part.at, f"Semi join sub-selects can only query id fields, cannot use: '{part.text}'"
            )
        inner = _Select(session=self.session, scope=scope, query=query, is_nested=True)
        found = (column.get(row) for row in inner.sorted_rows())
        return frozenset(one for one in found if one is not None)

    # -- rows -------------------------------------------------------------------------------------------------------------

    def matching(self, *, of: str | None = None) -> Iterator[Row]:
        """Yield the rows that the condition holds for, unsorted; *of* restricts a child query to one parent."""
        test, has_deleted = self.test, self.session.has_deleted
        for row in self._candidates(of):
            if (has_deleted or not row["IsDeleted"]) and (test is None or test(row)):
                yield row

    def _candidates(self, of: str | None) -> Iterable[Row]:
        table = self.scope.org.table(self.scope.kind.name)
        if self.lookup is not None:
            return [table.rows[one] for one in table.children(self.lookup.name, of or "")]
        if isinstance(self.access, Ids):
            return [table.rows[one] for one in self.access.ids]
        if isinstance(self.access, Stamps):
            return table.stamped(self.access.low, self.access.high)
        if self._is_stamp_order():
            return table.stamped("", "~")
        return list(table.rows.values())

    def _is_stamp_order(self) -> bool:
        keys = self.query.order_by
        names = [key.by.text.lower() for key in keys if isinstance(key.by, Path) and not key.is_descending]
        return len(names) == len(keys) and names in (["systemmodstamp", "id"], ["systemmodstamp"])

    def sorted_rows(self, *, of: str | None = None) -> list[Row]:
        """Return the rows of the answer in their order, after OFFSET and LIMIT."""
        query = self.query
        end = self._end
        rows = self.matching(of=of)
        is_in_order = self.lookup is None and self._is_stamp_order() and not isinstance(self.access, Ids)
        if not self.keys or is_in_order:
            return list(islice(rows, query.offset, end))
        return ordered(list(rows), self.keys)[query.offset : end]

    def _sort_columns(self, column: Callable[[Path | Call], Column]) -> list[tuple[Column, SortKey]]:
        out = []
        for key in self.query.order_by:
            found = column(key.by)
            if not found.field.is_sortable:
                raise complaint(
                    self.scope.soql, key.by.at, f"field '{found.field.name}' can not be sorted in a query call"
                )
            out.append((found, key))
        return out

    # -- shapes -----------------------------------------------------------------------------------------------------------

    def shape(self) -> Shape:
        """Return the function from a row to its answer."""
        tree = Node(url=f"/services/data/v{self.session.version}/sobjects", kind=self.scope.kind.name)
        for part in self.query.select:
            if isinstance(part, Query):
                self._add_children(tree, part)
            elif isinstance(part, Call):
                self._add_call(tree, part)
            elif isinstance(part, Path):
                self._add_path(tree, part)
        return tree.shape()

    def _add_path(self, tree: Node, path: Path) -> None:
        column = self.scope.column(path)
        node = tree
        for step in column.steps:
            node = node.parent(step, self.scope.org)
        self._add(
            node,
            column.name,
            Leaf(name=column.name if _is_stored(column.field) else "", get=self._last(column)),
            path.at,
        )

    def _last(self, column: Column) -> Callable[[Row], Any]:
        own = Scope(org=self.scope.org, kind=column.kind, soql=self.scope.soql)
        return own.column(Path(names=(column.name,), at=0)).get

    def _add(self, node: Node, key: str, entry: Leaf, at: int) -> None:
        if key.lower() in (one.lower() for one in node.entries):
            raise complaint(self.scope.soql, at, f"duplicate field selected: {key}")
        node.entries[key] = entry

    def _add_call(self, tree: Node, call: Call) -> None:
        name, argument = call.name.lower(), call.argument
        if name == "fields" and argument is not None:
            self._add_fields(tree, call, argument.text.upper())
            return
        if argument is None or name not in ("tolabel", "convertcurrency"):
            raise complaint(self.scope.soql, call.at, f"unexpected token: '{call.name}'")
        column = self.scope.column(argument)
        if name == "tolabel":
            get = column.get
        else:
            get = self._converted(column, call)
        self._add(tree, call.alias or column.name, Leaf(name="", get=get), call.at)

    def _converted(self, column: Column, call: Call) -> Callable[[Row], Any]:
        org = self.scope.org
        if not org.is_multi_currency() or column.field.type != "currency" or column.steps:
            raise complaint(
                self.scope.soql,
                call.at,
                "convertCurrency is supported for currency fields of multi-currency orgs only",
                "INVALID_FIELD",
            )
        rates = {row["IsoCode"]: row["ConversionRate"] for row in org.rows("CurrencyType")}

        def get(row: Row) -> Any:
            amount = column.get(row)
            return None if amount is None else amount / rates[row.get("CurrencyIsoCode", org.currency)]

        return get

    def _add_fields(self, tree: Node, call: Call, group: str) -> None:
        if group not in ("ALL", "STANDARD", "CUSTOM"):
            raise complaint(self.scope.soql, call.at, f"unexpected token: '{group}'")
        limit = self.query.limit
        if group != "STANDARD" and (limit is None or limit > _MAX_FIELDS_ROWS):
            raise complaint(
                self.scope.soql, call.at, f"The SOQL FIELDS function must have a LIMIT of at most {_MAX_FIELDS_ROWS}"
            )
        for field in self.scope.kind.fields:
            is_wanted = group == "ALL" or field.is_custom == (group == "CUSTOM")
            if is_wanted and self.scope.org.field(self.scope.kind, field.name) is not None:
                self._add_path(tree, Path(names=(field.name,), at=call.at))

    def _add_children(self, tree: Node, query: Query) -> None:
        if self.lookup is not None:
            raise complaint(self.scope.soql, query.at, "subqueries inside subqueries are not supported")
        scope, lookup = child_scope(self.scope, query)
        inner = _Select(session=self.session, scope=scope, query=query, lookup=lookup)
        if query.group_by or any(isinstance(part, Call) and part.name.lower() in _AGGREGATES for part in query.select):
            raise complaint(self.scope.soql, query.at, "aggregates are not supported in subqueries")
        shape, session = inner.shape(), self.session
        inner.sorted_rows(of="")  # compiles, so that errors come before rows

        def get(row: Row) -> Any:
            rows = inner.sorted_rows(of=row["Id"])
            if not rows:
                return None
            size = session.org.faults.child_page_size
            page: dict[str, Any] = {"totalSize": len(rows), "done": len(rows) <= size}
            if len(rows) > size and session.park is not None:
                page["nextRecordsUrl"] = session.park(Result(total=len(rows), items=rows, shape=shape))
            return {**page, "records": [shape(one) for one in rows[:size]]}

        self._add(tree, relationship_name(self.scope, query), Leaf(name="", get=get), query.at)

    # -- groups -----------------------------------------------------------------------------------------------------------

    def _grouped(self) -> Result:
        query = self.query
        grouping = [self._grouping(path) for path in query.group_by]
        outputs = self._outputs(grouping)
        aliases = dict(outputs)

        def column_of(left: Path | Call) -> Column:
            if isinstance(left, Path) and left.text in aliases:
                return aliases[left.text]
            return self._group_column(left, grouping)

        keys = self._sort_columns(column_of)
        found = self._groups(grouping)
        if query.having is not None:
            keep = Where(scope=self.scope, column=column_of, sub_select=self._sub_select).predicate(query.having)
            found = [rows for rows in found if keep(rows)]
        found = ordered(found, keys)[query.offset : self._end]
        if len(found) > _MAX_GROUPS:
            raise complaint(
                self.scope.soql,
                query.at,
                "Aggregate query does not support queryMore(), use LIMIT",
                "EXCEEDED_ID_LIMIT",
            )

        def shape(rows: list[Row]) -> dict[str, Any]:
            return {"attributes": {"type": "AggregateResult"}, **{name: column.get(rows) for name, column in outputs}}

        return Result(total=len(found), items=found, shape=shape)

    def _grouping(self, path: Path) -> Column:
        column = self.scope.column(path)
        if not column.field.is_sortable or column.field.type in NUMBERS or column.field.type == "datetime":
            raise complaint(self.scope.soql, path.at, f"field '{path.text}' can not be grouped in a query call")
        return column

    def _groups(self, grouping: list[Column]) -> list[list[Row]]:
        if not grouping:
            return [list(self.matching())]
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in self.matching():
            key = tuple(sort_value(column.field, column.get(row)) for column in grouping)
            groups.setdefault(key, []).append(row)
        return list(groups.values())

    def _outputs(self, grouping: list[Column]) -> list[tuple[str, Column]]:
        out: dict[str, Column] = {}
        unnamed = 0
        for part in self.query.select:
            if isinstance(part, Query):
                raise complaint(self.scope.soql, part.at, "subqueries cannot be combined with aggregates")
            if isinstance(part, Call):
                column = self._group_column(part, grouping)
                name = part.alias or f"expr{unnamed}"
                unnamed += not part.alias
            else:
                path = part.path if isinstance(part, Aliased) else part
                column = self._group_column(path, grouping)
                name = part.alias if isinstance(part, Aliased) else column.field.name
            if name in out:
                raise complaint(self.scope.soql, part.at, f"duplicate alias: {name}")
            out[name] = column
        return list(out.items())

    def _group_column(self, left: Path | Call, grouping: list[Column]) -> Column:
        if isinstance(left, Call):
            return self._aggregate(left)
        column = self.scope.column(left)
        if not any(one.name == column.name and one.steps == column.steps for one in grouping):
            raise complaint(self.scope.soql, left.at, f"Field must be grouped or aggregated: {left.text}")
        return Column(get=lambda rows: column.get(rows[0]), field=column.field, kind=column.kind, name="")

    def _aggregate(self, call: Call) -> Column:
        name = call.name.lower()
        if name not in _AGGREGATES or (call.argument is None and name != "count"):
            raise complaint(self.scope.soql, call.at, f"unexpected token: '{call.name}'")
        whole = Field(name=call.name, type="int")
        if call.argument is None:
            return Column(get=len, field=whole, kind=self.scope.kind, name="")
        column = self.scope.column(call.argument)
        kind = column.field.type
        if (
            not column.field.is_sortable
            or kind == "boolean"
            or (name in ("sum", "avg") and kind not in NUMBERS and kind != "int")
        ):
            raise complaint(
                self.scope.soql,
                call.at,
                f"field {column.field.name} does not support aggregate operator {call.name.upper()}",
            )

        def values(rows: list[Row]) -> list[Any]:
            return [value for value in (column.get(row) for row in rows) if value is not None]

        def sort_key(value: Any) -> Any:
            return sort_value(column.field, value)

        compute: dict[str, Callable[[list[Row]], Any]] = {
            "count": lambda rows: len(values(rows)),
            "count_distinct": lambda rows: len({sort_value(column.field, value) for value in values(rows)}),
            "sum": lambda rows: sum(values(rows)) if values(rows) else None,
            "avg": lambda rows: Decimal(sum(values(rows))) / len(values(rows)) if values(rows) else None,
            "min": lambda rows: min(values(rows), key=sort_key, default=None),
            "max": lambda rows: max(values(rows), key=sort_key, default=None),
        }
        field = whole if name.startswith("count") else column.field
        return Column(get=compute[name], field=field, kind=column.kind, name="")


def _is_stored(field: Field) -> bool:
    return field.type != "address" and field.formula is None
