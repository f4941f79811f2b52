"""What a subscription of Stripe says in our terms: a contract with its items, phases, discounts and end, and how far it is billed.

Pure: a subscription (with its schedule, where it has one) goes in, an entry as `billing.imports` takes it comes out, or every reason
why it cannot be one. To Stripe's timestamps belong civil days: the UTC date (decision D-11).

Worked example: 3 x 20.00 EUR a month since 15 January, current period 15 June to 15 July, `cancel_at` 15 January: a contract from 15
January to 15 January, one phase, 3 of that price, billed through 14 July. Nothing is billed anew; 15 July is Stripe's next invoice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from connector.billing.stripe_backend.money import minor_amount, minor_price
from connector.core.elsewhere import BilledThrough, through_problems, through_to_data, with_months_left
from connector.core.period import Interval, is_boundary, midnight, months_between, plus_months
from connector.core.schedule import problems
from connector.core.terms import (
    Contract,
    ContractTerms,
    Coupon,
    Item,
    Phase,
    Price,
    Settings,
    TaxRate,
    Tier,
    terms_to_data,
)

Data = Mapping[str, Any]
RUNNING = ("active", "past_due", "unpaid", "trialing")
_CODES = ("connector_product", "product_code", "salesforce_product_code", "sku")
_DEALS = ("connector_deal", "salesforce_opportunity_id", "sfdc_opportunity_id", "opportunity_id")
_DEAL = re.compile(r"(?:006|0Q0|801)[0-9A-Za-z]{12}(?:[0-9A-Za-z]{3})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What else the account holds: products and coupons by id, prices with tiers by id, and codes of products that the books know by name."""

    products: Mapping[str, Data] = field(default_factory=dict)
    coupons: Mapping[str, Data] = field(default_factory=dict)
    tiered: Mapping[str, Data] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A subscription in our terms: *entry* as `billing.imports` takes it (None: *problems* say why not); prices by our item's id.

    prices - (item id, Stripe's price id, Stripe's subscription item id). notes - what is worth knowing, in plain words.
    """

    entry: dict[str, Any] | None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    prices: tuple[tuple[str, str, str], ...] = ()


def day(seconds: int) -> date:
    """Return the civil day of one of Stripe's timestamps."""
    return datetime.fromtimestamp(seconds, UTC).date()


def at_time(seconds: int) -> str:
    """Return the UTC time of day of one of Stripe's timestamps."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def _midnight(seconds: int) -> datetime:
    return midnight(day(seconds))


def _id(value: Any) -> str:
    """Return the id of what is named or expanded."""
    return str(value["id"]) if isinstance(value, Mapping) else str(value or "")


# ---------------------------------------------------------------- prices, coupons, taxes


class _Reader:
    """Reads one subscription; what it cannot take is noted on the way."""

    def __init__(self, subscription: Data, seen: Seen) -> None:
        self.subscription, self.seen = subscription, seen
        self.currency = str(subscription["currency"])
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.left: dict[str, int] = {}

    def price(self, price: Data) -> Price:
        """Return one of Stripe's prices as ours."""
        recurring = price.get("recurring") or {}
        named = str(price.get("lookup_key") or price["id"])
        if price.get("currency") != self.currency:
            self.problems.append(f"The price {named} is in {str(price.get('currency')).upper()}, the subscription in {self.currency.upper()}.")
        if not recurring:
            self.problems.append(f"The price {named} does not recur.")
        product = self.seen.products.get(_id(price.get("product")), {})
        tiers: tuple[Tier, ...] = ()
        if price.get("billing_scheme") == "tiered":
            tiers = tuple(self._tier(t) for t in (self.seen.tiered.get(str(price["id"])) or price).get("tiers") or ())
            if not tiers:
                self.problems.append(f"The tiers of the price {named} cannot be read.")
        transform = price.get("transform_quantity") or {}
        is_metered = recurring.get("usage_type") == "metered"
        return Price(
            id=named, product=self._code(price, product), description=str(product.get("name") or price.get("nickname") or ""),
            unit_amount=None if tiers else _decimal(price.get("unit_amount_decimal"), price.get("unit_amount"), self.currency),
            interval=Interval(unit=recurring.get("interval", "month"), count=int(recurring.get("interval_count") or 1)),
            timing="in_arrears" if is_metered else "in_advance", usage_type="metered" if is_metered else "licensed",
            tiers_mode=price.get("tiers_mode") if tiers else None, tiers=tiers, divide_by=transform.get("divide_by"),
            divide_round=transform.get("round", "up"), tax_behavior="inclusive" if price.get("tax_behavior") == "inclusive" else "exclusive",
        )  # fmt: skip

    def _code(self, price: Data, product: Data) -> str:
        """Return the product's code: as its metadata says, else that of the books' product of its name, else Stripe's id."""
        metadata = {**(product.get("metadata") or {}), **(price.get("metadata") or {})}
        said = next((str(metadata[k]) for k in _CODES if metadata.get(k)), "")
        return said or self.seen.codes.get(str(product.get("name") or ""), "") or _id(price.get("product"))

    def _tier(self, tier: Data) -> Tier:
        up_to = tier.get("up_to")
        return Tier(
            up_to=None if up_to in (None, "inf") else Decimal(str(up_to)),
            unit_amount=_decimal(tier.get("unit_amount_decimal"), tier.get("unit_amount"), self.currency),
            flat_amount=_decimal(tier.get("flat_amount_decimal"), tier.get("flat_amount"), self.currency),
        )

    def coupons(self, discounts: Sequence[Any], billed_to: datetime) -> tuple[Coupon, ...]:
        """Return the discounts that still hold after *billed_to*, in order of application."""
        found = []
        for discount in discounts:
            coupon_id = _coupon_id(discount)
            coupon = self.seen.coupons.get(coupon_id)
            if coupon is None:
                self.problems.append(f"Its discount {coupon_id or _id(discount)} cannot be read.")
                continue
            ends = discount.get("end") if isinstance(discount, Mapping) else None
            if ends is not None and _midnight(ends) <= billed_to:
                continue  # nothing that will be billed has it
            if coupon.get("duration") == "once" and ends is None and isinstance(discount, Mapping) and discount.get("start"):
                self.notes.append(f"The discount {coupon.get('name') or coupon_id} counts once more, on the next invoice.")
            found.append(self._coupon(coupon, ends, billed_to))
        return tuple(found)

    def _coupon(self, coupon: Data, ends: int | None, billed_to: datetime) -> Coupon:
        coupon_id, duration, months = str(coupon["id"]), coupon.get("duration", "forever"), coupon.get("duration_in_months")
        if ends is not None:
            duration, until = "repeating", _midnight(ends)
            months = months_between(billed_to, until)
            months += plus_months(billed_to, months) < until
            self.left[coupon_id] = months = max(1, months)
        percent = coupon.get("percent_off")
        return Coupon(
            id=coupon_id, percent_off=None if percent is None else Decimal(str(percent)),
            amount_off=minor_amount(int(coupon["amount_off"]), self.currency) if percent is None else None, duration=duration,
            duration_in_months=months if duration == "repeating" else None,
        )  # fmt: skip

    def rates(self, rates: Sequence[Data] | None) -> tuple[TaxRate, ...]:
        """Return tax rates."""
        return tuple(
            TaxRate(id=str(r["id"]), percentage=Decimal(str(r["percentage"])), inclusive=bool(r.get("inclusive"))) for r in rates or ()
        )

    def item(self, entry: Data, billed_to: datetime) -> Item:
        """Return an item of the subscription or of a phase."""
        price = self.price(entry["price"])
        said = entry.get("quantity")
        quantity = None if price.usage_type == "metered" else Decimal(1 if said is None else int(said))
        return Item(
            id=price.id, price=price, quantity=quantity, discounts=self.coupons(entry.get("discounts") or (), billed_to),
            tax_rates=self.rates(entry.get("tax_rates")),
        )  # fmt: skip


def _coupon_id(discount: Any) -> str:
    if not isinstance(discount, Mapping):
        return ""
    return _id(discount.get("coupon") or (discount.get("source") or {}).get("coupon"))


def _decimal(exact: Any, whole: Any, currency: str) -> Decimal:
    """Return an amount in our minor units; Stripe gives parts of one in a field of its own."""
    return minor_price(Decimal(str(exact if exact is not None else whole or 0)), currency)


# ---------------------------------------------------------------- the whole


def _refusals(subscription: Data) -> list[str]:
    """Return what of a subscription has no counterpart here."""
    found = []
    if subscription.get("pause_collection"):
        found.append("Its collection is paused; resume it first.")
    if subscription.get("billing_schedules"):
        found.append("It is billed ahead by billing schedules; link it when they are used up.")
    if subscription.get("billing_thresholds"):
        found.append("It is billed by a threshold, which contracts do not have.")
    if subscription.get("pending_update"):
        found.append("A change of it waits for a payment; settle that first.")
    if any(i.get("current_trial") for i in subscription["items"]["data"]):
        found.append("An item of it is in a paid trial; link it when that is over.")
    return found


def understood(subscription: Data, schedule: Data | None, seen: Seen, *, account: str, timezone: str, settings: Settings) -> Understood:
    """Return a subscription in our terms, for the CRM's *account*; *schedule*: its own, where it has one that is active."""
    reader = _Reader(subscription, seen)
    reader.problems += _refusals(subscription)
    entries = list(subscription["items"]["data"])
    shortest = min((int(e["current_period_end"]) for e in entries), default=int(subscription["start_date"]))
    is_trialing = subscription["status"] == "trialing"
    start = _midnight(int(subscription["start_date"]))
    billed_to = start if is_trialing else _midnight(shortest)
    items = [reader.item(e, billed_to) for e in entries]
    if len({i.id for i in items}) < len(items):
        reader.problems.append("A price stands in it twice.")
    phases = _phases(reader, schedule, start, items, billed_to) or (Phase(start=start, end=_end(subscription), items=tuple(items)),)
    trial_end = subscription.get("trial_end")
    terms = ContractTerms(
        currency=reader.currency, timezone=timezone, settings=settings, start=start, phases=phases,
        anchor=_midnight(int(subscription["billing_cycle_anchor"])), collection_method=subscription["collection_method"],
        days_until_due=int(subscription.get("days_until_due") or 0), discounts=reader.coupons(subscription.get("discounts") or (), billed_to),
        tax_rates=reader.rates(subscription.get("default_tax_rates")),
        end_behavior="cancel" if phases[-1].end is not None and _is_ending(subscription, schedule) else "release",
        trial_end=_midnight(int(trial_end)) if trial_end and int(trial_end) > int(subscription["start_date"]) else None,
    )  # fmt: skip
    through = _through(reader, terms, entries, items, is_trialing=is_trialing)
    if not reader.problems:
        terms = with_months_left(terms, through)
        reader.problems += _impossible(terms, through)
    if reader.problems:
        return Understood(entry=None, problems=tuple(dict.fromkeys(reader.problems)))
    metadata = subscription.get("metadata") or {}
    deal = next((str(metadata[n]) for n in _DEALS if _DEAL.fullmatch(str(metadata.get(n) or ""))), "")
    entry = {
        "id": subscription["id"], "deal": deal, "label": str(subscription.get("description") or f"Stripe {subscription['id']}"), "account": account,
        "customer": None, "terms": terms_to_data(terms), "billed_through": through_to_data(through) if through.last is not None else None,
        "how": {"collection_method": terms.collection_method, "days_until_due": terms.days_until_due, "po_number": "", "memo": ""},
    }  # fmt: skip
    prices = tuple((i.id, str(e["price"]["id"]), str(e["id"])) for i, e in zip(items, entries, strict=True))
    return Understood(entry=entry, notes=tuple(reader.notes), prices=prices)


def _impossible(terms: ContractTerms, through: BilledThrough) -> list[str]:
    contract = Contract(id="imported", terms=terms)
    found = problems(contract) or tuple(through_problems(contract, through))
    return [f"{p.message} {p.hint}".strip() for p in found]


def _end(subscription: Data) -> datetime | None:
    ends = subscription.get("cancel_at")
    return _midnight(int(ends)) if ends else None


def _is_ending(subscription: Data, schedule: Data | None) -> bool:
    return bool(subscription.get("cancel_at")) or (schedule is not None and schedule.get("end_behavior") == "cancel")


def _phases(reader: _Reader, schedule: Data | None, start: datetime, items: Sequence[Item], billed_to: datetime) -> tuple[Phase, ...]:
    """Return the running and the coming phases of a schedule, the running one as far back as the contract goes; none without one."""
    if schedule is None or schedule.get("status") != "active":
        return ()
    now = int((schedule.get("current_phase") or {}).get("start_date") or 0)
    if at_time(now) != at_time(int(reader.subscription["billing_cycle_anchor"])):
        reader.problems.append("Its schedule's phase and its periods begin at different times of the day.")
    running = [p for p in schedule["phases"] if int(p["start_date"]) >= now]
    found: list[Phase] = []
    for number, phase in enumerate(running):
        is_last = number == len(running) - 1
        end = _midnight(int(phase["end_date"])) if not is_last or schedule.get("end_behavior") == "cancel" else _end(reader.subscription)
        if number and phase.get("trial_end"):
            reader.problems.append(f"A coming phase of its schedule, from {day(int(phase['start_date']))} on, is a trial.")
        if number and phase.get("billing_cycle_anchor") == "phase_start":
            reader.problems.append(f"Its schedule moves the billing day on {day(int(phase['start_date']))}.")
        if phase.get("add_invoice_items") and number:
            reader.problems.append(f"Its schedule bills something once on {day(int(phase['start_date']))}.")
        own = tuple(items) if not number else tuple(reader.item(_whole(e, reader), billed_to) for e in phase["items"])
        discounts = phase.get("discounts") or ()
        found.append(
            Phase(
                start=start if not number else _midnight(int(phase["start_date"])), end=end, items=own,
                discounts=reader.coupons(discounts, billed_to) if number and discounts else None,
                proration_behavior=phase.get("proration_behavior") if number else None,
            )
        )  # fmt: skip
    return tuple(found)


def _whole(entry: Data, reader: _Reader) -> Data:
    """Return a phase's item with its whole price, as far as it is known."""
    price = entry["price"]
    if isinstance(price, Mapping):
        return entry
    known = {str(e["price"]["id"]): e["price"] for e in reader.subscription["items"]["data"]} | dict(reader.seen.tiered)
    if str(price) not in known:
        reader.problems.append(f"The price {price} of a coming phase cannot be read.")
    return {**entry, "price": known.get(str(price), {"id": price, "currency": reader.currency, "recurring": {"interval": "month"}})}


def _through(reader: _Reader, terms: ContractTerms, entries: Sequence[Data], items: Sequence[Item], *, is_trialing: bool) -> BilledThrough:
    """Return how far each item is billed: to the end of its period, or of the one before where it is billed behind."""
    if is_trialing:
        return BilledThrough(at=None)
    anchor = terms.anchor or terms.start
    found: list[tuple[str, datetime]] = []
    for entry, item in zip(entries, items, strict=True):
        is_late = item.price.timing == "in_arrears"
        at = _midnight(int(entry["current_period_start" if is_late else "current_period_end"]))
        if item.price.interval is not None and not is_boundary(anchor, item.price.interval, at) and at != _end(reader.subscription) and at > terms.start:
            reader.problems.append(f"The periods of {item.price.description or item.id} do not begin on the subscription's billing day.")
        if at > terms.start:
            found.append((item.id, at))
    if not found:
        return BilledThrough(at=None, months_left=tuple(reader.left.items()))
    ends = [at for _, at in found]
    common = max(set(ends), key=ends.count)
    has_all = len(found) == len(items)
    return BilledThrough(
        at=common if has_all else None, items=tuple((i, at) for i, at in found if not has_all or at != common),
        amounts=_amounts(reader, entries, items, dict(found)), months_left=tuple(reader.left.items()),
    )  # fmt: skip


def _amounts(reader: _Reader, entries: Sequence[Data], items: Sequence[Item], billed: Mapping[str, datetime]) -> tuple[tuple[str, int], ...]:
    """Return what the running period of an item was really billed at, net of discounts, where its latest invoice says it."""
    invoice = reader.subscription.get("latest_invoice")
    if not isinstance(invoice, Mapping):
        return ()
    found: list[tuple[str, int]] = []
    for entry, item in zip(entries, items, strict=True):
        lines = [n for n in (invoice.get("lines") or {}).get("data") or () if _is_whole_of(n, entry)]
        if item.id in billed and item.price.usage_type == "licensed" and len(lines) == 1:
            net = int(lines[0]["amount"]) - sum(int(d["amount"]) for d in lines[0].get("discount_amounts") or ())
            amount = minor_amount(net, reader.currency)
            if amount >= 0:
                found.append((item.id, amount))
    return tuple(found)


def _is_whole_of(line: Data, entry: Data) -> bool:
    """Whether a line is the charge of an item's running period, not a part of one."""
    parent = (line.get("parent") or {}).get("subscription_item_details") or {}
    period = line.get("period") or {}
    return (
        parent.get("subscription_item") == entry["id"] and not parent.get("proration")
        and period.get("start") == entry["current_period_start"] and period.get("end") == entry["current_period_end"]
    )  # fmt: skip
