"""How Stripe will hold a contract, in words for whoever looks before it is real: its subscriptions, our own items, what does not show.

Worked example: 10 seats monthly, 3 months billed ahead, a setup fee on 10 February. The subscription, monthly from 1 April on; by the connector:
"periods billed ahead, up to 2026-04-01: Seat" and "one-time charges: Setup (2026-02-10)".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta

from connector.billing.stripe_backend.compiling.ahead import arranged, verdict
from connector.billing.stripe_backend.compiling.groups import Group, is_over
from connector.billing.stripe_backend.compiling.noting import is_noted
from connector.billing.stripe_backend.compiling.outlook import Claim, Outlook, is_short_enough
from connector.billing.stripe_backend.compiling.owning import is_left, is_stripes
from connector.billing.stripe_backend.compiling.people import is_code, tax_number
from connector.billing.stripe_backend.compiling.phases import Entry, is_on_grid, natural_end
from connector.billing.stripe_backend.compiling.sending import MOST_PHASES, held_phases
from connector.billing.stripe_backend.compiling.wanted import Wanted
from connector.billing.stripe_backend.steps import Plan
from connector.core.lines import Line
from connector.core.period import Interval
from connector.holding import HeldSubscription, Holding

_NAMED = 3  # of one kind; how many more there are is said
_EVERY = {"day": "daily", "week": "weekly", "month": "monthly", "year": "yearly"}


def holding(wanted: Wanted, plan: Plan) -> Holding:
    """Return how Stripe holds a contract once *plan*, which was made of *wanted*, is carried out."""
    outlook = Outlook(wanted)
    groups = [] if wanted.contract.withdrawn else [g for g in arranged(outlook) if g.laid.stretches]
    taken = {key for g in groups for key in g.laid.taken}
    riding = {key for g in plan.held.groups for p in g.phases for key in p.once}
    own = [line for line in outlook.lines if line.amount and line.key not in taken and _is_ours(line, plan, riding)]
    return Holding(
        at="Stripe",
        subscriptions=tuple(_subscription(g, plan, outlook) for g in groups),
        by_connector=tuple(_by_connector(own, outlook)),
        unseen=tuple(dict.fromkeys([*_prorated(plan), *_unseen(groups, own, outlook)])),
    )


def _prorated(plan: Plan) -> Iterator[str]:
    """Yield what is left to Stripe's own proration."""
    names = [line.description or line.product for line in plan.lines if is_left(plan.held, line.key)]
    if names:
        yield f"parts of the running period ({listed(list(dict.fromkeys(names)))}): Stripe counts them by the second at which the change arrives there"


def _is_ours(line: Line, plan: Plan, riding: set[str]) -> bool:
    """Whether the connector makes a line: also where it goes on the first invoice of a subscription, unless Stripe sells such things itself."""
    return line.kind != "one_time" if line.key in riding else not is_stripes(plan.held, line)


def _subscription(group: Group, plan: Plan, outlook: Outlook) -> HeldSubscription:
    held = next((g for g in plan.held.groups if g.name == group.name and not is_over(g, outlook)), None)
    ahead = [p for p in held_phases(group) if p.end is None or p.end > outlook.today]
    first = held.phases[0].start if held is not None and held.phases else group.laid.stretches[0].start
    items = {e.item_id for s in group.laid.stretches for e in s.entries}
    return HeldSubscription(
        name=group.name, every=every(group.interval), starts_on=first, ends_on=group.laid.end, phases=len(ahead), items=len(items), billed_ahead_to=group.ahead_to,
    )  # fmt: skip


def every(interval: Interval) -> str:
    """Return an interval as an adverb: monthly, every 3 months."""
    return _EVERY[interval.unit] if interval.count == 1 else f"every {interval.count} {interval.unit}s"


# ---------------------------------------------------------------- what we bill


_KINDS = {
    "back": "periods that began before the subscription",
    "part": "parts of periods",
    "ahead": "periods billed ahead",
    "arrears": "fixed prices in arrears",
    "long": "periods of more than three years",
    "other": "periods that fit no subscription",
    "once": "one-time charges",
    "credit": "credits for unused time",
    "noted": "credits for unused time, as credit notes on the invoices that billed it",
    "usage": "use that Stripe cannot price",
}


def _by_connector(own: Iterable[Line], outlook: Outlook) -> Iterator[str]:
    found: dict[str, list[Line]] = {}
    for line in own:
        found.setdefault(_kind(line, outlook), []).append(line)
    for kind, words in _KINDS.items():
        lines = found.get(kind)
        if not lines:
            continue
        if kind == "ahead":
            why = verdict(outlook.wanted).why_not if outlook.wanted.held is None else ""
            words = f"{words}, up to {max(line.end for line in lines).date()}{f' (not by Stripe itself: {why})' if why else ''}"
        yield f"{words}: {listed(_named(lines, kind))}"


def _kind(line: Line, outlook: Outlook) -> str:
    """Return why a line is ours."""
    if line.kind == "one_time":
        return "once"
    if line.kind == "credit":
        return "noted" if is_noted(outlook, line) else "credit"
    segment = outlook.segment_of(line)
    interval = segment.price.interval if segment is not None else None
    if segment is None or interval is None:
        return "other"
    if segment.price.usage_type == "metered":
        return "usage"
    if not is_short_enough(interval):
        return "long"
    start, due = line.start.date(), line.due.date()
    if due < start and not line.is_proration:
        return "ahead"
    if segment.price.timing == "in_arrears":
        return "arrears"
    anchor = segment.anchor.date()
    if line.is_proration or not is_on_grid(anchor, interval, start) or line.end.date() != natural_end(anchor, interval, start):
        return "part"
    return "back" if start <= outlook.today else "other"


def _named(lines: Sequence[Line], kind: str) -> list[str]:
    """Return what the lines are for, with their days where those say something."""
    spans: dict[str, tuple[date, date]] = {}
    for line in lines:
        name, start, end = line.description or line.product, line.start.date(), line.end.date()
        if name in spans:
            start, end = min(start, spans[name][0]), max(end, spans[name][1])
        spans[name] = (start, end)
    if kind in ("ahead", "arrears", "usage", "long", "other"):
        return list(spans)
    if kind == "once":
        return [f"{name} ({start})" for name, (start, _) in spans.items()]
    return [f"{name} ({start} to {end - timedelta(days=1)})" for name, (start, end) in spans.items()]


def listed(names: Sequence[str]) -> str:
    """Return the first few of many, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


# ---------------------------------------------------------------- what does not show there


def _unseen(groups: Sequence[Group], own: Sequence[Line], outlook: Outlook) -> Iterator[str]:
    """Yield what was agreed and stands at Stripe in another way, or not yet."""
    for group in groups:
        later = len(group.laid.stretches) - MOST_PHASES
        if later > 0:
            yield f"{later} later phases of {group.name}: they are sent before they begin"
    billed = [(claim, entry) for group in groups for claim, entry in _billed_by(group)]
    amounts = [_name(c) for c, e in billed if e.end is None and e.shown.quantity is not None and e.shown.quantity != c.item.quantity]
    if amounts:
        yield f"price and quantity of {listed(list(dict.fromkeys(amounts)))}: the amount of each period stands there"
    cut = [_name(c) for c, e in billed if _is_by_amount(c, e)]
    if cut:
        yield f"the percentage of a discount on {listed(list(dict.fromkeys(cut)))}: the amount that it takes off stands there"
    yield from _unknown_of(outlook.wanted)
    if any(line.discounts for line in own):
        yield "discounts of the connector's items: what is left after them stands there"
    if outlook.plan.term_end is not None and outlook.plan.end is None:
        yield f"renewals from {outlook.plan.term_end.date()} on: they are sent as they come near"


def _unknown_of(wanted: Wanted) -> Iterator[str]:
    """Yield what of the customer's details Stripe does not take as it is meant."""
    country, number = wanted.details.address.country, wanted.details.tax_id
    if country and not is_code(country):
        yield f'the country "{country}": it is none that is known, and stands there as it is written'
    if number and not tax_number(wanted.details):
        yield f"the tax number {number}: which kind it is cannot be told, as it does not begin with its country and the address names none that helps"


def _billed_by(group: Group) -> Iterator[tuple[Claim, Entry]]:
    """Yield each item as it stands in a phase, with a charge that it bills."""
    claims = {c.item.id: c for c in group.laid.taken.values() if not c.is_free}
    for entry in (e for s in group.laid.stretches for e in s.entries):
        if entry.item_id in claims:
            yield claims[entry.item_id], entry


def _name(claim: Claim) -> str:
    return claim.line.description or claim.line.product


def _is_by_amount(claim: Claim, entry: Entry) -> bool:
    """Whether a percentage stands on an item as the amount that it takes off."""
    percents = {c.id[:500] for c in claim.coupons if c.percent_off}
    return any("amount_off" in c.params and c.params["metadata"]["connector_coupon"] in percents for c in entry.cuts)
