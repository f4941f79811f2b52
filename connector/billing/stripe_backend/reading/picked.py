"""What is picked from Stripe's objects, in one place. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from connector.core.period import to_local

Data = Mapping[str, Any]


def id_of(value: Any) -> str:
    """Return the id of an object that is named or expanded, "" for none."""
    return str((value.get("id") if isinstance(value, Mapping) else value) or "")


def instant(seconds: int) -> datetime:
    """Return an instant of Stripe's."""
    return datetime.fromtimestamp(seconds, UTC)


def boundary_day(seconds: int) -> date:
    """Return the day that an instant between two periods stands for: its UTC date, as the compiler has sent it (decision D-11)."""
    return instant(seconds).date()


def civil_day(seconds: int, timezone: str) -> date:
    """Return the day on which something happened, by the calendar on the wall of the company: 23:30 UTC is the next day in Paris.

    For whatever has a moment of its own (a payment, a note, an issued invoice, its due date); see `boundary_day` for periods.
    """
    return to_local(instant(seconds), timezone).date()


def subscription_of(invoice: Data) -> str:
    """Return the subscription behind an invoice, "" for none."""
    return id_of(((invoice.get("parent") or {}).get("subscription_details") or {}).get("subscription"))


def metadata_of(invoice: Data) -> dict[str, str]:
    """Return what an invoice and the subscription behind it say of us; the invoice's own word counts."""
    details = (invoice.get("parent") or {}).get("subscription_details") or {}
    return {str(k): str(v) for k, v in {**(details.get("metadata") or {}), **(invoice.get("metadata") or {})}.items()}


def finalized_at(invoice: Data) -> int:
    """Return when an invoice was finalized, or made where nobody says."""
    return int((invoice.get("status_transitions") or {}).get("finalized_at") or invoice["created"])
