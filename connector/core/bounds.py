"""What no contract may be, whatever happens to it: the bounds of billing.md section 4 and terms that contradict each other.

Each problem names the key of the terms in `where.field`, as `phases[0].items[1]`, and the change in `where.record`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from connector.core.period import boundary, plus_months, to_local
from connector.core.pricing import cost, span_ratio
from connector.core.terms import Change, Contract, Coupon, Item, Phase, Prebill, Price
from connector.errors import Problem, Where

MAX_DISCOUNTS = 20
MAX_PHASES = 200
MAX_LINES = 100_000
MAX_PREBILL_MONTHS = 60
MAX_TRIAL_DAYS = 730
MAX_AMOUNT = 10**15
MAX_UPLIFT = 1000


def _problem(code: str, field: str, message: str, hint: str = "", *, change: str | None = None) -> Problem:
    return Problem(code=code, message=message, hint=hint, where=Where(field=field, record=change))


def _discounts(coupons: tuple[Coupon, ...], field: str) -> Iterator[Problem]:
    if len(coupons) > MAX_DISCOUNTS:
        yield _problem(
            "too-many-discounts",
            field,
            f"{len(coupons)} discounts stand here.",
            f"At most {MAX_DISCOUNTS} are possible.",
        )
    ids = [c.id for c in coupons]
    for name in sorted({i for i in ids if ids.count(i) > 1}):
        yield _problem("duplicate-discount", field, f"The coupon {name!r} stands twice.", "List it once.")


def _item(item: Item, field: str) -> Iterator[Problem]:
    price = item.price
    if price.is_named:
        yield _problem("price-not-known", field, f"The price {price.id} is only named.", "Import it into the catalogue.")
    if price.interval is not None and span_ratio(price.interval, price.per) is None:
        yield _problem(
            "span-mismatch", field, f"{price.id} is priced per {price.per.unit if price.per else ''} and billed per {price.interval.unit}.",
            "Months and years compare, days and weeks compare, but not one with the other.",
        )  # fmt: skip
    if item.quantity is not None and abs(item.quantity) > MAX_AMOUNT:
        yield _problem("quantity-too-large", field, f"{item.id} has the quantity {item.quantity}.", "Correct the quantity.")
    elif is_too_large(price, item.quantity or Decimal(1)):
        yield _problem("amount-too-large", field, f"{item.id} costs more than can be billed at once.", "Correct the quantity or the price.")
    if price.usage_type == "metered" and price.interval is None:
        yield _problem("metered-once", field, f"{price.id} is metered but does not recur.", "Give it an interval.")
    if item.start is not None and item.end is not None and item.end <= item.start:
        yield _problem(
            "item-end",
            field,
            f"{item.id} ends on {item.end.date()}, but starts on {item.start.date()}.",
            "Correct the dates.",
        )
    yield from _discounts(item.discounts, f"{field}.discounts")
    if len(item.tax_rates) > 5:
        yield _problem(
            "too-many-taxes",
            f"{field}.tax_rates",
            f"{item.id} has {len(item.tax_rates)} tax rates.",
            "At most 5 are possible.",
        )


def is_too_large(price: Price, quantity: Decimal) -> bool:
    """Return whether one full period costs more than 10^15 minor units, beyond which nothing is a price but a slip."""
    n, d = cost(price, quantity)
    return abs(n) > MAX_AMOUNT * d


def _phases(phases: tuple[Phase, ...], prefix: str = "") -> Iterator[Problem]:
    if not phases:
        yield _problem("no-phase", f"{prefix}phases", "The contract has no phase.", "Give it at least one.")
    if len(phases) > MAX_PHASES:
        yield _problem(
            "too-many-phases",
            f"{prefix}phases",
            f"The contract has {len(phases)} phases.",
            f"At most {MAX_PHASES} are possible.",
        )
    for at, phase in enumerate(phases):
        field = f"{prefix}phases[{at}]"
        if phase.end is not None and phase.end <= phase.start:
            yield _problem(
                "phase-end",
                f"{field}.end",
                f"The phase ends on {phase.end.date()}, but starts on {phase.start.date()}.",
                "Correct the dates.",
            )
        if at and phases[at - 1].end != phase.start:
            yield _problem(
                "phase-gap",
                f"{field}.start",
                f"The phase starts on {phase.start.date()}, where the one before does not end.",
                "Close the gap.",
            )
        if phase.trial and phase.billing_cycle_anchor == "phase_start":
            yield _problem(
                "trial-anchor",
                f"{field}.billing_cycle_anchor",
                "A free phase cannot begin a new billing cycle.",
                "Leave one of the two out.",
            )
        if phase.trial and phase.end is None:
            yield _problem("endless-trial", f"{field}.trial", "A free phase needs an end.", "Give it a duration.")
        ids = [i.id for i in phase.items]
        for name in sorted({i for i in ids if ids.count(i) > 1}):
            yield _problem(
                "duplicate-item", f"{field}.items", f"The item {name!r} stands twice.", "Give each its own id."
            )
        for number, item in enumerate(phase.items):
            yield from _item(item, f"{field}.items[{number}]")
        yield from _discounts(phase.discounts or (), f"{field}.discounts")


def _prebill(
    prebill: Prebill, start: datetime, contract: Contract, field: str, change: str | None
) -> Iterator[Problem]:
    last = plus_months(start, MAX_PREBILL_MONTHS)
    items = [i for p in contract.terms.phases for i in p.items if i.price.interval is not None]
    until = prebill.until
    if until is not None and until > last:
        yield _problem(
            "prebill-too-long",
            f"{field}.until",
            f"Billing ahead until {until.date()} is more than five years.",
            f"At most until {last.date()}.",
            change=change,
        )
    if prebill.periods is not None:
        longest = max(
            (
                i.price.interval.count * (12 if i.price.interval.unit == "year" else 1)
                for i in items
                if i.price.interval and i.price.interval.unit in ("month", "year")
            ),
            default=1,
        )
        if prebill.periods * longest > MAX_PREBILL_MONTHS:
            yield _problem(
                "prebill-too-long",
                f"{field}.periods",
                f"Billing {prebill.periods} periods ahead is more than five years.",
                "Bill fewer.",
                change=change,
            )
    if change is None:
        yield from _beyond_end(prebill, start, contract, items, field)
    if items and all(i.price.usage_type == "metered" or i.price.timing == "in_arrears" for i in items):
        yield _problem(
            "prebill-usage",
            field,
            "Nothing here can be billed ahead: every item is billed after its period.",
            "Leave prebill out.",
            change=change,
        )
    coupons = [*contract.terms.discounts, *(c for i in items for c in i.discounts)]
    for coupon in coupons:
        if coupon.percent_off is None or coupon.duration == "repeating":
            yield _problem(
                "prebill-coupon",
                field,
                f"The coupon {coupon.id!r} does not go with billing ahead.",
                "Percentages, once or forever, do.",
                change=change,
            )


def _beyond_end(
    prebill: Prebill, start: datetime, contract: Contract, items: list[Item], field: str
) -> Iterator[Problem]:
    """Yield a problem where the last period to bill ahead lies after an end that the terms say.

    A change may bring a later end, so only what the terms bill ahead is looked at. With several intervals the shortest one counts: 12 periods of a year with monthly seats and yearly support are possible.
    """
    terms = contract.terms
    end = terms.phases[-1].end if terms.phases and terms.end_behavior == "cancel" else None
    if end is None:
        return
    hint = f"Bill ahead at most until {end.date()}."
    if prebill.until is not None and prebill.until > end:
        message = f"Billing ahead until {prebill.until.date()} goes beyond the end of the contract on {end.date()}."
        yield _problem("prebill-beyond-end", f"{field}.until", message, hint)
    if prebill.periods is not None:
        last = [boundary(start, i.price.interval, prebill.periods - 1) for i in items if i.price.interval is not None]
        if last and min(last) >= end:
            message = f"Billing {prebill.periods} periods ahead goes beyond the end of the contract on {end.date()}."
            yield _problem("prebill-beyond-end", f"{field}.periods", message, hint)


def _change(change: Change, contract: Contract) -> Iterator[Problem]:
    zone = contract.terms.timezone
    if change.until is not None and to_local(change.until, zone) <= to_local(change.effective, zone):
        yield _problem(
            "until-before-effective", "until",
            f"The change ends on {to_local(change.until, zone).date()}, but begins on {to_local(change.effective, zone).date()}.",
            "Give it a later end, or none.", change=change.id,
        )  # fmt: skip
    for number, step in enumerate(change.items):
        if step.item is not None:
            for problem in _item(step.item, f"items[{number}]"):
                yield _problem(
                    problem.code, problem.where.field or "items", problem.message, problem.hint, change=change.id
                )
    if change.prebill is not None:
        yield from _prebill(change.prebill, change.effective.replace(tzinfo=None), contract, "prebill", change.id)
    if change.phases:
        for problem in _phases(change.phases):
            yield _problem(
                problem.code, problem.where.field or "phases", problem.message, problem.hint, change=change.id
            )


def bounds(contract: Contract) -> Iterator[Problem]:
    """Yield what is impossible in the terms and changes taken by themselves."""
    terms = contract.terms
    yield from _phases(terms.phases)
    yield from _discounts(terms.discounts, "discounts")
    if terms.phases and terms.phases[0].start != terms.start:
        yield _problem(
            "phase-gap",
            "phases[0].start",
            f"The first phase starts on {terms.phases[0].start.date()}, the contract on {terms.start.date()}.",
        )
    if terms.trial_end is not None:
        if terms.trial_end <= terms.start:
            yield _problem(
                "trial-end",
                "trial_end",
                f"The trial ends on {terms.trial_end.date()}, before the contract starts.",
                "Correct the dates.",
            )
        if (terms.trial_end - terms.start).days > MAX_TRIAL_DAYS:
            yield _problem(
                "trial-too-long",
                "trial_end",
                f"The trial runs until {terms.trial_end.date()}.",
                f"At most {MAX_TRIAL_DAYS} days are possible.",
            )
        if any(i.trial for p in terms.phases for i in p.items):
            yield _problem(
                "two-trials", "trial_end", "A free trial does not go with a paid one.", "Leave one of them out."
            )
    if terms.prebill is not None:
        yield from _prebill(terms.prebill, terms.start, contract, "prebill", None)
    if terms.end_behavior == "renew" and terms.phases and terms.phases[-1].end is None:
        yield _problem(
            "no-term",
            "end_behavior",
            "A contract without an end has nothing to renew.",
            "Give the last phase a duration.",
        )
    if abs(terms.renewal.uplift_percent) > MAX_UPLIFT:
        yield _problem("uplift-too-large", "renewal.uplift_percent", f"{terms.renewal.uplift_percent} percent.", f"At most {MAX_UPLIFT}.")
    for change in contract.changes:
        yield from _change(change, contract)
