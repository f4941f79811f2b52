"""Stripe's own prorations on an invoice: which of the lines that were left to it each one is, and whether its amount is right. Pure.

A proration is told by its price and by whether it gives back or charges; several of one price (two changes that wait for one invoice)
by the order of time. What it comes to depends on the second at which the request arrived, which is where its period begins: an amount
that this explains is as expected, whatever was foreseen when the change was decided.

Worked example: 232.26 was foreseen for five seats more at 9:00:00. Stripe's line begins at 9:00:37 and says 232.25: that is right. If it
said 230.00, it would be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from connector.billing.stripe_backend.compiling.leaving import LATE_S, at_net, net_at
from connector.billing.stripe_backend.money import minor_amount
from connector.billing.stripe_backend.reading.lines import Known, is_prorated, kind_of, price_of, together
from connector.billing.stripe_backend.reading.picked import Data, subscription_of
from connector.billing.stripe_backend.steps import Held, Left
from connector.core.lines import Line

EARLY_S = 600  # between our clock and Stripe's
Found = Mapping[int, tuple[Left, Line]]


def found(invoice: Data, known: Known, sent: Mapping[str, Line]) -> dict[int, tuple[Left, Line]]:
    """Return what was left to Stripe of each proration on an invoice, by its place; *sent*: lines that stand on no invoice yet."""
    waiting = [x for x in _left(known.held, subscription_of(invoice)) if x.key in sent and x.key not in known.taken]
    parts = [(place, line) for place, line in together(invoice) if is_prorated(line)]
    matched: dict[int, Left] = {}
    for kind in ("credit", "charge"):
        lines = [(place, line) for place, line in parts if kind_of(line) == kind]
        of_kind = [x for x in waiting if x.kind == kind]
        for price in dict.fromkeys(x.price for x in of_kind):
            mine = [(place, line) for place, line in lines if price in known.prices.get(price_of(line), ())]
            matched |= _paired(mine, [x for x in of_kind if x.price == price])
        rest, left_over = [p for p in lines if p[0] not in matched], [x for x in of_kind if x not in matched.values()]
        if len(rest) == len(left_over) == 1 and not known.prices.get(price_of(rest[0][1])):
            matched[rest[0][0]] = left_over[0]
    return {place: (matched[place], _explained(matched[place], line, sent[matched[place].key], invoice)) for place, line in parts if place in matched}


def _left(held: Held | None, subscription: str) -> list[Left]:
    return [x for g in (held.groups if held is not None else ()) if g.subscription == subscription for x in g.left]


def _paired(lines: Sequence[tuple[int, Data]], left: Sequence[Left]) -> dict[int, Left]:
    """Return which is which in the order of time; where there are not as many of one as of the other, the nearest."""
    lines = sorted(lines, key=lambda p: p[1]["period"]["start"])
    rest = sorted(left, key=lambda x: x.at)
    if len(lines) == len(rest):
        return {place: x for (place, _), x in zip(lines, rest, strict=True)}
    matched = {}
    for place, line in lines:
        nearest = min(rest, key=lambda x: abs(x.at - line["period"]["start"]), default=None)
        if nearest is not None:
            rest.remove(nearest)
            matched[place] = nearest
    return matched


def _explained(left: Left, line: Data, foreseen: Line, invoice: Data) -> Line:
    """Return the line as it is right: by the second at which it begins, and to the unit as Stripe rounds it; late, as it was foreseen."""
    began = int(line["period"]["start"])
    if not left.at - EARLY_S <= began <= left.at + LATE_S:
        return foreseen
    right, billed = net_at(left, began), minor_amount(line["amount"], str(invoice["currency"]))
    return at_net(foreseen, billed if abs(billed - right) <= 1 else right)


def seen(held: Held, parts: Found, invoice: Data) -> Held:
    """Return what Stripe holds with where its prorations begin: what it will give back of them is counted from there."""
    places = dict(together(invoice))
    began = {left.key: int(places[place]["period"]["start"]) for place, (left, _) in parts.items()}
    groups = tuple(replace(g, left=tuple(replace(x, began=began.get(x.key, x.began)) for x in g.left)) for g in held.groups)
    return replace(held, groups=groups)
