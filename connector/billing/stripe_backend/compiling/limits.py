"""What Stripe cannot hold, all of it at once, in words for the rep who can change the deal.

Checked before anything is sent, over everything that the engine will bill as far as it is known:

| what | limit |
|---|---|
| an amount | on a step of the currency there (KWD 0.010, MGA 1), and at most 8 digits of its smallest unit (IDR 12) |
| a free trial | 730 days |
| discounts of one line | 20 |
| tax rates of one line | 5 |
| lines of ours on one invoice | 250 |
| currencies of a customer | 1 |
| the price of use | as long as nothing is counted that it would hold for |
| below zero, with automatic tax | a credit of what stands on an invoice there (see `noting`), no price |
| an address, with automatic tax | a country that is known, in the US a ZIP code |

More than ten phases, more than twenty lines, rhythms that do not fit, and intervals over three years are no limits: they are sent in
several parts or billed by items of our own. Source: docs.stripe.com/currencies, /billing/subscriptions/trials, /api/invoiceitems.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from connector.billing.stripe_backend.compiling.groups import Group
from connector.billing.stripe_backend.compiling.noting import is_out_of_reach
from connector.billing.stripe_backend.compiling.outlook import Outlook
from connector.billing.stripe_backend.compiling.people import is_code
from connector.billing.stripe_backend.money import major_text, stripe_amount
from connector.core.lines import Line
from connector.errors import Problem, RejectedError

MOST_DIGITS = 8
MORE_DIGITS = {"idr": 12}
TRIAL_DAYS = 730
MOST_DISCOUNTS = 20
MOST_RATES = 5
MOST_LINES = 250
_NAMED = 3  # of one kind; how many more there are is said
_AGAIN = "it is tried again by itself."

Complaint = tuple[str, str, str]
"""Code, what is wrong, what to do."""


def problem_of(outlook: Outlook, groups: Sequence[Group], left: Collection[str] = ()) -> Problem | None:
    """Return one problem that names every limit, None where Stripe can hold the contract. left - keys of lines left to Stripe's proration."""
    complaints = [*_currencies(outlook, groups), *_places(outlook), *_credits(outlook, left), *_amounts(outlook, groups), *_trials(groups), *_crowds(outlook, groups), *_counted(outlook)]
    if not complaints:
        return None
    codes = list(dict.fromkeys(code for code, _, _ in complaints))
    todo = list(dict.fromkeys(do for _, _, do in complaints))
    return Problem(
        code=codes[0] if len(codes) == 1 else "stripe-limits",
        message="Not billed: " + " ".join(text for _, text, _ in complaints),
        hint=f"{' '.join(f'{do}.' for do in todo)[:-1]}; {_AGAIN}",
    )


def _currencies(outlook: Outlook, groups: Sequence[Group]) -> Iterator[Complaint]:
    """Yield another currency in which the customer is billed, where a subscription would begin: there is one for a customer."""
    wanted = outlook.wanted
    if not any(group.held is None for group in groups):
        return
    for currency, label in sorted(wanted.currencies.items()):
        if currency != outlook.currency:
            text = f"{wanted.details.name} is already billed in {currency.upper()} ({label}), and one customer has one currency there."
            yield "customer-currency", text, f"Close this deal in {currency.upper()}, or for another account"
            return


def _places(outlook: Outlook) -> Iterator[Complaint]:
    """Yield why Stripe could not work out the tax of a customer: its invoices would stay drafts there."""
    wanted = outlook.wanted
    if not wanted.automatic_tax or wanted.details.tax_exempt != "none":
        return
    address = wanted.details.address
    if not address.country:
        yield "stripe-no-country", f"The address of {wanted.details.name} names no country, so that no tax can be worked out.", "Fill in the billing address of the account"
    elif not is_code(address.country):
        text = f'The country "{address.country}" of {wanted.details.name} is none that is known, so that no tax can be worked out.'
        yield "stripe-unknown-country", text, "Correct the country in the billing address of the account"
    elif address.country.upper() == "US" and not address.postal_code:
        text = f"The address of {wanted.details.name} has no ZIP code, so that no tax can be worked out."
        yield "stripe-no-zip", text, "Fill in the postal code in the billing address of the account"


def _credits(outlook: Outlook, left: Collection[str]) -> Iterator[Complaint]:
    """Yield what is below zero and can be neither an item, where Stripe finds the tax, nor a credit note. left - to Stripe's own proration."""
    if not outlook.wanted.automatic_tax:
        return
    back = [line for line in outlook.lines if line.net < 0 and line.key not in left]
    prices = dict.fromkeys(_name(line) for line in back if line.credits is None)
    if prices:
        text = f"{_listed(prices)} has a price below zero, which cannot be billed where the tax is worked out there."
        yield "stripe-automatic-tax-negative", text, "Give a discount instead, or credit it on an invoice (`connector invoices credit`)"
    beyond = dict.fromkeys(_name(line) for line in back if line.credits is not None and is_out_of_reach(outlook, line))
    if beyond:
        text = f"{_listed(beyond)} would be credited for unused time that was not billed on an invoice there, or far down on it, which cannot be done where the tax is worked out there."
        yield "stripe-automatic-tax-credit", text, "Let the change begin with a period or agree on no proration, and give back the rest as it was billed"


def _name(line: Line) -> str:
    return line.description or line.product


def _amounts(outlook: Outlook, groups: Sequence[Group]) -> Iterator[Complaint]:
    """Yield the amounts that cannot be said there, and those that are too large."""
    steps: dict[str, None] = {}
    large: dict[str, None] = {}
    most = 10 ** MORE_DIGITS.get(outlook.currency, MOST_DIGITS)
    for line in outlook.lines:
        for amount in dict.fromkeys((line.amount, line.net, *(off for _, off in line.discounts))):
            named = f"{major_text(Decimal(amount), outlook.currency)} ({line.description})"
            try:
                value = stripe_amount(amount, outlook.currency)
            except RejectedError as error:
                if error.problem.code == "stripe-currency":
                    yield error.problem.code, error.problem.message, "Close the deal in another currency"
                    return
                steps[named] = None
                continue
            if abs(value) >= most:
                large[named] = None
    for cut in (c for g in groups for s in g.laid.stretches for c in (*s.coupons, *(c for e in s.entries for c in e.cuts))):
        if int(cut.params.get("amount_off") or 0) >= most:
            large[f"a discount ({cut.params['name']})"] = None
    if steps:
        least = major_text(Decimal(100 if outlook.currency == "mga" else 10), outlook.currency)
        yield "stripe-amount", f"{_listed(steps)} cannot be billed: amounts go in steps of {least} there.", "Correct price, quantity or discount so that each line comes out on such a step"
    if large:
        yield "stripe-amount-too-large", f"{_listed(large)} is more than Stripe takes on one line.", "Split the deal, or bill it in shorter periods"


def _trials(groups: Sequence[Group]) -> Iterator[Complaint]:
    for group in groups:
        found = group.laid.stretches
        ends = [*(s.start for s in found[1:]), group.laid.end] if found else []  # one that is over by now has no stretch left
        for stretch, after in zip(found, ends, strict=True):
            if stretch.is_trial and (after is None or (after - stretch.start).days > TRIAL_DAYS):
                yield "stripe-trial-too-long", f"A free trial lasts at most {TRIAL_DAYS} days at Stripe.", "Shorten the trial"
                return


def _crowds(outlook: Outlook, groups: Sequence[Group]) -> Iterator[Complaint]:
    """Yield where too many things of one kind stand together."""
    entries = [e for g in groups for s in g.laid.stretches for e in s.entries]
    if any(len(e.coupons) > MOST_DISCOUNTS for e in entries) or any(len(s.coupons) > MOST_DISCOUNTS for g in groups for s in g.laid.stretches):
        yield "stripe-discounts", f"One line has more than {MOST_DISCOUNTS} discounts.", "Give fewer discounts, or one that stands for several"
    if any(len(e.rates) > MOST_RATES for e in entries) or any(len(line.taxes) > MOST_RATES for line in outlook.lines):
        yield "stripe-tax-rates", f"One line has more than {MOST_RATES} tax rates.", "Ask the people who run the billing connector for fewer tax rates"
    ours = _ours(outlook, {key for g in groups for key in g.laid.taken})
    if ours > MOST_LINES:
        yield (
            "stripe-too-many-lines",
            f"{ours} lines would come on one invoice, which holds at most {MOST_LINES}.",
            "Split the deal into several; where it began long ago, have what lies back imported as billed (`connector import contracts`)",
        )


def _counted(outlook: Outlook) -> Iterator[Complaint]:
    """Yield use that a meter has at the price so far and that another price shall hold for now: Stripe takes no use back, and would bill it once more."""
    held = outlook.wanted.held
    metered = {i.item_id for g in held.groups for p in g.phases for i in p.items if i.is_metered} if held is not None else set()
    if not metered or not outlook.piece.usage:
        return
    last: dict[str, datetime] = {}
    for line in outlook.lines:
        segment = outlook.segment_of(line) if line.kind == "charge" and line.item_id in metered else None
        if segment is None or segment.price.usage_type != "metered":
            continue
        found = [u.at for u in outlook.piece.usage if u.item == line.item_id and line.start <= u.at < line.end and u.price != segment.price.id]
        if found:
            last[_name(line)] = max([*found, *([last[_name(line)]] if _name(line) in last else [])])
    if last:
        until = max(last.values()).date()
        text = f"Use of {_listed(last)} up to {until} is counted at its price so far already."
        yield "stripe-usage-counted", text, f"Let the new price take effect on {until + timedelta(days=1)} or later"


def _ours(outlook: Outlook, claimed: set[str]) -> int:
    """Return how many lines of ours come on one invoice at most: now, or on a day to come."""
    now = {line.key for line in outlook.due}
    days: dict[date | None, int] = {}
    for line in outlook.lines:
        if line.amount and line.key not in claimed:
            day = None if line.key in now else line.due.date()
            days[day] = days.get(day, 0) + 1
    return max(days.values(), default=0)


def _listed(named: Iterable[str]) -> str:
    """Return the first few of many, and how many more there are."""
    all_ = list(named)
    more = len(all_) - _NAMED
    return ", ".join(all_[:_NAMED]) + (f" and {more} more" if more > 0 else "")
