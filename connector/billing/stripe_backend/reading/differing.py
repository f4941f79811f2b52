"""What Stripe billed otherwise than the engine expected: never silently, always Stripe's amount (decision D-196).

Worked example: 10.00 expected and 10.01 billed: the books say 10.01, and the event log `invoice.differs` with both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from connector.billing.events import text_of
from connector.billing.store import BookedInvoice, Event
from connector.billing.stripe_backend.compiling import owning
from connector.billing.stripe_backend.reading.lines import Known
from connector.billing.stripe_backend.reading.picked import Data, boundary_day, subscription_of
from connector.core.lines import Line
from connector.core.money import major
from connector.core.values import dataclass
from connector.kit.db import new_id

NAME = "invoice.differs"
_CYCLES = ("subscription_create", "subscription_cycle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What of an invoice differs; amounts before tax in minor units, of *what* "tax" the tax."""

    what: str
    expected: int
    billed: int


def found(invoice: Data, lines: Sequence[Line], expected: Sequence[Line], known: Known, *, is_taxed: bool, is_rounded_once: bool = False) -> list[Difference]:
    """Return what of an invoice differs from what the engine expected; *is_taxed*: the tax is ours to say.

    is_rounded_once - for the whole invoice: which line bears the rest, and so a cent of each, depends on what is billed together.
    """
    by_key = {line.key: line for line in expected}
    prorated = {line.key for line in known.prorated.values()}
    differences, tax = [], [0, 0]
    for line in lines:
        core = by_key.get(line.key)
        if core is None:
            if line.net:
                differences.append(Difference(what=line.description or line.key, expected=0, billed=line.net))
            continue
        if core.net != line.net:
            differences.append(Difference(what=core.description or core.product, expected=core.net, billed=line.net))
        expected_tax, billed_tax = sum(t[1] for t in core.taxes), sum(t[1] for t in line.taxes)
        if (is_rounded_once or line.key in prorated) and abs(expected_tax - billed_tax) <= len(core.taxes):
            expected_tax = billed_tax  # each rounds its own share
        tax = [tax[0] + expected_tax, tax[1] + billed_tax]
    if is_taxed and tax[0] != tax[1]:
        differences.append(Difference(what="tax", expected=tax[0], billed=tax[1]))
    return differences + [Difference(what=x.description or x.product, expected=x.net, billed=0) for x in lacking(invoice, lines, expected, known)]


def lacking(invoice: Data, lines: Sequence[Line], expected: Sequence[Line], known: Known) -> list[Line]:
    """Return the lines that the subscription should have billed with this invoice and did not."""
    subscription = subscription_of(invoice)
    if known.held is None or invoice.get("billing_reason") not in _CYCLES:
        return []
    here, day = {line.key for line in lines}, boundary_day(invoice.get("period_end") or invoice["created"])
    left_out = []
    for line in expected:
        home = owning.home_of(known.held, line) if line.amount and line.key not in here else None
        at = owning.instant_billed(known.held, line) if home is not None and home[0].subscription == subscription else None
        if at is not None and at.date() == day:
            left_out.append(line)
    return left_out


def events(differences: Sequence[Difference], booked: BookedInvoice, now: datetime) -> list[Event]:
    """Return the event that says so, none where nothing differs."""
    if not differences:
        return []
    data = {
        "number": booked.number or "", "currency": booked.invoice.currency,
        "differences": [{"what": d.what, "expected": d.expected, "billed": d.billed} for d in differences],
        "text": "; ".join(_text(d, booked.invoice.currency) for d in differences),
    }  # fmt: skip
    return [
        Event(
            id=new_id("ev", now), actor="stripe", name=NAME, contract_id=booked.contract.id, customer_id=booked.contract.customer_id,
            invoice_id=booked.id, data=text_of(data),
        )
    ]  # fmt: skip


def _text(difference: Difference, currency: str) -> str:
    billed, expected = (f"{major(n, currency)} {currency.upper()}" for n in (difference.billed, difference.expected))
    return f"{difference.what}: Stripe billed {billed}, expected {expected}"


def told(data: str) -> dict[str, str]:
    """Return what the log says of an event of this room."""
    said = json.loads(data)
    return {"invoice": str(said["number"]), "text": str(said["text"])}
