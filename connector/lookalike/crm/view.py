"""What the lower floors may ask of an org: those that check a save, and those that run a query over its records."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from connector.lookalike.crm.faults import Faults
from connector.lookalike.crm.schema import Field, ObjectType, Schema
from connector.lookalike.crm.table import Row, Table


class OrgView(Protocol):
    """An org as its checks and its queries see it."""

    schema: Schema
    faults: Faults
    zone: ZoneInfo

    @property
    def currency(self) -> str:
        """The org's own currency, ISO 4217."""
        ...

    def is_multi_currency(self) -> bool:
        """Say whether records carry a currency."""
        ...

    def now(self) -> datetime:
        """Return the org's time, aware UTC."""
        ...

    def field(self, kind: ObjectType, name: str) -> Field | None:
        """Return the field of that name, in any case; None if there is none, or field access is missing."""
        ...

    def table(self, kind: str) -> Table:
        """Return the records of the object with that exact name."""
        ...

    def rows(self, kind: str) -> Iterator[Row]:
        """Yield the records that are not deleted, oldest first."""
        ...

    def by_external(self, kind: str, field: str, value: str) -> Row | None:
        """Return the record that is not deleted with that external id, or None. Raises: Refusal 300 if there are several."""
        ...

    def value(self, kind: ObjectType, field: Field, row: Row) -> Any:
        """Return what a record shows in *field*: what is stored, or what its formula gives."""
        ...
