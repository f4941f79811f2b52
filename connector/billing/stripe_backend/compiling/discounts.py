"""Discounts as Stripe's coupons: for as long as a phase lasts, and such that Stripe takes off exactly what the engine took off.

A percentage of the contract stands on the phase where it leaves whole minor units on every line, so that no rounding can differ. Else every line
bears its own: the percentage where one line leaves no doubt, otherwise the amount that the engine took. Windows of time are
phases, so every coupon is one for ever.

Worked example: 10 % of 30.00 and of 12.50 stands on the phase. 10 % of 12.55 is half a cent off: that line bears 1.26 off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from connector.billing.stripe_backend.compiling.outlook import Claim
from connector.billing.stripe_backend.compiling.prices import digest
from connector.billing.stripe_backend.money import stripe_price
from connector.billing.stripe_backend.steps import Step
from connector.core.money import quotient
from connector.core.terms import Coupon


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A coupon as Stripe is to have it, under an id of ours."""

    id: str
    params: Mapping[str, Any] = field(hash=False, compare=False)

    def step(self) -> Step:
        """Return the step that makes it."""
        return Step(name=f"coupon-{self.id}", call="coupons.create", shared=("coupon", self.id), params=self.params)


def _cut(name: str, terms: Mapping[str, Any]) -> Cut:
    id_ = f"cn_{digest(name, {k: str(v) for k, v in terms.items()})}"
    params = {"id": id_, "name": name[:40], "duration": "forever", **terms, "metadata": {"connector_coupon": name[:500]}}
    return Cut(id=id_, params=params)


def percent(coupon: Coupon) -> Cut:
    """Return a percentage as it is."""
    return _cut(coupon.id, {"percent_off": float(coupon.percent_off or 0)})


def fixed(name: str, amount: int, currency: str) -> Cut:
    """Return an amount off one line."""
    return _cut(name, {"amount_off": int(stripe_price(Decimal(amount), currency)), "currency": currency})


def _is_sayable(coupon: Coupon) -> bool:
    """Whether Stripe takes the percentage: above zero, with two decimals at most."""
    off = coupon.percent_off
    return off is not None and 0 < off <= 100 and off == off.quantize(Decimal("0.01"))


def _share(left: int, coupon: Coupon) -> Fraction:
    return Fraction(coupon.percent_off or 0) * left / 100


def shared_cuts(claims: Sequence[Claim]) -> tuple[Cut, ...] | None:
    """Return the contract's percentages that may stand on the phase for all *claims*, None where the lines must bear them."""
    found: list[tuple[Coupon, ...]] = []
    for claim in claims:
        if claim.is_metered and claim.coupons:
            return None
        if claim.line.amount == 0:
            continue
        own = {c.id for c in claim.item.discounts}
        defs = {c.id: c for c in claim.coupons}
        left, common = claim.line.amount, []
        for id_, amount in claim.line.discounts:
            coupon = defs.get(id_)
            if id_ not in own:
                if coupon is None or coupon.applies_to or not _is_sayable(coupon) or _share(left, coupon) != amount:
                    return None
                common.append(coupon)
            left -= amount
        if left or common:
            found.append(tuple(common))
    if not found or any(row != found[0] for row in found[1:]):
        return None
    return tuple(percent(c) for c in found[0])


def line_cuts(claim: Claim, currency: str, *, is_shared_apart: bool) -> tuple[Cut, ...]:
    """Return the coupons that one line bears; is_shared_apart - the contract's stand on the phase."""
    own = {c.id for c in claim.item.discounts}
    if claim.is_metered:
        return tuple(percent(c) if _is_sayable(c) else fixed(c.id, c.amount_off or 0, currency) for c in claim.coupons if _is_sayable(c) or c.amount_off)
    defs = {c.id: c for c in claim.coupons}
    cuts, left = [], claim.line.amount
    for id_, amount in claim.line.discounts:
        if not (is_shared_apart and id_ not in own) and amount:
            cuts.append(_exactly(id_, amount, left, defs.get(id_), currency))
        left -= amount
    return tuple(_distinct(cuts))


def _exactly(name: str, amount: int, left: int, coupon: Coupon | None, currency: str) -> Cut:
    """Return the coupon itself where Stripe can take nothing else off by it, else the amount that it took."""
    if coupon is not None and _is_sayable(coupon):
        share = _share(left, coupon)
        is_tie = (share * 2).denominator == 1 and share.denominator == 2
        if not is_tie and quotient(share.numerator, share.denominator) == amount:
            return percent(coupon)
    elif coupon is not None and coupon.amount_off is not None and min(coupon.amount_off, left) == amount:
        return fixed(name, coupon.amount_off, currency)
    return fixed(name, amount, currency)


def _distinct(cuts: Sequence[Cut]) -> list[Cut]:
    """Return the coupons, equal ones under names of their own: one coupon stands once on a line."""
    found: list[Cut] = []
    for cut in cuts:
        number, one = 1, cut
        while any(one.id == other.id for other in found):
            number += 1
            one = Cut(id=f"{cut.id}_{number}", params={**cut.params, "id": f"{cut.id}_{number}"})
        found.append(one)
    return found
