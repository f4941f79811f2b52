"""The lines of one deal as items: which of them are one item, how items are called, and what lines of an amendment do.

Worked example: GOLD x10 and GOLD x5 of the same price and dates are the item "GOLD" of 15, made by both lines; a GOLD line from a later
day is "GOLD#2".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Context, Decimal
from typing import Any, Literal

from connector.core.terms import Coupon, Interval, Item, ItemChange, PaidTrial, Price

Op = Literal["delta", "set", "remove"]

_WIDE = Context(prec=60)
_NO_PRICE = Price(id="")


class DealLine:
    """One item as read, of one or more equal lines; *key* holds everything that tells items apart."""

    __slots__ = ("amends", "charge", "description", "discounts", "end", "ids", "is_interval_blank", "is_one_time", "is_open", "key", "op", "price", "prior", "product",
                 "quantity", "revises", "start", "trial")  # fmt: skip

    def __init__(self, product: str, description: str, line_id: str) -> None:
        self.product = product
        self.description = description
        self.ids: tuple[str, ...] = (line_id,)
        self.is_one_time = False
        self.is_interval_blank = False
        self.charge = ""
        self.is_open = False
        self.revises: str | None = None
        self.prior: Decimal | None = None
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


def key_of(line: DealLine, amount: Decimal, interval: Interval | None) -> tuple[Any, ...]:
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
        line.revises or "",
        line.price.usage_type,
        (line.trial.price.id, line.trial.periods) if line.trial else ("", 0),
        line.price.id if line.price.is_named else "",
    )


def plain_number(number: Decimal) -> Decimal:
    """Return a number in its one plain form: 10.00 is 10."""
    plain = number.normalize(_WIDE)
    return plain.quantize(Decimal(1), context=_WIDE) if plain.as_tuple().exponent > 0 else plain  # type: ignore[operator]


def merged_lines(found: list[DealLine]) -> list[DealLine]:
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
            line.quantity = plain_number(line.quantity)
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


def with_own_ends(found: list[DealLine], end: datetime | None) -> list[DealLine]:
    """Return the lines of a deal some of which have no end: the others end by themselves on the deal's *end*, the contract does not."""
    if end is not None and any(line.is_open for line in found):
        for line in found:
            if not line.is_open and not line.is_one_time and line.end is None:
                line.end = end
                line.key = (*line.key[:3], end.toordinal(), *line.key[4:])
    return found


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
            steps.append((_RANK[line.op], ItemChange(
                op=line.op, item=set_item, item_id=line.amends, keeps_interval=keeps, revises=line.revises if line.op == "delta" else None,
                prior=line.prior,
            )))  # fmt: skip
    steps.sort(key=lambda pair: pair[0])
    return tuple(step for _, step in steps), tuple(item for line, item in named if line.is_one_time)
