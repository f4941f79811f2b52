"""What a deal's lines mean: items with their own dates, prices in minor units, discounts; equal lines are one item.

Worked example: 10 GOLD at 30.00 EUR Monthly and 5 more GOLD at 30.00 EUR Monthly are one item of 15 at 3000 minor units a
month; a third GOLD line from a later `ServiceDate` is an item of its own. `UnitPrice` is the price of one unit for one
billing period of the line (decision D-04); Upfront makes that period the line's whole span.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any, Literal

from connector.core.money import digits
from connector.core.period import length_between, months_of, plus_months
from connector.core.terms import Coupon, Interval, PaidTrial, Price
from connector.mapping.itemizing import DealLine, key_of, merged_lines, plain_number, with_own_ends
from connector.mapping.readers import AGAIN, Leaf, Reading, Record

Span = tuple[datetime | None, datetime | None]

_STAND_IN = "usd"  # where a deal has no currency its lines are read for their problems only
_KEPT = 50_000
_WIDE = Context(prec=60)
_MAX_PLACES = 12
_EXACT = 10**8  # places of a price in major units that is still said as a price of its billing period
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
            found = plain_number(number)
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

    def _price(self, key: tuple[Any, ...], interval: Interval | None, per: Interval | None, parts: int = 1) -> Price:
        found = self._prices.get(key)
        if found is None:
            product, description, amount, currency, charge = key[:5]
            whole = f" for {_length(per, parts)}," if per is not None and self._per == "term" else ""
            shown = f"{product} {self.plain(amount):f} {currency.upper()}{whole}{_each(interval)}"
            unit_amount = self.plain(amount.scaleb(digits(currency), _WIDE))
            if -unit_amount.as_tuple().exponent > _MAX_PLACES:  # type: ignore[operator]
                unit_amount = self.plain(unit_amount.quantize(Decimal(1).scaleb(-_MAX_PLACES), context=_WIDE))
            is_usage = charge == "usage"
            found = Price(
                id=shown + (" used" if is_usage else ""), product=product, description=description, unit_amount=unit_amount,
                interval=interval, per=None if per == interval else per, per_parts=parts, usage_type="metered" if is_usage else "licensed",
                timing=key[-1] or ("in_arrears" if is_usage else "in_advance"),
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
            line = self._one(record, span, currency or _STAND_IN, reading, action=action, term_months=term_months)
            if line is not None:
                found.append(line)
        reading.subject, reading.line_record = "", None
        found = with_own_ends(found, span[1])
        return merged_lines(found) if len(found) > 1 else found

    @property
    def has_revisions(self) -> bool:
        """Whether lines may say which earlier line they revise, as those of delta orders do."""
        return bool(self._line["revises"].paths)

    def bases(self, lines: Sequence[Record], reading: Reading) -> tuple[str, ...]:
        """Return the records whose contracts lines say they change; each once, sorted."""
        leaf = self._line["base"]
        if not leaf.paths:
            return ()
        return tuple(sorted({str(found) for line in lines if not (self._skip and self._skip(line)) and (found := leaf.read(line, reading))}))

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
        line.charge = charge = self._needed("charge", record, reading)
        catalog: str | None = self._read["price.catalog"](record, reading)
        amount = self._needed("price.unit_amount", record, reading) if not catalog else _NO_AMOUNT
        line.is_one_time = charge == "one_time"
        self._quantity(line, record, reading, action=action)
        line.is_open = not line.is_one_time and self._read["runs"](record, reading) == "until_canceled"
        self._dates(line, span, record, reading)
        is_said = not catalog or self._line["price.interval"].raw(record)
        interval = self._interval(line, span, record, reading, term_months=term_months) if is_said and not line.is_one_time else None
        line.is_interval_blank = not catalog and not self._line["price.interval"].raw(record)
        per, parts = self._per_interval(line, interval, span, record, reading, term_months=term_months) if not catalog else (None, 1)
        timing = self._read["price.timing"](record, reading)
        line.discounts = self._line_coupons(record, reading)
        self._check_trial(line, record, reading)
        if len(reading.problems) > before:
            return None
        if self._per == "term" and line.revises is None:
            amount, per, parts = exactly(amount, interval, per, parts)
        key = (product, description, amount, currency, charge, interval, per, parts, timing)
        line.price = self._catalog_price(catalog, line, charge, interval) if catalog else self._price(key, interval, per, parts)
        if "paid_trial" in self._supports and self._has_trials:
            line.trial = self._trial(line, currency, charge, record, reading)
        line.key = key_of(line, amount, interval)
        return self._as_used(line) if charge == "usage" else line if line.op != "delta" or line.quantity else None

    @staticmethod
    def _as_used(line: DealLine) -> DealLine:
        """Return a line of usage, which has no quantity: less of it is none of it."""
        if line.quantity is not None and line.quantity < 0:
            line.op = "remove"
        line.quantity = None
        return line

    def _quantity(self, line: DealLine, record: Record, reading: Reading, *, action: str) -> None:
        """Set how many units a line has, and on an amendment what it changes."""
        quantity = self._needed("quantity", record, reading)
        if quantity is None:
            return
        line.quantity = self.plain(quantity)
        if action == "amend":
            self._operation(line, quantity, record, reading)
            line.revises, line.prior = self._read["revises"](record, reading), self._read["prior_quantity"](record, reading)
        elif quantity <= 0:
            hint = f"Correct it, or close the deal as Amend{AGAIN}"
            reading.fail("bad-quantity", f"the quantity is {quantity}.", hint, self._line["quantity"].field)

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
        last: datetime | None = read["last_day"](record, reading) if not line.is_one_time and not line.is_open else None
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

    def _per_interval(
        self, line: DealLine, interval: Interval | None, span: Span, record: Record, reading: Reading, *, term_months: int | None
    ) -> tuple[Interval | None, int]:
        """Return what length of time the line's price is for, and in how many parts that is divided (decisions D-04, D-33)."""
        is_for_its_period = self._per == "period" or line.charge != "recurring" or line.op == "remove"
        if is_for_its_period or (interval is not None and interval.unit == "day"):  # upfront over days is one period
            return None, 1
        if self._per != "term":
            return _PER[self._per], 1
        start, end = line.start or span[0], None if line.is_open else line.end or span[1]
        if start is not None and end is not None:
            return span_between(start, end)
        own: int | None = self._read["price.term_months"](record, reading) if end is None else None
        months = own or (None if line.is_open else term_months)
        if not months:
            leaf = self._line["price.term_months" if line.is_open else "last_day"]
            hint = f"Fill {leaf.fill(record)}{AGAIN}" if leaf.places else f"Fill the term of the deal{AGAIN}"
            reading.fail("no-term", "its price is for its term, but it has none.", hint, leaf.field)
            return None, 1
        return Interval(unit="month", count=months), 1

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
        key = (line.product, line.description, amount, currency, charge, line.price.interval, None, 1, line.price.timing)
        return PaidTrial(price=self._price(key, line.price.interval, None), periods=periods)


def span_between(start: datetime, end: datetime) -> tuple[Interval, int]:
    """Return a stretch of time as months and the parts that they are divided in: 10 months and 17 of 31 days is 327 months in 31 parts.

    Whole months count from the first day, the days after them over the days of the month that they lie in (decision D-33).
    """
    whole = (end.year - start.year) * 12 + end.month - start.month
    whole -= plus_months(start, whole) > end
    last = plus_months(start, whole)
    rest, of = (end - last).days, (plus_months(start, whole + 1) - last).days
    return (Interval(unit="month", count=whole * of + rest), of) if rest else (Interval(unit="month", count=whole), 1)


def exactly(amount: Decimal, interval: Interval | None, per: Interval | None, parts: int) -> tuple[Decimal, Interval | None, int]:
    """Return a price for a term as one for its billing period where that is a number without end of places: 120.00 for 12 months is 10.00 a month."""
    if interval is None or per is None or not months_of(interval) or not months_of(per):
        return amount, per, parts
    exact = Fraction(amount) * months_of(interval) * parts / months_of(per)
    if (_EXACT * exact).denominator != 1:
        return amount, per, parts
    return _WIDE.divide(Decimal(exact.numerator), Decimal(exact.denominator)), None, 1


def _length(per: Interval, parts: int) -> str:
    count = per.count if parts == 1 else f"{per.count}/{parts}"
    return f"{count} {per.unit}{'' if count == 1 else 's'}"


def _each(interval: Interval | None) -> str:
    if interval is None:
        return " once"
    return f" a {interval.unit}" if interval.count == 1 else f" per {interval.count} {interval.unit}s"


