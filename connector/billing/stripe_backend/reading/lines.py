"""Lines of a Stripe invoice as the engine's lines: which of its lines each one is, with the amounts that Stripe billed. Pure.

Our own bear their key; a period of a subscription is the engine's charge of that item that begins on that day; a proration of Stripe's
own is one of the lines that were left to it (`prorating`). What is none of these keeps a key of its own, so that the books show the whole invoice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, time
from decimal import Decimal
from typing import Any, Literal

from connector.billing.stripe_backend.compiling import owning
from connector.billing.stripe_backend.compiling.leaving import at_net
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading.picked import Data, boundary_day, civil_day, id_of
from connector.billing.stripe_backend.steps import Held
from connector.core.lines import Line, LineKind
from connector.core.values import dataclass

Taxes = tuple[tuple[str, int, bool], ...]
UNKNOWN = "stripe/"
"""What the keys of lines begin with that are none of the engine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What lines are told by: *own* lines of ours by key, *proposed* what the engine would bill of the contract, *held* the phases as
    sent, *prices* our keys of Stripe's prices by their id, *taken* the keys that stand on other invoices, *timezone* of the company. *prorated*:
    what prorations of Stripe's are, by their place on the invoice, with the amounts that are right for the second at which they begin."""

    contract_id: str
    own: Mapping[str, Line]
    proposed: Sequence[Line]
    held: Held | None
    prices: Mapping[str, Sequence[str]]
    taken: frozenset[str]
    timezone: str
    prorated: Mapping[int, Line] = field(default_factory=dict)


def told(invoice: Data, known: Known) -> list[Line]:
    """Return the lines of an invoice in its order, each with the amounts that Stripe billed."""
    found: list[Line] = []
    taken = set(known.taken)
    for place, line in together(invoice):
        span = _periods(line, known, taken)
        if span:
            found += [replace(made, order=place) for made in _divided(span, line, invoice)]
            taken |= {made.key for made in span}
            continue
        part = known.prorated.get(place)
        if part is not None and part.key not in taken:
            made = replace(billed(at_net(part, minor_amount(line["amount"], str(invoice["currency"]))), line, invoice), order=place)
        else:
            match = _own(line, known, taken) or (None if is_prorated(line) else proposed(line, known, taken))
            made = replace(billed(match, line, invoice), order=place) if match else _unknown(line, invoice, known, place)
        taken.add(made.key)
        found.append(made)
    return found


def together(invoice: Data) -> list[tuple[int, Data]]:
    """Return the lines of an invoice with their places from 1 on; what Stripe splits by the tiers of a price is one line again, at its first place."""
    found: dict[tuple[Any, ...], tuple[int, Data]] = {}
    for place, line in enumerate(invoice["lines"]["data"], 1):
        key = _whole(line, place)
        before = found.get(key)
        found[key] = (place, line) if before is None else (before[0], _joined(before[1], line))
    return list(found.values())


def places_of(invoice: Data) -> dict[str, int]:
    """Return which of the lines that `told` gives, from 0 on, each of Stripe's lines belongs to, by its id."""
    keys: dict[tuple[Any, ...], int] = {}
    return {
        id_of(line): keys.setdefault(_whole(line, place), len(keys)) for place, line in enumerate(invoice["lines"]["data"], 1)
    }


def _whole(line: Data, place: int) -> tuple[Any, ...]:
    """Return what lines have in common that are one period of one subscription item."""
    parent = ((line.get("parent") or {}).get("subscription_item_details")) or {}
    item = id_of(parent.get("subscription_item"))
    if not item:
        return (place,)
    what = kind_of(line) if is_prorated(line) else ""
    return (item, what, price_of(line), line["period"]["start"], line["period"]["end"])


def is_prorated(line: Data) -> bool:
    """Whether a line is a proration of Stripe's own."""
    parent = line.get("parent") or {}
    return any((parent.get(name) or {}).get("proration") for name in ("subscription_item_details", "invoice_item_details"))


def kind_of(line: Data) -> Literal["credit", "charge"]:
    """Return whether a proration gives back or charges; one of 0 says so by what it credits."""
    parent = line.get("parent") or {}
    details = parent.get("subscription_item_details") or parent.get("invoice_item_details") or {}
    is_credit = line["amount"] < 0 or (not line["amount"] and (details.get("proration_details") or {}).get("credited_items"))
    return "credit" if is_credit else "charge"


def _joined(first: Data, other: Data) -> Data:
    """Return two lines as one: amounts, quantities, discounts and taxes of both."""
    numbers = {name: (first.get(name) or 0) + (other.get(name) or 0) for name in ("amount", "quantity")}
    lists = {name: [*(first.get(name) or ()), *(other.get(name) or ())] for name in ("discount_amounts", "taxes")}
    return {**first, **numbers, **lists}


def civil(seconds: int) -> datetime:
    """Return the midnight that stands for the civil day of an instant of Stripe's: its UTC date (decision D-11)."""
    return datetime.combine(boundary_day(seconds), time())


def price_of(line: Data) -> str:
    """Return the id of the price that a line was billed at, "" for none."""
    details = ((line.get("pricing") or {}).get("price_details")) or {}
    return id_of(details.get("price"))


def _own(line: Data, known: Known, taken: set[str]) -> Line | None:
    key = str((line.get("metadata") or {}).get("connector_line") or "")
    return known.own[key] if key in known.own and key not in taken else None


def proposed(line: Data, known: Known, taken: set[str]) -> Line | None:
    """Return the engine's line for a period that a subscription billed."""
    parent = ((line.get("parent") or {}).get("subscription_item_details")) or {}
    if not parent:
        return None
    day = civil(line["period"]["start"]).date()
    items = _items_at(line, known)
    kind = "credit" if line["amount"] < 0 else "charge"
    fits = [p for p in known.proposed if p.item_id in items and p.kind == kind and p.start.date() == day and p.key not in taken]
    exact = [p for p in fits if p.end.date() == civil(line["period"]["end"]).date()]
    return next(iter(exact or fits), None)


def _periods(line: Data, known: Known, taken: set[str]) -> list[Line]:
    """Return the engine's lines that a line of Stripe's stands for which is for one or more periods of an item, billed ahead; [] for any other.

    Whether Stripe calls them prorations or not: it makes them where it makes prorations.
    """
    if line["amount"] <= 0 or (line.get("metadata") or {}).get("connector_line"):
        return []
    start, end = (civil(line["period"][name]).date() for name in ("start", "end"))
    items = _items_at(line, known)
    found = [p for p in known.proposed if p.item_id in items and p.kind == "charge" and p.key not in taken and start <= p.start.date() < end]
    found.sort(key=lambda p: p.start)
    ends = [p.end.date() for p in found]
    is_whole = bool(found) and ends[-1] == end and [p.start.date() for p in found] == [start, *ends[:-1]]
    return found if is_whole and all(owning.is_billed_ahead(known.held, p) for p in found) else []


def _divided(span: Sequence[Line], line: Data, invoice: Data) -> list[Line]:
    """Return the engine's lines with what Stripe billed for all of them, in proportion; what is left over goes with the last."""
    summed: dict[tuple[str, bool], int] = {}
    for rate, tax, inside in (tax for p in span for tax in p.taxes):
        summed[rate, inside] = summed.get((rate, inside), 0) + tax
    ours = tuple((rate, tax, inside) for (rate, inside), tax in summed.items())
    whole = billed(replace(span[-1], amount=sum(p.amount for p in span), discounts=(), taxes=ours), line, invoice)
    is_same = (whole.net, sum(t[1] for t in whole.taxes)) == (sum(p.net for p in span), sum(t[1] for p in span for t in p.taxes))
    if is_same:
        return list(span)
    weights = [p.amount for p in span]
    amounts = _shares(whole.amount, weights)
    offs = _shares(whole.amount - whole.net, weights)
    taxes = [(rate, _shares(amount, weights), inside) for rate, amount, inside in whole.taxes]
    return [
        replace(
            p, amount=amounts[n], discounts=(("discount", offs[n]),) if offs[n] else (),
            taxes=tuple((rate, shares[n], inside) for rate, shares, inside in taxes),
        )
        for n, p in enumerate(span)
    ]  # fmt: skip


def _shares(amount: int, weights: Sequence[int]) -> list[int]:
    total = sum(weights) or 1
    shares = [amount * weight // total for weight in weights[:-1]]
    return [*shares, amount - sum(shares)]


def _items_at(line: Data, known: Known) -> set[str]:
    """Return the items of the contract that are billed at the line's price."""
    keys = set(known.prices.get(price_of(line), ()))
    groups = known.held.groups if known.held is not None else ()
    return {i.item_id for g in groups for p in g.phases for i in p.items if i.price in keys}


def billed(core: Line, line: Data, invoice: Data) -> Line:
    """Return the engine's line with what Stripe billed, where that differs."""
    currency = str(invoice["currency"])
    amount = minor_amount(line["amount"], currency)
    off = minor_amount(sum(d["amount"] for d in line.get("discount_amounts") or ()), currency)
    taxes = _by_our_rates(_taxes(line, currency), core.taxes, within=len(invoice["lines"]["data"]))
    if amount - off == core.net and not off and core.discounts:
        amount, off = core.amount, core.amount - core.net  # sent as its net
    same_taxes = sum(t[1] for t in taxes) == sum(t[1] for t in core.taxes) and len(taxes) == len(core.taxes)
    same_off = off == core.amount - core.net
    return replace(
        core, amount=amount, discounts=core.discounts if same_off else ((("discount", off),) if off else ()),
        taxes=core.taxes if same_taxes else taxes,
    )  # fmt: skip


def _taxes(line: Data, currency: str) -> Taxes:
    found: dict[tuple[str, bool], int] = {}
    for tax in line.get("taxes") or ():
        rate = str((tax.get("tax_rate_details") or {}).get("tax_rate") or "tax")
        key = (rate, tax.get("tax_behavior") == "inclusive")
        found[key] = found.get(key, 0) + minor_amount(tax["amount"], currency)
    return tuple((rate, amount, inside) for (rate, inside), amount in found.items())


def _by_our_rates(taxes: Taxes, ours: Taxes, *, within: int) -> Taxes:
    """Return taxes under the names of our rates: what is credited of a line later bears the rates that it names.

    Of rates on top, as of those inside, the greater tax is that of the greater rate. within - minor units that rounding on an invoice may
    move from line to line; what differs by more was taxed by a rate that is none of ours, and keeps Stripe's id of it.
    """
    found = list(taxes)
    for is_inside in (False, True):
        theirs = sorted((n for n, tax in enumerate(taxes) if tax[2] == is_inside), key=lambda n: abs(taxes[n][1]))
        named = sorted((tax for tax in ours if tax[2] == is_inside), key=lambda tax: abs(tax[1]))
        if len(theirs) == len(named) and all(abs(taxes[n][1] - tax[1]) <= within for n, tax in zip(theirs, named, strict=True)):
            for n, tax in zip(theirs, named, strict=True):
                found[n] = (tax[0], taxes[n][1], is_inside)
    return tuple(found)


def _unknown(line: Data, invoice: Data, known: Known, place: int) -> Line:
    """Return a line that is none of the engine's: somebody made it at Stripe."""
    currency = str(invoice["currency"])
    start, end = _span(line, known.timezone)
    kind: LineKind = "one_time"
    off = minor_amount(sum(d["amount"] for d in line.get("discount_amounts") or ()), currency)
    return Line(
        key=f"{UNKNOWN}{line['id']}", contract_id=known.contract_id, item_id="", price_id=price_of(line), product="",
        description=str(line.get("description") or ""), quantity=Decimal(str(line.get("quantity") or 1)), unit_amount=None,
        amount=minor_amount(line["amount"], currency), kind=kind, start=start, end=end, due=start,
        discounts=(("discount", off),) if off else (), taxes=_taxes(line, currency), order=place,
    )  # fmt: skip


def _span(line: Data, timezone: str) -> tuple[datetime, datetime]:
    """Return the days of a line that is none of ours: periods of a subscription as it counts them, what somebody added by the day it was."""
    start, end = line["period"]["start"], line["period"]["end"]
    if (line.get("parent") or {}).get("subscription_item_details"):
        return civil(start), civil(end)
    first, last = (datetime.combine(civil_day(at, timezone), time()) for at in (start, end))
    return first, last
