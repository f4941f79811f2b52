"""What a deal's lines mean: items with their own dates, prices in minor units, discounts; equal lines are one item.

Worked example: 10 GOLD at 30.00 EUR Monthly and 5 more GOLD at 30.00 EUR Monthly are one item of 15 at 3000 minor units a
month; a third GOLD line from a later `ServiceDate` is an item of its own. `UnitPrice` is the price of one unit for one
billing period of the line (decision D-04); Upfront makes that period the line's whole span.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Context, Decimal
from typing import Any, Literal

from connector.core.money import digits
from connector.core.period import length_between
from connector.core.terms import Coupon, Interval, Item, ItemChange, PaidTrial, Price
from connector.mapping.readers import AGAIN, Leaf, Reading, Record

Op = Literal["delta", "set", "remove"]
Span = tuple[datetime | None, datetime | None]

_KEPT = 50_000
_WIDE = Context(prec=60)
_MAX_PLACES = 12
_INTERVALS: Mapping[str, Interval] = {
    "month": Interval(unit="month"),
    "quarter": Interval(unit="month", count=3),
    "half_year": Interval(unit="month", count=6),
    "year": Interval(unit="year"),
}
_PER: Mapping[str, Interval] = {"month": Interval(unit="month"), "year": Interval(unit="year")}
_UNIT_NAMES = {"price.unit_amount": "price", "quantity": "quantity", "charge": "charge type", "price.interval": "billing frequency",
               "price.product": "product code"}  # fmt: skip
_ONE_DAY = timedelta(days=1)


class DealLine:
    """One item as read, of one or more equal lines; *key* holds everything that tells items apart."""

    __slots__ = ("amends", "description", "discounts", "end", "ids", "is_interval_blank", "is_one_time", "key", "op", "price", "product", "quantity", "start", "trial")

    def __init__(self, product: str, description: str, line_id: str) -> None:
        self.product = product
        self.description = description
        self.ids: tuple[str, ...] = (line_id,)
        self.is_one_time = False
        self.is_interval_blank = False
        self.op: Op = "delta"
        self.amends: str | None = None
        self.price: Price = _NO_PRICE
        self.quantity: Decimal | None = None
        self.start: datetime | None = None
        self.end: datetime | None = None
        self.discounts: tuple[Coupon, ...] = ()
        self.trial: PaidTrial | None = None
        self.key: tuple[Any, ...] = ()

    def item(self, name: str) -> Item:
        """Return the item under its name in the contract."""
        return Item(
            id=name, price=self.price, quantity=self.quantity, start=self.start, end=self.end, discounts=self.discounts,
            trial=self.trial, crm_lines=self.ids,
        )  # fmt: skip


_NO_PRICE = Price(id="")
_NO_AMOUNT = Decimal(0)


class LineDiscounts:
    """One discount rule of lines compiled: what it takes off, for how many months."""

    __slots__ = ("months", "percent")

    def __init__(self, percent: Leaf, months: Leaf) -> None:
        self.percent = percent
        self.months = months


class LineReader:
    """The compiled meaning of a mapping's `line` block; keeps prices and coupons it has made, since deals repeat them."""

    def __init__(
        self, object_name: str, line: Mapping[str, Leaf], discounts: Sequence[LineDiscounts], *, per: str,
        skip: Callable[[Record], Any] | None, supports: frozenset[str],
    ) -> None:  # fmt: skip
        self._object = object_name
        self._line = line
        self._read = {key: leaf.read for key, leaf in line.items()}
        self._discounts = tuple(discounts)
        self._per = per
        self._skip = skip
        self._supports = supports
        self._prices: dict[tuple[Any, ...], Price] = {}
        self._coupons: dict[tuple[Any, ...], Coupon] = {}
        self._plain: dict[Decimal, Decimal] = {}
        self._has_trials = bool(line["trial.price"].paths or line["trial.periods"].paths)

    # ------------------------------------------------------------ values that repeat

    def plain(self, number: Decimal) -> Decimal:
        """Return *number* in its one plain form, so that 10 and 10.00 are the same text everywhere."""
        found = self._plain.get(number)
        if found is None:
            found = _plain_number(number)
            if len(self._plain) >= _KEPT:
                self._plain.clear()
            self._plain[found] = found
        return found

    def currency(self, code: str, leaf: Leaf, reading: Reading) -> str | None:
        """Return the ISO 4217 code as terms write it, in small letters; an unknown one is a problem."""
        try:
            digits(code)
        except ValueError:
            reading.fail("unknown-currency", f'{leaf.label} "{code}" is no currency of ISO 4217.', f"Correct it{AGAIN}", leaf.field)
            return None
        return code.lower()

    def coupon(self, percent: Decimal | None, months: int | None, leaf: Leaf, reading: Reading) -> Coupon | None:
        """Return the discount as a coupon named after itself, such as "10%" or "10% for 3 months"; None for 0 or empty."""
        if not percent:
            return None
        if not 0 < percent <= 100:
            reading.fail("bad-discount", f"{leaf.label} is {percent} percent.", f"Write 0 to 100{AGAIN}", leaf.field)
            return None
        if months is not None and months <= 0:
            reading.fail("bad-discount", f"{leaf.label} holds for {months} months.", f"Write 1 or more, or leave it empty{AGAIN}", leaf.field)
            return None
        key = (percent, months)
        found = self._coupons.get(key)
        if found is None:
            off = self.plain(percent)
            name = f"{off:f}%" if months is None else f"{off:f}% for {months} months"
            duration: Literal["forever", "repeating"] = "forever" if months is None else "repeating"
            found = Coupon(id=name, percent_off=off, duration=duration, duration_in_months=months)
            if len(self._coupons) >= _KEPT:
                self._coupons.clear()
            self._coupons[key] = found
        return found

    def named_coupons(self, text: str | None) -> tuple[Coupon, ...]:
        """Return the coupons whose codes stand in a text, in order, divided by commas or semicolons; the books know the rest."""
        return tuple([Coupon(id=code) for part in (text or "").replace(";", ",").split(",") if (code := part.strip())])

    def _price(self, key: tuple[Any, ...], interval: Interval | None, per: Interval | None) -> Price:
        found = self._prices.get(key)
        if found is None:
            product, description, amount, currency, charge = key[:5]
            shown = f"{product} {self.plain(amount):f} {currency.upper()}{_each(interval)}"
            unit_amount = self.plain(amount.scaleb(digits(currency), _WIDE))
            if -unit_amount.as_tuple().exponent > _MAX_PLACES:  # type: ignore[operator]
                unit_amount = self.plain(unit_amount.quantize(Decimal(1).scaleb(-_MAX_PLACES), context=_WIDE))
            is_usage = charge == "usage"
            found = Price(
                id=shown + (" used" if is_usage else ""), product=product, description=description, unit_amount=unit_amount,
                interval=interval, per=None if per == interval else per, usage_type="metered" if is_usage else "licensed",
                timing="in_arrears" if is_usage else "in_advance",
            )  # fmt: skip
            if len(self._prices) >= _KEPT:
                self._prices.clear()
            self._prices[key] = found
        return found

    # ------------------------------------------------------------ all lines of a deal

    def read(
        self, lines: Sequence[Record], span: Span, currency: str | None, reading: Reading, *, action: str, term_months: int | None
    ) -> list[DealLine]:
        """Return the deal's items in their own order; problems go to *reading*.

        Args: span - first day of the contract (or effective date) and the day after its last, None where not known.
        """
        found: list[DealLine] = []
        skip = self._skip
        for record in lines:
            if skip is not None and skip(record):
                continue
            line = self._one(record, span, currency or "xxx", reading, action=action, term_months=term_months)
            if line is not None:
                found.append(line)
        reading.subject, reading.line_record = "", None
        return _merged(found) if len(found) > 1 else found

    def names(self, lines: Sequence[Record], reading: Reading) -> tuple[str, ...]:
        """Return what a cancellation's lines name: the number in `amends`, else the product code; each once, sorted."""
        names: dict[str, None] = {}
        for record in lines:
            if self._skip is not None and self._skip(record):
                continue
            self._begin(record, reading)
            product = self._needed("price.product", record, reading)
            name = self._item_number(record, reading) or product
            if name:
                names[name] = None
        reading.subject, reading.line_record = "", None
        return tuple(sorted(names))

    def _begin(self, record: Record, reading: Reading) -> tuple[str, str]:
        reading.subject, reading.line_record = "", (self._object, record["Id"])
        read = self._read
        product = read["price.product"](record, reading) or ""
        description = read["description"](record, reading) or product
        reading.subject = f'line "{description}": ' if description else "a line: "
        return product, description

    def _needed(self, key: str, record: Record, reading: Reading) -> Any:
        before = len(reading.problems)
        value = self._read[key](record, reading)
        if value is None and len(reading.problems) == before:
            leaf = self._line[key]
            name = _UNIT_NAMES[key]
            reading.fail(f"no-{name.replace(' ', '-')}", f"no {name}.", f"Fill {leaf.fill(record)}{AGAIN}", leaf.field)
        return value

    def _item_number(self, record: Record, reading: Reading) -> str | None:
        text: str | None = self._read["amends"](record, reading)
        return (text.split(":", 1)[0].strip() or None) if text else None

    # ------------------------------------------------------------ one line

    def _one(
        self, record: Record, span: Span, currency: str, reading: Reading, *, action: str, term_months: int | None
    ) -> DealLine | None:
        before = len(reading.problems)
        product, description = self._begin(record, reading)
        if not product:
            self._needed("price.product", record, reading)
        line = DealLine(product, description, record["Id"])
        charge = self._needed("charge", record, reading)
        catalog: str | None = self._read["price.catalog"](record, reading)
        amount = self._needed("price.unit_amount", record, reading) if not catalog else _NO_AMOUNT
        quantity = self._needed("quantity", record, reading)
        line.is_one_time = charge == "one_time"
        if quantity is not None:
            line.quantity = self.plain(quantity)
            if action == "amend":
                self._operation(line, quantity, record, reading)
            elif quantity <= 0:
                hint = f"Correct it, or close the deal as Amend{AGAIN}"
                reading.fail("bad-quantity", f"the quantity is {quantity}.", hint, self._line["quantity"].field)
        self._dates(line, span, record, reading)
        is_said = not catalog or self._line["price.interval"].raw(record)
        interval = self._interval(line, span, record, reading, term_months=term_months) if is_said and not line.is_one_time else None
        line.is_interval_blank = not catalog and not self._line["price.interval"].raw(record)
        per = self._per_interval(line, reading, term_months) if not catalog else None
        line.discounts = self._line_coupons(record, reading)
        self._check_trial(line, record, reading)
        if len(reading.problems) > before:
            return None
        key = (product, description, amount, currency, charge, interval, per)
        line.price = self._catalog_price(catalog, line, charge, interval) if catalog else self._price(key, interval, per)
        if "paid_trial" in self._supports and self._has_trials:
            line.trial = self._trial(line, currency, charge, record, reading)
        if charge == "usage":
            if line.quantity is not None and line.quantity < 0:  # usage has no quantity to reduce: less of it is none of it
                line.op = "remove"
            line.quantity = None
        elif line.op == "delta" and not line.quantity:
            return None
        line.key = _key(line, amount, interval)
        return line

    def _catalog_price(self, name: str, line: DealLine, charge: str, interval: Interval | None) -> Price:
        """Return the price that a line names, with what the line itself says of it: kind of charge, and frequency where it is filled."""
        return Price(
            id=name, product=line.product, description=line.description, interval=interval,
            usage_type="metered" if charge == "usage" else "licensed",
        )  # fmt: skip

    def _operation(self, line: DealLine, quantity: Decimal, record: Record, reading: Reading) -> None:
        """Set what an amendment line does; blank = by the sign of its quantity (deals.md section 3)."""
        line.amends = self._item_number(record, reading)
        word = self._read["change"](record, reading)
        if word is None:
            return
        leaf = self._line["change"]
        if line.is_one_time and word != "add":
            hint = f"Clear {leaf.fill(record)}; a credit is a line with a negative price{AGAIN}"
            reading.fail("bad-line-change", "a one-time charge can only be added.", hint, leaf.field)
        elif word in ("add", "set") and quantity < 0:
            hint = f"Correct the quantity, or choose Reduce in {leaf.fill(record)}{AGAIN}"
            reading.fail("bad-line-change", f"{leaf.label} does not go with a quantity of {quantity}.", hint, leaf.field)
        elif word == "reduce":
            line.quantity = self.plain(-abs(quantity))
        elif word == "remove" or (word == "set" and quantity == 0):
            line.op = "remove"
        elif word == "set":
            line.op = "set"

    def _dates(self, line: DealLine, span: Span, record: Record, reading: Reading) -> None:
        read = self._read
        start: datetime | None = read["start"](record, reading)
        last: datetime | None = read["last_day"](record, reading) if not line.is_one_time else None
        first, end = span
        leaf = self._line["start"]
        if start is not None and first is not None and start < first:
            hint = f"Correct it, or clear it to begin then{AGAIN}"
            reading.fail("line-too-early", f"{leaf.label} {start:%Y-%m-%d} is before {first:%Y-%m-%d}, the first day.", hint, leaf.field)
        elif start is not None and end is not None and start >= end:
            hint = f"Correct it, or make the term longer{AGAIN}"
            reading.fail("line-too-late", f"{leaf.label} {start:%Y-%m-%d} is after the last day of the term.", hint, leaf.field)
        line.start = None if start == first else start
        if last is None:
            return
        leaf = self._line["last_day"]
        after = last + _ONE_DAY
        begin = start or first
        if begin is not None and after <= begin:
            reading.fail("line-ends-early", f"{leaf.label} {last:%Y-%m-%d} is before the line's first day.", f"Correct it{AGAIN}", leaf.field)
        elif end is not None and after > end:
            hint = f"Correct it, or make the term longer{AGAIN}"
            reading.fail("line-too-late", f"{leaf.label} {last:%Y-%m-%d} is after the last day of the term.", hint, leaf.field)
        line.end = None if after == end else after

    def _interval(
        self, line: DealLine, span: Span, record: Record, reading: Reading, *, term_months: int | None
    ) -> Interval | None:
        if line.op == "remove":
            word = self._read["price.interval"](record, reading)
        else:
            word = self._needed("price.interval", record, reading)
        if word is None:
            return None
        if word != "upfront":
            return _INTERVALS[word]
        start, end = line.start or span[0], line.end or span[1]
        if start is not None and end is not None:
            return length_between(start, end)
        if term_months and line.start is None and line.end is None:
            return Interval(unit="month", count=term_months)
        if line.op != "remove":
            leaf = self._line["last_day"]
            hint = f"Fill {leaf.fill(record)}, or the term of the deal{AGAIN}"
            reading.fail("upfront-without-end", "what is billed once for its whole span needs an end.", hint, leaf.field)
        return None

    def _per_interval(self, line: DealLine, reading: Reading, term_months: int | None) -> Interval | None:
        if self._per == "period" or line.is_one_time:
            return None
        if self._per != "term":
            return _PER[self._per]
        if not term_months:
            reading.fail("no-term", "its price is for the term, but the deal has no term.", f"Fill the term of the deal{AGAIN}")
            return None
        return Interval(unit="month", count=term_months)

    def _line_coupons(self, record: Record, reading: Reading) -> tuple[Coupon, ...]:
        found: tuple[Coupon, ...] = ()
        for rule in self._discounts:
            percent = rule.percent.read(record, reading)
            if percent:
                coupon = self.coupon(percent, rule.months.read(record, reading), rule.percent, reading)
                if coupon is not None:
                    found = (*found, coupon)
        return found + self.named_coupons(self._read["coupons"](record, reading))

    def _check_trial(self, line: DealLine, record: Record, reading: Reading) -> None:
        """Complain of a paid trial that cannot be: nothing filled is ever ignored."""
        for key in ("trial.price", "trial.periods"):
            leaf = self._line[key]
            if leaf.paths and leaf.raw(record) and ("paid_trial" not in self._supports or line.is_one_time):
                hint = f"Clear {leaf.fill(record)}{AGAIN}"
                reading.fail("not-supported", f"{leaf.label} is not supported {'on one-time charges' if line.is_one_time else 'yet'}.", hint, leaf.field)

    def _trial(self, line: DealLine, currency: str, charge: str, record: Record, reading: Reading) -> PaidTrial | None:
        amount: Decimal | None = self._read["trial.price"](record, reading)
        periods: int | None = self._read["trial.periods"](record, reading)
        if amount is None and not periods:
            return None
        if amount is None or not periods or periods < 0:
            leaf = self._line["trial.price" if amount is None else "trial.periods"]
            hint = f"Fill both trial fields, or neither{AGAIN}"
            reading.fail("half-a-trial", f"{leaf.label} is missing for the paid trial.", hint, leaf.field)
            return None
        key = (line.product, line.description, amount, currency, charge, line.price.interval, None)
        return PaidTrial(price=self._price(key, line.price.interval, None), periods=periods)


def _each(interval: Interval | None) -> str:
    if interval is None:
        return " once"
    return f" a {interval.unit}" if interval.count == 1 else f" per {interval.count} {interval.unit}s"


def _key(line: DealLine, amount: Decimal, interval: Interval | None) -> tuple[Any, ...]:
    """Return what tells items apart, in an order that can be sorted."""
    return (
        line.product,
        line.is_one_time,
        line.start.toordinal() if line.start else 0,
        line.end.toordinal() if line.end else 0,
        (interval.unit, interval.count) if interval else ("", 0),
        amount,
        tuple([coupon.id for coupon in line.discounts]),
        line.op,
        line.amends or "",
        line.price.usage_type,
        (line.trial.price.id, line.trial.periods) if line.trial else ("", 0),
        line.price.id if line.price.is_named else "",
    )


def _plain_number(number: Decimal) -> Decimal:
    plain = number.normalize(_WIDE)
    return plain.quantize(Decimal(1), context=_WIDE) if plain.as_tuple().exponent > 0 else plain  # type: ignore[operator]


def _merged(found: list[DealLine]) -> list[DealLine]:
    """Return the lines in order of their keys, equal ones as one with all its line ids (decision D-03)."""
    found.sort(key=lambda line: (line.key, line.description, line.ids))
    merged: list[DealLine] = []
    for line in found:
        last = merged[-1] if merged else None
        if last is None or last.key != line.key:
            merged.append(line)
            continue
        last.ids = tuple(sorted((*last.ids, *line.ids)))
        if last.quantity is not None and line.quantity is not None and last.op != "remove":
            last.quantity = _WIDE.add(last.quantity, line.quantity)
    for line in merged:
        if line.quantity is not None and len(line.ids) > 1:
            line.quantity = _plain_number(line.quantity)
    return [line for line in merged if line.op != "delta" or line.quantity is None or line.quantity]


def _named(found: Sequence[DealLine]) -> list[tuple[DealLine, Item]]:
    """Return the lines with their items, each under a name of its own: GOLD, GOLD#2."""
    counts: dict[str, int] = {}
    named: list[tuple[DealLine, Item]] = []
    for line in found:
        count = counts[line.product] = counts.get(line.product, 0) + 1
        name = line.product if count == 1 else f"{line.product}#{count}"
        named.append((line, line.item(name)))
    return named


def items_of(found: Sequence[DealLine]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Return the recurring and the one-time items."""
    named = _named(found)
    return tuple([item for line, item in named if not line.is_one_time]), tuple([item for line, item in named if line.is_one_time])


_RANK = {"remove": 0, "set": 1, "delta": 2}


def steps_of(found: Sequence[DealLine], deal: str, *, keeps_interval: bool) -> tuple[tuple[ItemChange, ...], tuple[Item, ...]]:
    """Return the steps of an amendment (what goes, what is set, what grows or shrinks) and its one-time charges.

    keeps_interval - the deal does not say how often it bills: a line that does not either is billed as the item it changes.
    What is set in place of a numbered item carries the deal's name: its product's name may be taken by another item.
    """
    named = _named(found)
    steps: list[tuple[int, ItemChange]] = []
    for line, item in named:
        if not line.is_one_time:
            set_item = replace(item, id=f"{item.id}@{deal}") if line.op == "set" and line.amends else item
            keeps = keeps_interval and line.is_interval_blank
            steps.append((_RANK[line.op], ItemChange(op=line.op, item=set_item, item_id=line.amends, keeps_interval=keeps)))
    steps.sort(key=lambda pair: pair[0])
    return tuple(step for _, step in steps), tuple(item for line, item in named if line.is_one_time)
