"""What is agreed: prices, items, phases, contract terms and the changes made to them later. The only class family for it.

The scenario loader, the mapping and the store all build these values; every amount is in minor units (decision D-12) and
every date and time is a naive local one in the contract's `timezone` (decision D-11); `made_at` and `entered_at` may also be
aware UTC, and core converts them. A period is half-open.

Worked example: 10 seats at 30.00 EUR a month for a year are
`ContractTerms(currency="eur", start=2026-01-01, phases=(Phase(end=2027-01-01, items=(Item(id="seat", price=..., quantity=10),)),),
end_behavior="cancel", ...)`; adding 5 seats on 16 April is `Change(kind="amend", effective=2026-04-16,
items=(ItemChange(op="delta", item=Item(... quantity=5)),))`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, field
from dataclasses import fields as dataclass_fields
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

from connector.core.period import Interval as Interval  # noqa: PLC0414 - part of this vocabulary, for everybody
from connector.core.period import IntervalUnit
from connector.core.values import dataclass

Timing = Literal["in_advance", "in_arrears"]
UsageType = Literal["licensed", "metered"]
ProrationBehavior = Literal["create_prorations", "always_invoice", "none"]
BillingBehavior = Literal["prorate_on_next_phase", "prorate_up_front"]
EndBehavior = Literal["release", "cancel", "renew"]
CollectionMethod = Literal["charge_automatically", "send_invoice"]
ProrationBasis = Literal["day", "second", "month_and_day"]
ChangeKind = Literal["amend", "renew", "cancel", "pause", "resume"]
CancelWhen = Literal["at", "period_end", "term_end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One step of a tiered price; *up_to* None means without end."""

    up_to: Decimal | None
    unit_amount: Decimal = Decimal(0)
    flat_amount: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one unit costs, in minor units (up to 12 decimal places).

    interval - None: one-time. per - the length of time that *unit_amount* is for, where it is not the interval (D-33):
    100.00 a year billed monthly is per=year, interval=month, and bills 12 x 8.33. per_parts - the amount is for one of so many equal
    parts of *per*: 105.48 for 10 months and 17 of 31 days is for 1/31 of 327 months. product - the product's code. A price without
    amount and tiers is only named: the books put the catalogue's price of that id in its place (decision D-121).
    """

    id: str
    product: str = ""
    description: str = ""
    unit_amount: Decimal | None = None
    interval: Interval | None = None
    per: Interval | None = None
    per_parts: int = 1
    timing: Timing = "in_advance"
    usage_type: UsageType = "licensed"
    tiers_mode: Literal["graduated", "volume"] | None = None
    tiers: tuple[Tier, ...] = ()
    divide_by: int | None = None
    divide_round: Literal["up", "down"] = "up"
    tax_behavior: Literal["exclusive", "inclusive"] = "exclusive"

    @property
    def is_named(self) -> bool:
        """Whether only its id is known yet, and what a line says of it."""
        return self.unit_amount is None and not self.tiers


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """A discount, in percent (0 to 100) or as an amount in minor units; exactly one of the two.

    One with neither is only named: the books put the coupon of that code in its place (decision D-121).
    """

    id: str
    percent_off: Decimal | None = None
    amount_off: int | None = None
    duration: Literal["once", "repeating", "forever"] = "forever"
    duration_in_months: int | None = None
    applies_to: tuple[str, ...] = ()

    @property
    def is_named(self) -> bool:
        """Whether only its code is known yet."""
        return self.percent_off is None and self.amount_off is None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRate:
    """A rate in percent with up to 4 decimals, in the price (inclusive) or on top of it."""

    id: str
    percentage: Decimal
    inclusive: bool = False


DatedRates = tuple[tuple[date, tuple[TaxRate, ...]], ...]
"""The rates of an account and the day from which each set of them holds, oldest first; empty: the account has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidTrial:
    """The first *periods* periods of an item at another price."""

    price: Price
    periods: int
    billing_cycle_anchor: Literal["now", "unchanged"] = "now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A quantity of a price, running from *start* to *end* inside its phase (None: the phase's own).

    id - unique in the contract; a scenario's default is its price's id. crm_lines - the CRM line ids it stems from.
    An *end* is known when a line is made, and cuts it (billing.md section 1: like a contract's end).
    """

    id: str
    price: Price
    quantity: Decimal | None = Decimal(1)
    start: datetime | None = None
    end: datetime | None = None
    discounts: tuple[Coupon, ...] = ()
    tax_rates: tuple[TaxRate, ...] = ()
    trial: PaidTrial | None = None
    crm_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of the contract with its own items; *end* None: open-ended. Phases follow each other without gap."""

    start: datetime
    end: datetime | None = None
    items: tuple[Item, ...] = ()
    add_invoice_items: tuple[Item, ...] = ()
    discounts: tuple[Coupon, ...] | None = None
    trial: bool = False
    proration_behavior: ProrationBehavior | None = None
    billing_cycle_anchor: Literal["automatic", "phase_start"] = "automatic"
    billing_behavior: BillingBehavior = "prorate_on_next_phase"
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings that shape money, copied into a contract when it is made (deals.md section 8)."""

    proration: ProrationBasis
    tax_rounding: Literal["line", "invoice"]
    cancellation_day: Literal["free", "billed"] = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """How a term that ends is renewed: prices raised by *uplift_percent* each time, rounded to the price's minor unit."""

    uplift_percent: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prebill:
    """Bill ahead: *periods* periods from the current one, or until an instant; *prices* limits it to some items."""

    periods: int | None = None
    until: datetime | None = None
    prices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractTerms:
    """What a customer signed: the root of a contract, before any change.

    anchor - a naive local instant every billing period is counted from; None: the start. entered_at - when it became
    known to us; later than start = backdated. discounts - in order of application.
    """

    currency: str
    timezone: str
    settings: Settings
    start: datetime
    phases: tuple[Phase, ...]
    entered_at: datetime | None = None
    anchor: datetime | None = None
    collection_method: CollectionMethod = "charge_automatically"
    days_until_due: int = 0
    discounts: tuple[Coupon, ...] = ()
    tax_rates: tuple[TaxRate, ...] = ()
    proration_behavior: ProrationBehavior = "create_prorations"
    end_behavior: EndBehavior = "release"
    renewal: Renewal = Renewal()
    trial_end: datetime | None = None
    trial_missing_payment: Literal["cancel", "pause", "create_invoice"] = "create_invoice"
    prebill: Prebill | None = None
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemChange:
    """One step of an amendment, in order.

    add - a new item beside the others (grows the item of the same id). set - *item* as it shall be, in place of the item
    *item_id* (or *replaces*). remove - ends the item *item_id*. delta - the change in quantity as a CRM line carries it: the
    equal item (D-03) grows or shrinks; *item_id* decides where several fit. reprice - what runs at the price (or product) *item_id*
    goes on at *item*'s price (of an amendment *when* term_end: as it is renewed). keeps_interval - nobody said how often it is
    billed: as the running item that it changes, where the product runs in one interval only. revises - the CRM line whose item this delta
    changes, at that item's price. prior - how many of it ran when the change was agreed; another number by now is a surprise.
    """

    op: Literal["add", "set", "remove", "delta", "reprice"]
    item: Item | None = None
    item_id: str | None = None
    keeps_interval: bool = False
    revises: str | None = None
    prior: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that happened to a contract after it was made; contract = root terms + changes by (effective, made_at, id).

    id - the CRM deal or intent that caused it. cancel: *when* at|period_end|term_end, *prorate* credits unused time (None: not
    said, which is refused inside a period),
    *invoice_now* bills it at once, else the credit waits for the next invoice or the balance; *item_ids* limits it to some
    items. renew: *phases* empty = the same terms again for *duration* (None: the same length), raised by uplift_percent; given,
    they are moved to where the term begins. *when* term_end: from the end of the term, also when made after it, so that there
    is no hole; at: from *effective*, at least from the end of the term. billing_behavior - prorate_up_front: an amendment made
    before its period is billed is charged and credited on that period's invoice. is_delta_order - an amendment as Salesforce CPQ makes
    them: what it adds ends with the term unless it ends before, and one that leaves nothing running ends the contract (decision D-174).
    """

    id: str
    kind: ChangeKind
    effective: datetime
    made_at: datetime
    items: tuple[ItemChange, ...] = ()
    one_time: tuple[Item, ...] = ()
    until: datetime | None = None
    proration_behavior: ProrationBehavior = "create_prorations"
    billing_behavior: BillingBehavior = "prorate_on_next_phase"
    discounts_add: tuple[Coupon, ...] = ()
    discounts_remove: tuple[str, ...] = ()
    discounts_set: tuple[Coupon, ...] | None = None
    billing_cycle_anchor: Literal["unchanged", "now"] | datetime = "unchanged"
    new_end: datetime | None = None
    when: CancelWhen = "at"
    prorate: bool | None = False
    invoice_now: bool = False
    item_ids: tuple[str, ...] = ()
    phases: tuple[Phase, ...] = ()
    duration: Interval | None = None
    uplift_percent: Decimal = Decimal(0)
    end_behavior: EndBehavior | None = None
    prebill: Prebill | None = None
    trial_end: datetime | None = None
    pause_behavior: Literal["keep_as_draft", "mark_uncollectible", "void", "credit"] = "credit"
    metadata: tuple[tuple[str, str], ...] = ()
    is_delta_order: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Root terms and the changes made since, ordered by (effective, made_at, id) (decision D-02)."""

    id: str
    terms: ContractTerms
    changes: tuple[Change, ...] = ()
    customer_id: str = ""
    withdrawn: bool = field(default=False)


# ---------------------------------------------------------------- as data, for the store and for comparing
# The vocabulary is that of a scenario's `contract:` and `actions:`; what has its default is left out, and prices, coupons
# and tax rates stand once and are referred to by name. Same terms, same data, in one canonical order of keys.

DATA_VERSION = 1
_Data = dict[str, Any]
_Codec = tuple[Callable[[Any, "_Names"], Any], Callable[[Any, "_Names"], Any]]


class _Names:
    """The prices, coupons and tax rates of one document, each by a name; two that differ under one id get a suffix."""

    __slots__ = ("coupons", "prices", "tax_rates")

    def __init__(self) -> None:
        self.prices: dict[str, Any] = {}
        self.coupons: dict[str, Any] = {}
        self.tax_rates: dict[str, Any] = {}


def _day(at: datetime, _: _Names) -> str:
    text = at.isoformat()
    return text[:10] if text.endswith("T00:00:00") else text


def _named(kind: str) -> _Codec:
    def encode(value: Any, names: _Names) -> str:
        known = getattr(names, kind)
        name: str = value.id
        number = 1
        while known.setdefault(name, value) != value:
            number += 1
            name = f"{value.id}~{number}"
        return name

    def decode(name: str, names: _Names) -> Any:
        return getattr(names, kind)[name]

    return encode, decode


def _same(value: Any, _: _Names) -> Any:
    return value


def _many(codec: _Codec) -> _Codec:
    encode, decode = codec
    return (lambda v, n: [encode(x, n) for x in v]), (lambda v, n: tuple([decode(x, n) for x in v]))


@lru_cache(maxsize=64)
def _interval(unit: IntervalUnit, count: int) -> Interval:
    return Interval(unit=unit, count=count)


_PLAIN: _Codec = (_same, _same)
_NUMBER: _Codec = ((lambda v, _: str(v)), (lambda v, _: Decimal(v)))
_TIME: _Codec = (_day, lambda v, _: datetime.fromisoformat(v))
_TEXTS: _Codec = ((lambda v, _: list(v)), (lambda v, _: tuple(v)))
_PAIRS: _Codec = ((lambda v, _: dict(v)), (lambda v, _: tuple(v.items())))
_SPAN: _Codec = (
    (lambda v, _: {"interval": v.unit, "interval_count": v.count}),
    (lambda v, _: _interval(v["interval"], v["interval_count"])),
)
_ANCHOR: _Codec = (
    (lambda v, n: _day(v, n) if isinstance(v, datetime) else v),
    (lambda v, _: v if v in ("unchanged", "now") else datetime.fromisoformat(v)),
)
_COUPONS = _many(_named("coupons"))
_RATES = _many(_named("tax_rates"))


def _codec_of(cls: type, fields: Mapping[str, _Codec]) -> _Codec:
    """Return the codec of a dataclass: the named fields in their order, each left out where it has its default."""
    missing = object()
    rows = tuple(
        (f.name, f.default if f.default is not MISSING else missing, *fields[f.name]) for f in dataclass_fields(cls)
    )
    readers = {name: decode for name, _, _, decode in rows if decode is not _same}  # plain values are as they stand

    def encode(value: Any, names: _Names) -> _Data:
        out = {}
        for name, default, write, _ in rows:
            found = getattr(value, name)
            if found is not default and found != default:
                out[name] = None if found is None else write(found, names)
        return out

    def decode(data: _Data, names: _Names) -> Any:
        given = data.copy()
        for key, value in data.items():
            if value is not None and (read := readers.get(key)) is not None:
                given[key] = read(value, names)
        return cls(**given)

    return encode, decode


_TIER = _codec_of(Tier, {"up_to": _NUMBER, "unit_amount": _NUMBER, "flat_amount": _NUMBER})
_PRICE = _codec_of(
    Price,
    dict.fromkeys(
        ("id", "product", "description", "per_parts", "timing", "usage_type", "tiers_mode", "divide_by", "divide_round", "tax_behavior"), _PLAIN
    )
    | {"unit_amount": _NUMBER, "interval": _SPAN, "per": _SPAN, "tiers": _many(_TIER)},
)
_COUPON = _codec_of(
    Coupon,
    dict.fromkeys(("id", "amount_off", "duration", "duration_in_months"), _PLAIN)
    | {"percent_off": _NUMBER, "applies_to": _TEXTS},
)
_RATE = _codec_of(TaxRate, {"id": _PLAIN, "percentage": _NUMBER, "inclusive": _PLAIN})
_TRIAL = _codec_of(PaidTrial, {"price": _named("prices"), "periods": _PLAIN, "billing_cycle_anchor": _PLAIN})
_ITEM = _codec_of(
    Item,
    {
        "id": _PLAIN, "price": _named("prices"), "quantity": _NUMBER, "start": _TIME, "end": _TIME, "discounts": _COUPONS,
        "tax_rates": _RATES, "trial": _TRIAL, "crm_lines": _TEXTS,
    },
)  # fmt: skip
_PHASE = _codec_of(
    Phase,
    dict.fromkeys(("trial", "proration_behavior", "billing_cycle_anchor", "billing_behavior"), _PLAIN)
    | {
        "start": _TIME,
        "end": _TIME,
        "items": _many(_ITEM),
        "add_invoice_items": _many(_ITEM),
        "discounts": _COUPONS,
        "metadata": _PAIRS,
    },
)
_SETTINGS = _codec_of(Settings, dict.fromkeys(("proration", "tax_rounding", "cancellation_day"), _PLAIN))
_RENEWAL = _codec_of(Renewal, {"uplift_percent": _NUMBER})
_PREBILL = _codec_of(Prebill, {"periods": _PLAIN, "until": _TIME, "prices": _TEXTS})
_TERMS = _codec_of(
    ContractTerms,
    dict.fromkeys(
        ("currency", "timezone", "collection_method", "days_until_due", "proration_behavior", "end_behavior", "trial_missing_payment"), _PLAIN
    )
    | {
        "settings": _SETTINGS, "start": _TIME, "phases": _many(_PHASE), "entered_at": _TIME, "anchor": _TIME, "discounts": _COUPONS,
        "tax_rates": _RATES, "renewal": _RENEWAL, "trial_end": _TIME, "prebill": _PREBILL, "metadata": _PAIRS,
    },
)  # fmt: skip
_STEP = _codec_of(ItemChange, {"op": _PLAIN, "item": _ITEM, "item_id": _PLAIN, "keeps_interval": _PLAIN, "revises": _PLAIN, "prior": _NUMBER})
_CHANGE = _codec_of(
    Change,
    dict.fromkeys(
        ("id", "kind", "proration_behavior", "billing_behavior", "when", "prorate", "invoice_now", "end_behavior", "pause_behavior", "is_delta_order"), _PLAIN
    )
    | {
        "effective": _TIME, "made_at": _TIME, "items": _many(_STEP), "one_time": _many(_ITEM), "until": _TIME, "discounts_add": _COUPONS,
        "discounts_remove": _TEXTS, "discounts_set": _COUPONS, "billing_cycle_anchor": _ANCHOR, "new_end": _TIME, "item_ids": _TEXTS,
        "phases": _many(_PHASE), "duration": _SPAN, "uplift_percent": _NUMBER, "prebill": _PREBILL, "trial_end": _TIME, "metadata": _PAIRS,
    },
)  # fmt: skip

_LISTS = (("prices", _PRICE), ("coupons", _COUPON), ("tax_rates", _RATE))


def _to_data(value: Any, codec: _Codec) -> _Data:
    names = _Names()
    body = codec[0](value, names)
    out: _Data = {"v": DATA_VERSION}
    for kind, each in _LISTS:
        named = getattr(names, kind)
        if named:
            out[kind] = {name: each[0](v, names) for name, v in named.items()}
    out["body"] = body
    return out


def _from_data(data: _Data, codec: _Codec) -> Any:
    if data.get("v") != DATA_VERSION:
        raise ValueError(f"terms were written in version {data.get('v')!r}, this program reads {DATA_VERSION}")
    names = _Names()
    for kind, each in _LISTS:
        if kind in data:
            decode = each[1]
            setattr(names, kind, {name: decode(v, names) if type(v) is dict else v for name, v in data[kind].items()})
    return codec[1](data["body"], names)


def terms_to_data(terms: ContractTerms) -> _Data:
    """Return terms as a JSON-able dict, canonical: equal terms give equal data."""
    return _to_data(terms, _TERMS)


def price_from_data(data: _Data) -> Price:
    """Return one of the `prices` that `terms_to_data` wrote."""
    found: Price = _PRICE[1](data, _Names())
    return found


def terms_from_data(data: _Data) -> ContractTerms:
    """Return the terms that `terms_to_data` wrote, whose prices may be read already; ValueError for another version."""
    found: ContractTerms = _from_data(data, _TERMS)
    return found


def change_to_data(change: Change) -> _Data:
    """Return a change as a JSON-able dict, canonical: equal changes give equal data."""
    return _to_data(change, _CHANGE)


def change_from_data(data: _Data) -> Change:
    """Return the change that `change_to_data` wrote; ValueError for another version."""
    found: Change = _from_data(data, _CHANGE)
    return found
