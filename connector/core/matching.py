"""Which item of a contract a line means (decision D-03), and the words in which candidates are shown.

An item is (product, unit price, interval, charge type, end); the start is not compared. A positive change grows the equal
item, else it is a new item at its own price; more at another discount than the item's own is such a new item, because another
discount is another price (decision D-117). A negative one shrinks the equal item, else the only item of its product;
with several left a person decides by number: "1: Gold 10 x 10.00 · 2: Gold 5 x 12.00".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from connector.core.money import digits
from connector.core.period import days_of, months_of, plus_months
from connector.core.terms import Item, Price
from connector.errors import Problem


def product_of(price: Price) -> str:
    """Return the product's code, or the price's id where the price names no product."""
    return price.product or price.id


def terms_of_price(price: Price) -> tuple[object, ...]:
    """Return what makes two prices cost the same for the same use."""
    return (
        price.unit_amount, price.interval, price.per or price.interval, price.per_parts, price.timing, price.usage_type,
        price.tiers_mode, price.tiers, price.divide_by, price.divide_round,
    )  # fmt: skip


def is_equal_item(a: Item, b: Item, end: datetime | None) -> bool:
    """Whether two items are the same by D-03; a blank end is the contract's *end*."""
    if product_of(a.price) != product_of(b.price) or (a.end or end) != (b.end or end):
        return False
    return a.price is b.price or terms_of_price(a.price) == terms_of_price(b.price)


def amount_text(amount: Decimal | None, currency: str) -> str:
    """Return a price in major units as people write it: 1000 eur is 10.00, 12.5 is 0.125."""
    if amount is None:
        return "tiered"
    places = digits(currency)
    value = amount.scaleb(-places)
    exponent = value.normalize().as_tuple().exponent
    decimals = max(places, -exponent if isinstance(exponent, int) else 0)
    return f"{value:.{decimals}f}"


def quantity_text(quantity: Decimal | None) -> str:
    """Return a quantity without trailing zeros."""
    return "metered" if quantity is None else f"{quantity.normalize():f}"


def item_text(number: int, item: Item, currency: str) -> str:
    """Return an item as messages show it: "1: Gold 10 x 10.00"."""
    name = item.price.description or product_of(item.price)
    return f"{number}: {name} {quantity_text(item.quantity)} x {amount_text(item.price.unit_amount, currency)}"


def candidates_text(items: Sequence[tuple[int, Item]], currency: str) -> str:
    """Return numbered items in one line."""
    return " · ".join(item_text(n, i, currency) for n, i in items)


def by_name_or_number(name: str, items: Mapping[str, Item]) -> str | None:
    """Return the id of the item that *name* means: an id, else its number as messages show it, else the only item of a product."""
    if name in items:
        return name
    if name.isdigit() and 1 <= int(name) <= len(items):
        return list(items)[int(name) - 1]
    of_product = [k for k, i in items.items() if name in (product_of(i.price), i.price.id)]
    return of_product[0] if len(of_product) == 1 else None


def by_crm_line(line: str, items: Mapping[str, Item]) -> str | None:
    """Return the id of the item that stems from a CRM line, None where none that runs does."""
    return next((k for k, i in items.items() if line in i.crm_lines), None)


def is_price_of(item: Item, wanted: Item, start: datetime, end: datetime | None) -> bool:
    """Whether a line that revises *item* is priced as it from *start* to *end*, in whichever precision CPQ prorates.

    CPQ states the net price of one unit for the line's term, which it counts in months rounded down or up, or in days of a 365th of
    twelve months; so the months that its price pays for lie between the least and the most of these, to a minor unit.
    """
    a, b = item.price, wanted.price
    if a.unit_amount is None or b.unit_amount is None or a.tiers or b.tiers or a.interval is None or b.interval is None:
        return True  # a tiered price is the catalogue's, whatever a line says
    if end is None or end <= start or b.per is None or not months_of(b.per):
        return unit_rate(a) == unit_rate(b)
    monthly = unit_rate(a)
    if not monthly:
        return not b.unit_amount
    whole = (end.year - start.year) * 12 + end.month - start.month
    whole -= plus_months(start, whole) > end
    most = whole + (plus_months(start, whole) < end)
    days = Fraction((end - start).days * 12, 365)
    paid = Fraction(b.unit_amount)
    return monthly * min(Fraction(whole), days) - 1 <= paid <= monthly * max(Fraction(most), days) + 1


def unit_rate(price: Price) -> Fraction:
    """Return what one unit costs a month, exactly; a price by days or weeks a day."""
    per = price.per or price.interval
    if price.unit_amount is None or per is None:
        return Fraction(0)
    return Fraction(price.unit_amount) * price.per_parts / (months_of(per) or days_of(per))


def interval_text(price: Price) -> str:
    """Return how often a price is billed: "every month", "every 3 months"; a one-time price "once"."""
    if price.interval is None:
        return "once"
    count, unit = price.interval.count, price.interval.unit
    return f"every {unit}" if count == 1 else f"every {count} {unit}s"


def _other_interval(wanted: Item, of_product: Sequence[tuple[int, Item]], currency: str) -> Problem | None:
    """Refuse more of what runs at the very same price but in another interval: 120.00 a year is not 120.00 a month."""
    price = wanted.price
    for number, item in of_product:
        same = item.price.unit_amount == price.unit_amount and price.unit_amount is not None
        if same and item.price.interval != price.interval:
            return Problem(
                code="interval-differs",
                message=f"{item_text(number, item, currency)} is billed {interval_text(item.price)}, but this change says"
                f" {interval_text(price)} at the same price.",
                hint="Fill the billing frequency as it is on the contract, or correct the price.",
            )
    return None


def in_running_interval(wanted: Item, items: Mapping[str, Item], item_id: str | None) -> Item:
    """Return *wanted* billed as often as the running item it means; unchanged where its product runs in none or several."""
    named = by_name_or_number(item_id, items) if item_id is not None else None
    of_product = [i for i in items.values() if product_of(i.price) == product_of(wanted.price)]
    same = [i for i in of_product if i.price.unit_amount == wanted.price.unit_amount]
    found = {(i.price.interval, i.price.per) for i in ([items[named]] if named is not None else same or of_product)}
    if wanted.price.interval is None or len(found) != 1:
        return wanted
    interval, per = found.pop()
    return replace(wanted, price=replace(wanted.price, interval=interval, per=per)) if interval is not None else wanted


def target_of(
    wanted: Item, items: Mapping[str, Item], *, item_id: str | None, end: datetime | None, currency: str
) -> str | Problem | None:
    """Return the id of the item that a change in quantity means, None for a new one, or the problem that a person solves."""
    numbered = [(n, i) for n, i in enumerate(items.values(), 1)]
    if item_id is not None:
        found = by_name_or_number(item_id, items)
        if found is not None:
            return found
        return Problem(
            code="unknown-item",
            message=f"The contract has no running item {item_id!r}: {candidates_text(numbered, currency) or 'it has none'}.",
            hint="Name one of these by its number.",
        )
    equal = [k for k, i in items.items() if is_equal_item(i, wanted, end)]
    alike = [k for k in equal if items[k].discounts == wanted.discounts]
    is_more = (wanted.quantity or 0) >= 0
    if alike or (len(equal) == 1 and not is_more):
        return (alike or equal)[0]
    product = product_of(wanted.price)
    if is_more:
        return _other_interval(wanted, [(n, i) for n, i in numbered if product_of(i.price) == product], currency)
    of_product = [(n, k, i) for n, (k, i) in enumerate(items.items(), 1) if product_of(i.price) == product]
    if len(of_product) == 1:
        return of_product[0][1]
    shown = candidates_text([(n, i) for n, _, i in of_product] or numbered, currency)
    if not of_product:
        return Problem(
            code="unknown-item",
            message=f"Nothing of {product} is running that could be reduced: {shown or 'the contract has no items'}.",
            hint="Correct the product of the line, or name the item by its number.",
        )
    return Problem(
        code="ambiguous-item",
        message=f"Several items of {product} could be meant: {shown}.",
        hint="Say which one by its number.",
    )
