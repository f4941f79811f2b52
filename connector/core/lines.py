"""A line of an invoice, and the slice of a contract's facts that a billing run is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from connector.core.tax import TaxEntry
from connector.core.terms import Contract, Coupon, DatedRates
from connector.core.values import dataclass

LineKind = Literal["charge", "credit", "one_time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of an invoice; amounts in minor units, times naive local.

    key - its identity for ever. change_id - the change whose segment or credit it is, "" for the root terms. credits - the
    key of the charge that a credit mirrors. amount - before discounts and exclusive tax. is_pending - waits for the next
    invoice. due - when it is to be billed. order - its place on the invoice, by which lines are sorted.
    """

    key: str
    contract_id: str
    item_id: str
    price_id: str
    product: str
    description: str
    quantity: Decimal
    unit_amount: Decimal | None
    amount: int
    kind: LineKind
    start: datetime
    end: datetime
    due: datetime
    is_proration: bool = False
    change_id: str = ""
    credits: str | None = None
    discounts: tuple[tuple[str, int], ...] = ()
    taxes: tuple[TaxEntry, ...] = ()
    is_pending: bool = False
    order: int = 0

    @property
    def net(self) -> int:
        """Return the amount less discounts."""
        return self.amount - sum(d for _, d in self.discounts) if self.discounts else self.amount

    @property
    def exclusive_tax(self) -> int:
        """Return the taxes on top of the amount."""
        return sum(t[1] for t in self.taxes if not t[2]) if self.taxes else 0

    @property
    def gross(self) -> int:
        """Return what the line adds to the invoice's total."""
        return self.net + self.exclusive_tax


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """A quantity used of a metered item at a local instant; *price* is the price's id, *item* the item's, "" where none is said."""

    price: str
    at: datetime
    quantity: Decimal
    item: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A coupon that a customer has, for periods that begin at *since* (local) or later; *currency* of its amount, "" for percentages.

    A contract without discounts of its own inherits it (decision D-120).
    """

    coupon: Coupon
    since: datetime
    currency: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A contract with the facts about it that still matter.

    facts - lines on finalized invoices that end after *since*, and the credits against them. credited - what credit notes
    took of a line (net of exclusive tax), by its key. since - where the window begins (see `window_start`); None: all facts
    are here. tax_exempt - the customer's standing. rates - the customer's, where neither item nor contract has its own; *given* are
    its discounts, likewise.
    """

    contract: Contract
    facts: tuple[Line, ...] = ()
    credited: Mapping[str, int] = field(default_factory=dict)
    has_invoices: bool = False
    since: datetime | None = None
    usage: tuple[Usage, ...] = ()
    tax_exempt: Literal["none", "exempt", "reverse"] = "none"
    rates: DatedRates = ()
    given: tuple[Given, ...] = ()


@lru_cache(maxsize=4096)
def stamp(at: datetime) -> str:
    """Return an instant as keys write it: a date where it is midnight."""
    return at.isoformat()[:10] if at.hour == at.minute == at.second == at.microsecond == 0 else at.isoformat()


def line_key(contract_id: str, item_id: str, cause_id: str, start: datetime, kind: str) -> str:
    """Return the key of a charge: contract / item / opener / start of coverage / kind."""
    return f"{contract_id}/{item_id}/{cause_id}/{stamp(start)}/{kind}"
