"""A scenario file as people write it, read into terms, changes and actions; every problem is collected with its place.

The vocabulary is Stripe's where Stripe has a word. Amounts are in minor units (an integer, or a decimal in quotes below a
cent). A date means midnight in the scenario's `timezone`, an instant is ISO 8601 with offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connector.core.invoicing import Usage
from connector.core.lines import Given
from connector.core.period import Interval, anchor_on, boundary
from connector.core.settlement import CustomerState
from connector.core.terms import (
    Change,
    ContractTerms,
    Coupon,
    Item,
    PaidTrial,
    Phase,
    Prebill,
    Price,
    Renewal,
    Settings,
    TaxRate,
    Tier,
    Timing,
    UsageType,
)  # fmt: skip
from connector.simulate.values import Path, Values, name_of, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """An action on an invoice, the balance or the quote."""

    do: str
    at: datetime
    path: Path
    invoice: int = 0
    amount: int | None = None
    lines: tuple[tuple[int, int | None, Decimal | None], ...] = ()
    paid_back: Mapping[str, int] = field(default_factory=dict)
    terms: ContractTerms | None = None
    change: Change | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a file says: the contract or quote, what happens to it, and how long the clock runs (naive local times).

    is_change - the quote offers a change of the contract, which runs already.
    """

    currency: str
    timezone: str
    customer: CustomerState
    terms: ContractTerms
    is_quote: bool
    is_change: bool
    expires_at: datetime | None
    actions: tuple[tuple[datetime, Path, Change | Usage | Settle], ...]
    until: datetime


class Reader(Values):
    """Reads what is sold and agreed; prices, coupons and tax rates are known by name once they are read."""

    def __init__(self, tree: Any) -> None:
        super().__init__(tree)
        self.prices: dict[str, Price] = {}
        self.coupons: dict[str, Coupon] = {}
        self.rates: dict[str, TaxRate] = {}

    # ------------------------------------------------------------------ what is sold

    def read_price(self, name: str, value: Any, path: Path) -> Price:
        """Return one price."""
        keys = ("unit_amount", "currency", "recurring", "tiers_mode", "tiers", "transform_quantity", "tax_behavior", "product")
        data = self.mapping(value, path, keys)
        self._same_currency(data, path)
        recurring, interval, per = data.get("recurring"), None, None
        timing: Timing = "in_advance"
        usage: UsageType = "licensed"
        if recurring is not None:
            at = (*path, "recurring")
            interval = self.interval(recurring, at, ("usage_type", "timing", "per"))
            if isinstance(recurring, dict):
                usage = self.word(recurring.get("usage_type"), (*at, "usage_type"), ("licensed", "metered"), "licensed")
                timing = self.word(recurring.get("timing"), (*at, "timing"), ("in_advance", "in_arrears"), "in_advance")
                per = self._per(recurring.get("per"), (*at, "per"))
        divide_by: int | None = None
        divide_round: Literal["up", "down"] = "up"
        if data.get("transform_quantity") is not None:
            at = (*path, "transform_quantity")
            transform = self.mapping(data["transform_quantity"], at, ("divide_by", "round"), ("divide_by",))
            divide_by = self.whole(transform.get("divide_by"), (*at, "divide_by"), 1, low=1)
            divide_round = self.word(transform.get("round"), (*at, "round"), ("up", "down"), "up")
        mode = self.word(data.get("tiers_mode"), (*path, "tiers_mode"), ("graduated", "volume"), "") or None
        tiers = tuple(
            self._tier(t, (*path, "tiers", i)) for i, t in enumerate(self.listed(data.get("tiers"), (*path, "tiers")))
        )
        amount = self.number(data.get("unit_amount"), (*path, "unit_amount"), is_money=True)
        if isinstance(value, dict) and amount is None and not tiers and value.get("unit_amount") is None:
            self.complain("missing-key", path, f"{name_of(path)} needs unit_amount, or tiers_mode and tiers.")
        if bool(mode) != bool(tiers):
            self.complain("missing-key", path, f"{name_of(path)} needs both tiers_mode and tiers.")
            mode, tiers = None, ()
        self._check_tiers(tiers, (*path, "tiers"))
        behavior = self.word(data.get("tax_behavior"), (*path, "tax_behavior"), ("exclusive", "inclusive"), "exclusive")
        return Price(
            id=name, product=str(data.get("product") or ""), description=str(data.get("description") or ""), unit_amount=amount,
            interval=interval, per=per, timing=timing, usage_type=usage, tiers_mode=mode, tiers=tiers, divide_by=divide_by,
            divide_round=divide_round, tax_behavior=behavior,
        )  # fmt: skip

    def _same_currency(self, data: dict[str, Any], path: Path) -> None:
        said, wanted = data.get("currency"), str(self.tree.get("currency") or "")
        if said is not None and str(said).lower() != wanted.lower():
            message = f"{name_of(path)} is in {str(said).upper()}, the contract in {wanted.upper()}."
            self.complain("currency-mix", (*path, "currency"), message, "One contract has one currency.")

    def _per(self, value: Any, path: Path) -> Interval | None:
        if isinstance(value, str):
            return Interval(unit=self.word(value, path, ("day", "week", "month", "year"), "month"))
        return self.interval(value, path)

    def _tier(self, value: Any, path: Path) -> Tier:
        data = self.mapping(value, path, ("up_to", "unit_amount", "flat_amount"), ("up_to",))
        up_to = (
            None
            if str(data.get("up_to")) in ("inf", ".inf", "Infinity")
            else self.number(data.get("up_to"), (*path, "up_to"))
        )
        unit = self.number(
            data.get("unit_amount"), (*path, "unit_amount"), is_money=True, default=Decimal(0)
        ) or Decimal(0)
        flat = self.number(
            data.get("flat_amount"), (*path, "flat_amount"), is_money=True, default=Decimal(0)
        ) or Decimal(0)
        return Tier(up_to=up_to, unit_amount=unit, flat_amount=flat)

    def _check_tiers(self, tiers: tuple[Tier, ...], path: Path) -> None:
        below = Decimal(0)
        for at, tier in enumerate(tiers):
            is_last = at == len(tiers) - 1
            if (tier.up_to is None) != is_last:
                self.complain("tier-order", (*path, at), "The last tier, and only it, is up to inf.")
                return
            if tier.up_to is not None and tier.up_to <= below:
                self.complain(
                    "tier-order",
                    (*path, at),
                    f"A tier up to {tier.up_to} follows one up to {below}.",
                    "List the tiers in rising order.",
                )
                return
            below = tier.up_to or below

    def read_coupon(self, name: str, value: Any, path: Path) -> Coupon:
        """Return one coupon."""
        keys = ("percent_off", "amount_off", "currency", "duration", "duration_in_months", "applies_to")
        data = self.mapping(value, path, keys)
        self._same_currency(data, path)
        percent = self.number(data.get("percent_off"), (*path, "percent_off"))
        amount = (
            None if data.get("amount_off") is None else self.whole(data["amount_off"], (*path, "amount_off"), 0, low=0)
        )
        if (percent is None) == (amount is None):
            self.complain("coupon-kind", path, f"{name_of(path)} needs either percent_off or amount_off.")
            percent, amount = Decimal(0), None
        if percent is not None and not 0 <= percent <= 100:
            self.complain(
                "not-a-percentage", (*path, "percent_off"), f"percent_off is {percent}, but lies between 0 and 100."
            )
            percent = Decimal(0)
        duration = self.word(data.get("duration"), (*path, "duration"), ("once", "repeating", "forever"), "forever")
        months = (
            None
            if data.get("duration_in_months") is None
            else self.whole(data["duration_in_months"], (*path, "duration_in_months"), 1, low=1)
        )
        if (duration == "repeating") != (months is not None):
            self.complain(
                "coupon-duration", path, "duration_in_months goes with duration: repeating, and only with it."
            )
        applies = self.listed(data.get("applies_to"), (*path, "applies_to"))
        return Coupon(
            id=name,
            percent_off=percent,
            amount_off=amount,
            duration=duration,
            duration_in_months=months,
            applies_to=tuple(map(str, applies)),
        )

    def read_rate(self, name: str, value: Any, path: Path) -> TaxRate:
        """Return one tax rate."""
        data = self.mapping(value, path, ("percentage", "inclusive"), ("percentage",))
        percent = self.number(data.get("percentage"), (*path, "percentage"), default=Decimal(0)) or Decimal(0)
        if not 0 <= percent <= 100 or percent != round(percent, 4):
            self.complain(
                "not-a-percentage",
                (*path, "percentage"),
                f"percentage is {percent}, but lies between 0 and 100 with at most 4 decimals.",
            )
        return TaxRate(
            id=name,
            percentage=percent,
            inclusive=self.truth(data.get("inclusive"), (*path, "inclusive"), default=False),
        )

    def catalogue(self, kind: str, read: Callable[[str, Any, Path], Any]) -> dict[str, Any]:
        """Return all entries of one of the lists above the contract, by name."""
        value = self.tree.get(kind)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.complain("wrong-type", (kind,), f"{kind} must be a mapping of names, not {shown(value)}.")
            return {}
        return {str(k): read(str(k), v, (kind, k)) for k, v in value.items()}

    # ------------------------------------------------------------------ items and phases

    def item(self, value: Any, path: Path, *, is_shrinking: bool = False) -> Item | None:
        """Return one item; its id is its price's name unless it says another."""
        keys = ("id", "price", "quantity", "discounts", "tax_rates", "trial", "start", "end")
        data = self.mapping(value, path, keys, ("price",))
        price = (
            self.named(data.get("price"), (*path, "price"), self.prices, "price")
            if data.get("price") is not None
            else None
        )
        if price is None:
            return None
        quantity = self.number(data.get("quantity"), (*path, "quantity"), default=Decimal(1))
        if price.usage_type == "metered":
            if data.get("quantity") is not None:
                self.complain(
                    "metered-quantity",
                    (*path, "quantity"),
                    f"{price.id} is metered and takes no quantity.",
                    "Remove it and record usage.",
                )
            quantity = None
        elif quantity is not None and quantity < 0 and not is_shrinking:
            self.complain(
                "negative-quantity", (*path, "quantity"), f"The quantity is {quantity}.", "A quantity is at least 0."
            )
        return Item(
            id=str(data.get("id") or price.id), price=price, quantity=quantity,
            start=self.instant(data.get("start"), (*path, "start")), end=self.instant(data.get("end"), (*path, "end")),
            discounts=self.all_named(data.get("discounts"), (*path, "discounts"), self.coupons, "coupon"),
            tax_rates=self.all_named(data.get("tax_rates"), (*path, "tax_rates"), self.rates, "tax-rate"),
            trial=self._trial(data.get("trial"), (*path, "trial")),
        )  # fmt: skip

    def _trial(self, value: Any, path: Path) -> PaidTrial | None:
        if value is None:
            return None
        data = self.mapping(value, path, ("price", "periods", "billing_cycle_anchor"), ("price", "periods"))
        price = self.named(data.get("price"), (*path, "price"), self.prices, "price")
        if price is None or price.interval is None:
            if price is not None:
                self.complain(
                    "one-time-price",
                    (*path, "price"),
                    f"{price.id} is charged once and has no periods.",
                    "Name a recurring price.",
                )
            return None
        anchor = self.word(
            data.get("billing_cycle_anchor"), (*path, "billing_cycle_anchor"), ("now", "unchanged"), "now"
        )
        return PaidTrial(
            price=price,
            periods=self.whole(data.get("periods"), (*path, "periods"), 1, low=1),
            billing_cycle_anchor=anchor,
        )

    def items(self, value: Any, path: Path, *, is_one_time: bool = False) -> tuple[Item, ...]:
        """Return a list of items whose ids differ."""
        found: dict[str, Item] = {}
        for at, entry in enumerate(self.listed(value, path)):
            item = self.item(entry, (*path, at))
            if item is None:
                continue
            if is_one_time and item.price.interval is not None:
                self.complain(
                    "recurring-price", (*path, at, "price"), f"{item.price.id} recurs.", "Put it under items."
                )
            elif item.id in found and not is_one_time:
                self.complain(
                    "duplicate-item",
                    (*path, at),
                    f"The item {item.id!r} stands twice.",
                    "Give each its own id, or add up the quantities.",
                )
            found[item.id if item.id not in found else f"{item.id} {at}"] = (
                item if item.id not in found else replace(item, id=f"{item.id}-{at + 1}")
            )
        return tuple(found.values())

    def phases(self, value: Any, path: Path, start: datetime) -> tuple[Phase, ...]:
        """Return phases that follow each other from *start*."""
        entries, begin, out = self.listed(value, path), start, list[Phase]()
        keys = (
            "start", "duration", "end", "items", "add_invoice_items", "discounts", "trial", "proration_behavior", "billing_cycle_anchor",
            "billing_behavior", "metadata",
        )  # fmt: skip
        if not entries:
            self.complain("missing-key", path, "A contract needs at least one phase.")
        for at, entry in enumerate(entries):
            here = (*path, at)
            data = self.mapping(entry, here, keys, ())
            said = self.instant(data.get("start"), (*here, "start"))
            if said is not None and said != begin:
                self.complain(
                    "phase-gap",
                    (*here, "start"),
                    f"The phase starts on {said.date()}, the one before ends on {begin.date()}.",
                    "Leave start out.",
                )
            end = self._phase_end(data, here, begin)
            if end is None and at < len(entries) - 1:
                self.complain(
                    "phase-without-end", here, "Only the last phase may be open-ended.", "Give it a duration or an end."
                )
            elif end is not None and end <= begin:
                self.complain(
                    "phase-end", (*here, "end"), f"The phase ends on {end.date()}, but starts on {begin.date()}."
                )
            out.append(self._phase(data, here, begin, end))
            begin = end or begin
        return tuple(out)

    def _phase_end(self, data: dict[str, Any], path: Path, start: datetime) -> datetime | None:
        if data.get("duration") is not None and data.get("end") is not None:
            self.complain("phase-end", (*path, "end"), "A phase has a duration or an end, not both.")
        length = self.interval(data.get("duration"), (*path, "duration"))
        return boundary(start, length, 1) if length is not None else self.instant(data.get("end"), (*path, "end"))

    def _phase(self, data: dict[str, Any], path: Path, start: datetime, end: datetime | None) -> Phase:
        discounts = None
        if data.get("discounts") is not None:
            discounts = self.all_named(data["discounts"], (*path, "discounts"), self.coupons, "coupon")
        behavior = data.get("proration_behavior")
        return Phase(
            start=start, end=end, items=self.items(data.get("items"), (*path, "items")),
            add_invoice_items=self.items(data.get("add_invoice_items"), (*path, "add_invoice_items"), is_one_time=True),
            discounts=discounts, trial=self.truth(data.get("trial"), (*path, "trial"), default=False),
            proration_behavior=None if behavior is None else self.behavior(behavior, (*path, "proration_behavior")),
            billing_cycle_anchor=self.word(data.get("billing_cycle_anchor"), (*path, "billing_cycle_anchor"), ("automatic", "phase_start"), "automatic"),
            billing_behavior=self.word(
                data.get("billing_behavior"), (*path, "billing_behavior"), ("prorate_on_next_phase", "prorate_up_front"), "prorate_on_next_phase"
            ),
            metadata=self.metadata(data.get("metadata"), (*path, "metadata")),
        )  # fmt: skip

    def behavior(self, value: Any, path: Path) -> Any:
        """Return a proration behavior."""
        return self.word(value, path, ("create_prorations", "always_invoice", "none"), "create_prorations")

    def metadata(self, value: Any, path: Path) -> tuple[tuple[str, str], ...]:
        """Return metadata as pairs."""
        if value is None:
            return ()
        if not isinstance(value, dict):
            self.complain("wrong-type", path, f"{name_of(path)} must be a mapping, not {shown(value)}.")
            return ()
        return tuple((str(k), str(v)) for k, v in value.items())

    # ------------------------------------------------------------------ the contract

    def anchor(self, value: Any, path: Path, start: datetime) -> datetime | None:
        """Return the instant that periods are counted from."""
        if isinstance(value, dict):
            data = self.mapping(value, path, ("day_of_month", "month"), ("day_of_month",))
            day = self.whole(data.get("day_of_month"), (*path, "day_of_month"), 1, low=1)
            month = None if data.get("month") is None else self.whole(data["month"], (*path, "month"), 1, low=1)
            try:
                return anchor_on(start, day, month)
            except ValueError:
                self.complain(
                    "no-such-day", path, f"There is no day {day}{'' if month is None else f' in month {month}'}."
                )
                return None
        return self.instant(value, path)

    def prebill(self, value: Any, path: Path) -> Prebill | None:
        """Return what is billed ahead."""
        if value is None:
            return None
        data = self.mapping(value, path, ("until", "periods", "prices"))
        periods = None if data.get("periods") is None else self.whole(data["periods"], (*path, "periods"), 1, low=1)
        until = self.instant(data.get("until"), (*path, "until"))
        if (periods is None) == (until is None):
            self.complain("prebill", path, "prebill needs either periods or until.")
            return None
        return Prebill(
            periods=periods, until=until, prices=tuple(map(str, self.listed(data.get("prices"), (*path, "prices"))))
        )

    def contract(self, value: Any, path: Path, settings: Settings, currency: str) -> ContractTerms | None:
        """Return the root terms."""
        keys = (
            "start", "entered_at", "billing_cycle_anchor", "collection_method", "days_until_due", "discounts", "tax_rates", "proration_behavior",
            "end_behavior", "renewal", "trial_end", "trial_settings", "metadata", "prebill", "phases",
        )  # fmt: skip
        data = self.mapping(value, path, keys, ("start", "phases"))
        start = self.instant(data.get("start"), (*path, "start"))
        if start is None:
            return None
        renewal = self.mapping(data.get("renewal") or {}, (*path, "renewal"), ("uplift_percent",))
        trial = self.mapping(data.get("trial_settings") or {}, (*path, "trial_settings"), ("missing_payment_method",))
        method = self.word(
            data.get("collection_method"),
            (*path, "collection_method"),
            ("charge_automatically", "send_invoice"),
            "charge_automatically",
        )
        return ContractTerms(
            currency=currency, timezone=self.timezone, settings=settings, start=start,
            phases=self.phases(data.get("phases"), (*path, "phases"), start),
            entered_at=self.instant(data.get("entered_at"), (*path, "entered_at")),
            anchor=self.anchor(data.get("billing_cycle_anchor"), (*path, "billing_cycle_anchor"), start), collection_method=method,
            days_until_due=self.whole(data.get("days_until_due"), (*path, "days_until_due"), 30 if method == "send_invoice" else 0, low=0),
            discounts=self.all_named(data.get("discounts"), (*path, "discounts"), self.coupons, "coupon"),
            tax_rates=self.all_named(data.get("tax_rates"), (*path, "tax_rates"), self.rates, "tax-rate"),
            proration_behavior=self.behavior(data.get("proration_behavior"), (*path, "proration_behavior")),
            end_behavior=self.word(data.get("end_behavior"), (*path, "end_behavior"), ("release", "cancel", "renew"), "release"),
            renewal=Renewal(uplift_percent=self.number(renewal.get("uplift_percent"), (*path, "renewal", "uplift_percent")) or Decimal(0)),
            trial_end=self.instant(data.get("trial_end"), (*path, "trial_end")),
            trial_missing_payment=self.word(
                trial.get("missing_payment_method"), (*path, "trial_settings", "missing_payment_method"),
                ("cancel", "pause", "create_invoice"), "create_invoice",
            ),
            prebill=self.prebill(data.get("prebill"), (*path, "prebill")), metadata=self.metadata(data.get("metadata"), (*path, "metadata")),
        )  # fmt: skip

    def settings(self) -> Settings:
        """Return the settings; those that shape money have no default."""
        data = self.mapping(
            self.tree.get("settings"),
            ("settings",),
            ("proration", "tax_rounding", "cancellation_day"),
            ("proration", "tax_rounding"),
        )
        return Settings(
            proration=self.word(
                data.get("proration"), ("settings", "proration"), ("day", "second", "month_and_day"), "day"
            ),
            tax_rounding=self.word(data.get("tax_rounding"), ("settings", "tax_rounding"), ("line", "invoice"), "line"),
            cancellation_day=self.word(
                data.get("cancellation_day"), ("settings", "cancellation_day"), ("free", "billed"), "free"
            ),
        )

    def customer(self, currency: str) -> CustomerState:
        """Return the customer: no balance, taxed, and paying, unless said otherwise."""
        data = self.mapping(
            self.tree.get("customer") or {}, ("customer",), ("country", "balance", "tax_exempt", "payment", "name", "discounts")
        )
        return CustomerState(
            id="customer", balances={currency: self.whole(data.get("balance"), ("customer", "balance"), 0)},
            tax_exempt=self.word(data.get("tax_exempt"), ("customer", "tax_exempt"), ("none", "exempt", "reverse"), "none"),
            payment=self.word(data.get("payment"), ("customer", "payment"), ("succeeds", "fails", "none"), "succeeds"),
            given=tuple(g for i, x in enumerate(self.listed(data.get("discounts"), ("customer", "discounts"))) if (g := self._given(x, i))),
        )  # fmt: skip

    def _given(self, value: Any, number: int) -> Given | None:
        """Return one discount of the customer: a coupon's name, or `{coupon: .., since: ..}`."""
        path: Path = ("customer", "discounts", number)
        data = self.mapping(value, path, ("coupon", "since"), ("coupon",)) if isinstance(value, dict) else {"coupon": value}
        coupon = self.named(data.get("coupon"), path, self.coupons, "coupon") if data.get("coupon") is not None else None
        since = self.instant(data.get("since"), (*path, "since")) or datetime.min  # noqa: DTZ901 - local, before any contract
        return Given(coupon=coupon, since=since) if coupon is not None else None

    def zone(self) -> None:
        """Settle the time zone that dates are read in."""
        name = self.tree.get("timezone")
        try:
            ZoneInfo(str(name))
            self.timezone = str(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.complain(
                "unknown-timezone",
                ("timezone",),
                f"There is no time zone {shown(name)}.",
                "Write a name such as Europe/Paris or UTC.",
            )
