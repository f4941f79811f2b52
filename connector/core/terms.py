"""What is agreed: prices, items, phases, contract terms and the changes made to them later. The only class family for it.

The scenario loader, the mapping and the store all build these values; every amount is in minor units (decision D-12) and
every date and time is a naive local one in the contract's `timezone` (decision D-11). A period is half-open.

Worked example: 10 seats at 30.00 EUR a month for a year are
`ContractTerms(currency="eur", start=2026-01-01, phases=(Phase(end=2027-01-01, items=(Item(id="seat", price=..., quantity=10),)),),
end_behavior="cancel", ...)`; adding 5 seats on 16 April is `Change(kind="amend", effective=2026-04-16,
items=(ItemChange(op="delta", item=Item(... quantity=5)),))`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

IntervalUnit = Literal["day", "week", "month", "year"]
Timing = Literal["in_advance", "in_arrears"]
UsageType = Literal["licensed", "metered"]
ProrationBehavior = Literal["create_prorations", "always_invoice", "none"]
EndBehavior = Literal["release", "cancel", "renew"]
CollectionMethod = Literal["charge_automatically", "send_invoice"]
ProrationBasis = Literal["day", "second", "month_and_day"]
ChangeKind = Literal["amend", "renew", "cancel", "pause", "resume"]
CancelWhen = Literal["at", "period_end", "term_end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A length of time by the calendar, such as 3 months."""

    unit: IntervalUnit
    count: int = 1


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
    100.00 a year billed monthly is per=year, interval=month, and bills 12 x 8.33. product - the product's code.
    """

    id: str
    product: str = ""
    description: str = ""
    unit_amount: Decimal | None = None
    interval: Interval | None = None
    per: Interval | None = None
    timing: Timing = "in_advance"
    usage_type: UsageType = "licensed"
    tiers_mode: Literal["graduated", "volume"] | None = None
    tiers: tuple[Tier, ...] = ()
    divide_by: int | None = None
    divide_round: Literal["up", "down"] = "up"
    tax_behavior: Literal["exclusive", "inclusive"] = "exclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """A discount, in percent (0 to 100) or as an amount in minor units; exactly one of the two."""

    id: str
    percent_off: Decimal | None = None
    amount_off: int | None = None
    duration: Literal["once", "repeating", "forever"] = "forever"
    duration_in_months: int | None = None
    applies_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRate:
    """A rate in percent with up to 4 decimals, in the price (inclusive) or on top of it."""

    id: str
    percentage: Decimal
    inclusive: bool = False


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
    billing_behavior: Literal["prorate_on_next_phase", "prorate_up_front"] = "prorate_on_next_phase"
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
    equal item (D-03) grows or shrinks; *item_id* decides where several fit.
    """

    op: Literal["add", "set", "remove", "delta"]
    item: Item | None = None
    item_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that happened to a contract after it was made; contract = root terms + changes by (effective, made_at, id).

    id - the CRM deal or intent that caused it. cancel: *when* at|period_end|term_end, *prorate* credits unused time,
    *invoice_now* bills it at once, else the credit waits for the next invoice or the balance; *item_ids* limits it to some
    items. renew: *phases* empty = the same terms again for *duration* (None: the same length), raised by uplift_percent.
    """

    id: str
    kind: ChangeKind
    effective: datetime
    made_at: datetime
    items: tuple[ItemChange, ...] = ()
    one_time: tuple[Item, ...] = ()
    until: datetime | None = None
    proration_behavior: ProrationBehavior = "create_prorations"
    discounts_add: tuple[Coupon, ...] = ()
    discounts_remove: tuple[str, ...] = ()
    discounts_set: tuple[Coupon, ...] | None = None
    billing_cycle_anchor: Literal["unchanged", "now"] | datetime = "unchanged"
    new_end: datetime | None = None
    when: CancelWhen = "at"
    prorate: bool = False
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Root terms and the changes made since, ordered by (effective, made_at, id) (decision D-02)."""

    id: str
    terms: ContractTerms
    changes: tuple[Change, ...] = ()
    customer_id: str = ""
    withdrawn: bool = field(default=False)
