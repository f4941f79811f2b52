"""Which records were changed or deleted between two moments: GET /sobjects/T/updated/ and /deleted/.

Both cut seconds: `start=12:00:40, end=12:02:10` covers 12:00 up to 12:02. What a slow transaction still holds ends what is covered.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.rest import Rest
from connector.lookalike.crm.values import instant_from_text, instant_text
from connector.lookalike.crm.wire import Reply, Request

_REACH = {"updated": timedelta(days=30), "deleted": timedelta(days=15)}


class Replication:
    """The two resources."""

    def __init__(self, rest: Rest) -> None:
        self._org = rest.org
        rest.routes[:0] = [
            (("sobjects", "*", "updated"), {"GET": self._updated}),
            (("sobjects", "*", "deleted"), {"GET": self._deleted}),
        ]

    def _updated(self, request: Request, name: str) -> Reply:
        kind = self._org.type(name).name
        start, end = self._window(request, "updated")
        found = [row["Id"] for row in self._rows(kind, start, end) if not row["IsDeleted"]]
        return Reply(body={"ids": found, "latestDateCovered": self._covered(end)})

    def _deleted(self, request: Request, name: str) -> Reply:
        kind = self._org.type(name).name
        start, end = self._window(request, "deleted")
        found = [{"id": row["Id"], "deletedDate": row["SystemModstamp"]} for row in self._rows(kind, start, end) if row["IsDeleted"]]
        earliest = instant_text(self._org.now() - _REACH["deleted"])
        return Reply(body={"deletedRecords": found, "earliestDateAvailable": earliest, "latestDateCovered": self._covered(end)})

    def _rows(self, kind: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
        return list(self._org.table(kind).stamped(instant_text(start), instant_text(end - timedelta(seconds=1))))

    def _covered(self, end: datetime) -> str:
        begun = self._org.oldest_open()
        return instant_text(min(end, begun) if begun else end)

    def _window(self, request: Request, what: str) -> tuple[datetime, datetime]:
        start, end = (_moment(request.query.get(name, ""), name) for name in ("start", "end"))
        if start >= end:
            raise Refusal("INVALID_REPLICATION_DATE", "startDate before endDate by at least one minute is required")
        if start < self._org.now() - _REACH[what]:
            raise Refusal("INVALID_REPLICATION_DATE", f"startDate cannot be more than {_REACH[what].days} days ago")
        return start, end


def _moment(text: str, name: str) -> datetime:
    # a plus that was not encoded arrives as a blank
    at = instant_from_text(text.replace(" ", "+"))
    if at is None:
        raise Refusal("INVALID_REPLICATION_DATE", f"{name}Date is not a valid date with time and offset: {text}")
    return at.astimezone(UTC).replace(second=0, microsecond=0)
