"""The syntax tree of a query: what the parser makes and what runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One word of the query. kind - string, instant, day, money, number, word, sign or end. at - 0-based position."""

    kind: str
    text: str
    at: int

    @property
    def low(self) -> str:
        """The word in lower case; signs and values as they are."""
        return self.text.lower() if self.kind == "word" else self.text if self.kind == "sign" else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A field, perhaps of a parent: `Account.Owner.Name`."""

    names: tuple[str, ...]
    at: int

    @property
    def text(self) -> str:
        """The path as it was written."""
        return ".".join(self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A function over one field or none: `COUNT(Id) n`, `toLabel(StageName)`, `FIELDS(ALL)`."""

    name: str
    argument: Path | None
    alias: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Aliased:
    """A grouped field under another name."""

    path: Path
    alias: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """A value. kind - null, bool, number, money, day, instant, string, range. value - Decimal, bool, or text as written."""

    kind: str
    value: Any
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """`field operator value`; operator is one of = != < <= > >= like."""

    left: Path | Call
    operator: str
    right: Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """`field [NOT] IN (values or sub-select)`."""

    left: Path
    is_negated: bool
    values: tuple[Literal, ...] | Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Includes:
    """`field INCLUDES ('a;b', 'c')` over several picklist values: one of the groups is there whole; EXCLUDES: none is."""

    left: Path
    is_negated: bool
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Junction:
    """AND or OR over two or more conditions."""

    is_and: bool
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Negation:
    """NOT over one condition."""

    part: Condition


Condition = Compare | Within | Junction | Negation | Includes


@dataclass(frozen=True, slots=True, kw_only=True)
class SortKey:
    """One key of ORDER BY. nulls_last - None where the query does not say: nulls come first."""

    by: Path | Call
    is_descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A SELECT statement, or a subquery in its SELECT list or in an IN."""

    select: tuple[Path | Call | Aliased | Query, ...]
    source: str
    alias: str
    at: int
    where: Condition | None = None
    group_by: tuple[Path, ...] = ()
    having: Condition | None = None
    order_by: tuple[SortKey, ...] = ()
    limit: int | None = None
    offset: int = 0
