"""Periods billed ahead by Stripe itself: where its billing schedules bill what the engine bills, however they may show it (decision D-209).

A contract whose only subscription is one unchanging rhythm from today on is held as a plain subscription with `billing_schedules`; a schedule
does not go with them. What becomes of such a subscription when items change is not documented, so it is never changed: whatever
is agreed later ends it without proration, which is documented, and goes on as any other contract, from the first period that is not billed yet.

Worked example: 2 seats at 100.00 a month, 3 months ahead, invoiced: a subscription from today, billed until 1 April with its first invoice over
600.00, by the month after that. An amendment in February cancels it; credits and charges for the rest are items of ours, a schedule begins on 1 April.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, timedelta
from fractions import Fraction

from connector.billing.stripe_backend.compiling.days import time_of
from connector.billing.stripe_backend.compiling.groups import MOST_ITEMS, Group, grouped, is_over, name_for, strands_of
from connector.billing.stripe_backend.compiling.outlook import Claim, Outlook
from connector.billing.stripe_backend.compiling.people import settings
from connector.billing.stripe_backend.compiling.phases import Laid, Layout, natural_end
from connector.billing.stripe_backend.compiling.prices import digest
from connector.billing.stripe_backend.compiling.sending import held_phases
from connector.billing.stripe_backend.compiling.wanted import Wanted
from connector.billing.stripe_backend.steps import HeldGroup
from connector.core.period import plus_months

MOST_CYCLES = 50
MOST_YEARS = 5
LEAD = timedelta(minutes=1)  # a start in the past must be so by Stripe's clock, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The subscription that bills a contract ahead by itself, or in words why Stripe's own way is not used ("": nothing is billed ahead)."""

    group: Group | None = None
    why_not: str = ""


def arranged(outlook: Outlook) -> list[Group]:
    """Return the subscriptions that a contract needs: one that bills ahead by itself where that can be, else as `groups` arranges them."""
    wanted = outlook.wanted
    held = wanted.held.groups if wanted.held is not None else ()
    running = next((g for g in held if g.ahead_to is not None and not is_over(g, outlook)), None)
    if running is None:
        group = verdict(wanted).group if not held else None
        return [group] if group is not None else grouped(outlook)
    group = _judged(wanted).group
    if group is not None and _is_the_same(running, group, wanted):
        group.held, group.name, group.at_time = running, running.name, running.at_time
        return [group]
    return grouped(outlook, leaving=running.name)


def _is_the_same(held: HeldGroup, group: Group, wanted: Wanted) -> bool:
    sent = tuple(replace(p, once=()) for p in held.phases)
    told = digest(settings(wanted.how, automatic_tax=wanted.automatic_tax))
    return (sent, held.ahead_to, held.told) == (held_phases(group), group.ahead_to, told)


def verdict(wanted: Wanted) -> Verdict:
    """Return whether a new contract may be billed ahead by Stripe itself."""
    terms = wanted.contract.terms
    if terms.prebill is None:
        return Verdict()
    refused = next(_not_now(wanted), "")
    return Verdict(why_not=refused) if refused else _judged(wanted)


def _not_now(wanted: Wanted) -> Iterator[str]:
    """Yield what is against it, whatever is agreed."""
    start = wanted.contract.terms.start.date()
    if not wanted.may_bill_ahead:
        yield "Stripe refused it for this contract"
    if wanted.how.collection_method != "send_invoice":
        yield "a first charge that is declined would end the subscription"
    if wanted.piece.facts or wanted.sent:
        yield "something is billed already"
    if start != wanted.local.date():
        yield "it does not begin today"
    if (wanted.now - LEAD).astimezone(UTC).date() != start:
        yield "today has another date where Stripe counts"


def _judged(wanted: Wanted) -> Verdict:
    """Return the subscription that bills everything a contract says from its first day on, as it is known now."""
    contract = wanted.contract
    start = contract.terms.start.date()
    if contract.terms.prebill is None or contract.changes or contract.withdrawn:
        return Verdict(why_not="the contract was changed")
    whole = replace(wanted, held=None, sent={}, piece=replace(wanted.piece, facts=(), since=None, has_invoices=False))
    outlook = Outlook(whole)
    charges = [line for line in outlook.lines if line.kind == "charge" and line.amount]
    claims = outlook.whole_claims
    laid = Layout(outlook, strands_of(outlook, claims), floor=start, standing=None, keys={}).lay()
    why = "use, arrears, parts of periods or changing prices stand beside it"
    if len(laid.stretches) != 1 or {line.key for line in charges} - laid.taken.keys():
        return Verdict(why_not=why)
    (stretch,) = laid.stretches
    if stretch.is_trial or (stretch.start, stretch.anchor) != (start, start) or any(e.end or e.is_metered for e in stretch.entries):
        return Verdict(why_not=why)
    if any(c.due not in (start, c.start) for c in laid.taken.values()):
        return Verdict(why_not="periods are billed ahead when it renews itself, too")
    until = _until(start, laid)
    why = next(_limits(start, until, laid), "") or next(_doubts(laid), "")
    if why or until is None:
        return Verdict(why_not=why)
    name = name_for(stretch.entries[0].interval, ())
    at_time = time_of(wanted.now - LEAD)
    group = Group(name=name, at_time=at_time, floor=start, how="today", strands=strands_of(outlook, claims), laid=laid, ahead_to=until)
    return Verdict(group=group)


def _until(start: date, laid: Laid) -> date | None:
    """Return up to where every item is billed on the first day, None where that differs or is a single period."""
    ends: dict[str, list[date]] = {}
    for claim in laid.taken.values():
        if claim.due == start:
            ends.setdefault(claim.item.id, []).append(claim.end)
    found = {max(days) for days in ends.values()}
    is_all = ends.keys() == {e.item_id for e in laid.stretches[0].entries}
    return found.pop() if is_all and len(found) == 1 and all(len(days) > 1 for days in ends.values()) else None


def _limits(start: date, until: date | None, laid: Laid) -> Iterator[str]:
    """Yield which of Stripe's limits of billing ahead a contract meets."""
    entries = laid.stretches[0].entries
    if until is None:
        yield "not everything is billed ahead to the same day"
        return
    if len({e.interval for e in entries}) > 1:
        yield "several rhythms are billed ahead"
    if sum(1 for c in laid.taken.values() if c.due == start) > MOST_CYCLES:
        yield f"more than {MOST_CYCLES} periods are billed ahead"
    if until > plus_months(laid.taken[next(iter(laid.taken))].segment.anchor, 12 * MOST_YEARS).date():
        yield f"it is billed ahead for more than {MOST_YEARS} years"
    if len(entries) > MOST_ITEMS:
        yield f"it has more than {MOST_ITEMS} items"
    if laid.end is not None and any(natural_end(start, e.interval, laid.end - timedelta(days=1)) != laid.end for e in entries):
        yield "it ends in the middle of a period"


def _doubts(laid: Laid) -> Iterator[str]:
    """Yield what could come out otherwise, depending on how many lines Stripe shows for the periods ahead: that is not documented."""
    (stretch,) = laid.stretches
    terms = [e.shown.params for e in stretch.entries]
    if any(not isinstance(t.get("unit_amount"), int) or "transform_quantity" in t for t in terms):
        yield "tiers, packages or prices below a cent are billed ahead"
    cuts = [*stretch.coupons, *(c for e in stretch.entries for c in e.cuts)]
    if any("percent_off" not in cut.params for cut in cuts) or not all(_is_exact(c) for c in laid.taken.values()):
        yield "a discount or a tax leaves parts of a cent, or is a fixed amount"


def _is_exact(claim: Claim) -> bool:
    """Whether discounts and taxes of a period leave whole minor units, so that a sum of periods cannot be rounded otherwise."""
    left = Fraction(claim.line.amount)
    coupons = {c.id: c for c in claim.coupons}
    for id_, amount in claim.line.discounts:
        coupon = coupons.get(id_)
        if coupon is None or Fraction(coupon.percent_off or 0) * left / 100 != amount:
            return False
        left -= amount
    return all(not r.inclusive and (Fraction(r.percentage) * left / 100).denominator == 1 for r in claim.rates)

