"""Which agreement Stripe billed: a change that was agreed before a period began may have reached Stripe after it had billed that period.

Such a line is no mistake to be told and forgotten: it is the engine's charge as it would have been without the changes that Stripe did not
know. Kept as that, the engine sees by itself that the period was billed otherwise than agreed, gives it back and bills it anew (decision D-201).
Only a line with price and quantity as we sent them is looked at so: what somebody changed in the dashboard stays what it is.

Worked example: 2 seats, 3 more from 15 April, told to Stripe on the 20th at 18:00. Stripe's line of the 20th over 120.00 is the charge of
the two seats for a month that belongs to five: the engine credits 120.00 and charges 300.00.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from connector.billing.stripe_backend.compiling.outlook import Outlook
from connector.billing.stripe_backend.compiling.wanted import Wanted
from connector.billing.stripe_backend.reading.lines import (
    UNKNOWN,
    Known,
    billed,
    civil,
    is_prorated,
    price_of,
    proposed,
    together,
)
from connector.billing.stripe_backend.reading.picked import Data
from connector.core.lines import Line
from connector.core.values import dataclass

_MOST_VERSIONS = 10
_ROUNDING = 1  # minor units that Stripe may round otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An invoice's lines with those of older versions told by them, and what was expected of it then."""

    lines: tuple[Line, ...]
    expected: tuple[Line, ...]


def as_agreed_then(
    invoice: Data, lines: Sequence[Line], known: Known, outlook: Outlook, is_taken: Callable[[Iterable[str]], frozenset[str]]
) -> Seen:
    """Return the lines of an invoice as `lines.told` gives them, each by the agreement that Stripe knew when it billed."""
    by_key = {line.key: line for line in known.proposed}
    made, gone, older = list(lines), set(), []
    drawn: list[Sequence[Line]] = []
    versions = _versions(outlook.wanted)
    for at, ((_, data), line) in enumerate(zip(together(invoice), lines, strict=True)):
        core = by_key.get(line.key)
        is_other = line.key.startswith(UNKNOWN) if core is None else core.net != line.net
        if not is_other or not _is_as_sent(data, known):
            continue
        then = _then(data, invoice, known, drawn, versions, is_taken)
        if then is not None:
            made[at] = replace(then, order=line.order)
            older.append(then)
        elif core is not None:
            made[at] = _otherwise(line, core, data, outlook)
        gone |= {line.key} if core is not None else set()
    return Seen(lines=tuple(made), expected=(*(p for p in known.proposed if p.key not in gone), *older))


def _versions(wanted: Wanted) -> Iterator[Sequence[Line]]:
    """Yield what would be billed without the latest changes: the newest version first."""
    changes = wanted.contract.changes
    for made in sorted({c.made_at for c in changes}, reverse=True)[:_MOST_VERSIONS]:
        contract = replace(wanted.contract, changes=tuple(c for c in changes if c.made_at < made))
        yield Outlook(replace(wanted, contract=contract)).lines


def _then(
    data: Data, invoice: Data, known: Known, drawn: list[Sequence[Line]], versions: Iterator[Sequence[Line]],
    is_taken: Callable[[Iterable[str]], frozenset[str]],
) -> Line | None:  # fmt: skip
    """Return the charge of the newest version by which a line was billed to the cent."""
    for number in range(_MOST_VERSIONS):
        if number == len(drawn):
            more = next(versions, None)
            if more is None:
                return None
            drawn.append(more)
        found = proposed(data, replace(known, proposed=drawn[number]), set(known.taken))
        if found is not None and billed(found, data, invoice).net == found.net and not is_taken([found.key]):
            return billed(found, data, invoice)
    return None


def _is_as_sent(data: Data, known: Known) -> bool:
    """Whether a line has the price and the quantity that we sent for its day."""
    if is_prorated(data) or not ((data.get("parent") or {}).get("subscription_item_details")) or known.held is None:
        return False
    day, keys = civil(data["period"]["start"]).date(), set(known.prices.get(price_of(data), ()))
    phases = [p for g in known.held.groups for p in g.phases if p.start <= day and (p.end is None or day < p.end)]
    sent = [i for p in phases for i in p.items if i.price in keys]
    return any(i.quantity is None or i.quantity == Decimal(str(data.get("quantity") or 0)) for i in sent)


def _otherwise(line: Line, core: Line, data: Data, outlook: Outlook) -> Line:
    """Return a line with what was billed of it, where no version that is still known says that: the engine bills it anew then."""
    segment = outlook.segment_of(core)
    count = Decimal(str(data.get("quantity") or 0))
    if segment is None or not segment.cause.prorates or not count or abs(line.amount - core.amount) <= _ROUNDING:
        return line
    return replace(line, quantity=count, unit_amount=line.amount / count)
