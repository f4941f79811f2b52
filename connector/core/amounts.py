"""From charges to lines: each rounded once, coupons taken off group by group of what falls due together, then taxed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from connector.core.charges import Charge, charges_of, one_time_charge, one_time_segment
from connector.core.discounts import Discountable, take_off
from connector.core.lines import Given, Line, Slice, Usage, stamp
from connector.core.money import quotient
from connector.core.period import plus_months
from connector.core.pricing import cost
from connector.core.segments import Timeline
from connector.core.tax import document_taxes, inclusive_factor, line_taxes, rates_on
from connector.core.terms import Coupon, Item, TaxRate


def first_use(plan: Timeline, coupon: Coupon, since: datetime, *, is_due: bool, item_id: str | None) -> datetime:
    """Return the first charged start (or due date) at or after *since* of what the coupon covers (memoized)."""
    memo = (f"{coupon.id}/{item_id or ''}/{stamp(since)}", "due" if is_due else "start")
    if memo in plan.first_uses:
        return plan.first_uses[memo]
    whole = Slice(contract=plan.contract)
    found: list[datetime] = []
    for segment in plan.segments:
        if (
            (item_id is not None and segment.item.id != item_id)
            or (segment.end is not None and segment.end <= since)
            or segment.is_free
        ):
            continue
        for charge in charges_of(plan, segment, replace(whole, since=since), None):
            if charge.start >= since:
                found.append(charge.due if is_due else charge.start)
                break
    if item_id is None:
        for one in plan.one_times:
            if one.at >= since:
                single = one_time_charge(plan, one, one_time_segment(one))
                found.append(single.due if is_due else single.start)
    plan.first_uses[memo] = min(found, default=since)
    return plan.first_uses[memo]


def _is_running(plan: Timeline, coupon: Coupon, since: datetime, charge: Charge, item_id: str | None) -> bool:
    if coupon.duration == "forever":
        return True
    if coupon.duration == "once":
        return charge.due == first_use(plan, coupon, since, is_due=True, item_id=item_id)
    first = first_use(plan, coupon, since, is_due=False, item_id=item_id)
    return charge.start < plus_months(first, coupon.duration_in_months or 0)


def _contract_coupons(plan: Timeline, piece: Slice, charge: Charge) -> tuple[Coupon, ...]:
    if piece.given and plan.is_inheriting(charge.start):
        return tuple([g.coupon for g in piece.given if _is_inherited(plan, g, charge)])
    log = plan.discounts
    at = max((i for i, (begin, _) in enumerate(log) if begin <= charge.start), default=-1)
    if at < 0:
        return ()
    found = []
    for coupon in log[at][1]:
        since, back = log[at][0], at
        while back > 0 and any(c.id == coupon.id for c in log[back - 1][1]):
            back -= 1
            since = log[back][0]
        if _is_running(plan, coupon, since, charge, None):
            found.append(coupon)
    return tuple(found)


def _is_inherited(plan: Timeline, given: Given, charge: Charge) -> bool:
    """Whether a customer's coupon takes something off a charge of this contract, which uses it up for itself."""
    if given.since > charge.start or given.currency not in ("", plan.root.currency):
        return False
    return _is_running(plan, given.coupon, max(given.since, plan.root.start), charge, None)


def _item_coupons(plan: Timeline, charge: Charge) -> tuple[Coupon, ...]:
    found = []
    for coupon in charge.item.discounts:
        segment, since = charge.segment, charge.segment.start
        while segment.previous is not None and coupon in segment.previous.item.discounts:
            segment = segment.previous
            since = segment.start
        if charge.kind == "one_time" or _is_running(plan, coupon, since, charge, charge.item.id):
            found.append(coupon)
    return tuple(found)


def coupons_of(plan: Timeline, piece: Slice, charge: Charge) -> tuple[Coupon, ...]:
    """Return the coupons that count for a charge, its own first, in order of application; whoever bills it elsewhere needs them."""
    return (*_item_coupons(plan, charge), *_contract_coupons(plan, piece, charge))


def _used(plan: Timeline, piece: Slice, charge: Charge) -> Decimal:
    used = (u.quantity for u in piece.usage if charge.start <= u.at < charge.end and _is_of(plan, u, charge))
    return sum(used, Decimal(0))


def _is_of(plan: Timeline, usage: Usage, charge: Charge) -> bool:
    """Whether usage counts for a charge: by its item, or, where that item does not run then (any more), by its price."""
    if usage.item == charge.item.id:
        return True
    if usage.price != charge.segment.price.id:
        return False
    others = (s for s in plan.segments if s.item.id == usage.item) if usage.item else ()
    return not any(s.start <= usage.at and (s.end is None or usage.at < s.end) for s in others)


def rates_for(plan: Timeline, piece: Slice, item: Item, start: datetime) -> tuple[TaxRate, ...]:
    """Return the tax rates of an item for time that begins at *start*: its own, else the contract's, else the customer's then."""
    rates = item.tax_rates or plan.root.tax_rates
    if not rates and piece.rates:
        rates = rates_on(piece.rates, start.date())
    if item.price.tax_behavior == "inclusive":
        return tuple(r if r.inclusive else replace(r, inclusive=True) for r in rates)
    return rates


def price_charges(plan: Timeline, piece: Slice, charges: list[Charge]) -> None:
    """Round each charge once, then take the coupons off, group by group of what falls due together."""
    is_exempt = piece.tax_exempt != "none"
    for charge in charges:
        n, d = charge.full
        if charge.segment.price.usage_type == "metered" and charge.kind == "charge":
            charge.quantity = _used(plan, piece, charge)
            n, d = cost(charge.segment.price, charge.quantity)
            charge.share = (1, 1)
        if is_exempt:
            factor = inclusive_factor(rates_for(plan, piece, charge.item, charge.start))
            n, d = n * factor[0], d * factor[1]
        charge.full = (n, d)
        charge.amount = quotient(n * charge.share[0], d * charge.share[1])
    if not plan.has_coupons and not piece.given and not any(c.item.discounts for c in charges):
        return
    groups: dict[tuple[datetime, str], list[Charge]] = {}
    for charge in charges:
        group = (charge.due, charge.cause_id if charge.is_event or charge.is_pending else "")
        groups.setdefault(group, []).append(charge)
    for members in groups.values():
        rows = [
            Discountable(
                left=c.amount, list_left=quotient(*c.full), share=c.share, own=_item_coupons(plan, c),
                shared=_contract_coupons(plan, piece, c), price_id=c.segment.price.id,
                product=c.segment.price.product,
            )
            for c in members
            if c.amount > 0
        ]  # fmt: skip
        take_off(rows)
        for charge, row in zip((c for c in members if c.amount > 0), rows, strict=True):
            charge.discounts = tuple(row.given)


def line_of(plan: Timeline, charge: Charge) -> Line:
    """Return a priced and taxed charge as a line."""
    price = charge.segment.price
    product = price.product or price.id
    return Line(
        key=charge.key, contract_id=plan.contract.id, item_id=charge.item.id, price_id=price.id, product=product,
        description=price.description or product, quantity=charge.quantity, unit_amount=price.unit_amount, amount=charge.amount,
        kind=charge.kind, start=charge.start, end=charge.end, due=charge.due, is_proration=charge.is_event,
        change_id=charge.cause_id, discounts=charge.discounts, taxes=charge.taxes, is_pending=charge.is_pending,
        order=charge.number + (0 if charge.is_pending or charge.is_event else 1_000_000),
    )  # fmt: skip


def tax_charges(plan: Timeline, piece: Slice, charges: list[Charge]) -> None:
    """Give priced charges their taxes, rounded per line or per document."""
    if piece.tax_exempt != "none" or not (piece.rates or plan.root.tax_rates or any(c.item.tax_rates for c in charges)):
        return
    rates = [rates_for(plan, piece, charge.item, charge.start) for charge in charges]
    if plan.root.settings.tax_rounding == "invoice":
        taxes = document_taxes([(charge.net, r) for charge, r in zip(charges, rates, strict=True)])
    else:
        taxes = [line_taxes(charge.net, r) if r else () for charge, r in zip(charges, rates, strict=True)]
    for charge, found in zip(charges, taxes, strict=True):
        charge.taxes = found
