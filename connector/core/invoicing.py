"""Lines: propose what the timeline asks for, subtract what stands on finalized invoices, emit the rest (decision D-10).

A charge is a segment in one of its periods. A credit is a share of a charge, as it was billed, for the time after the
change that ended its segment. Both have keys without end, amount or position, so proposing again yields the same keys and
nothing is billed twice. The lines of a late run are those of the timely ones: a charge covers its period unless an end was
known when it fell due, and later changes credit it.

Worked example: 30.00 a month billed on 1 April; +5 on 16 April leaves the charge as it is and emits the credit -15.00 for
`[16 Apr, 1 May)` and the charge of the new segment for the same days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime

from connector.core.amounts import line_of, price_charges, tax_charges
from connector.core.charges import (
    Charge,
    all_charges,
    charges_of,
    next_invoice_after,
    one_time_charge,
    one_time_segment,
    rest_of,
)
from connector.core.credits import credits_for, is_as_agreed
from connector.core.forgiving import forgive
from connector.core.lines import Line, Slice, Usage, line_key
from connector.core.period import MICROSECOND, Interval, boundary, index, next_boundary, to_local
from connector.core.schedule import timeline
from connector.core.segments import Segment, Timeline
from connector.core.terms import Change, Contract

__all__ = [  # the names of lines are used beside those of billing them
    "Line", "Slice", "Usage", "contract_status", "line_key", "next_due", "next_due_on", "priced_charges", "proposed", "proposed_on", "window_start",
]  # fmt: skip


def _unbilled(plan: Timeline, charge: Charge, known: Mapping[str, Line], taken_back: AbstractSet[str]) -> Charge | None:
    """Return what of a charge no fact stands for, None where all of it was billed as agreed now.

    A fact that was credited from its first day on stands no more, even if what was agreed then is agreed again; one that stops
    early, because an end was known then which is gone now, stands for its time only.
    """
    key, revision = charge.key, 0
    is_fixed = charge.kind == "one_time" or charge.segment.price.usage_type == "metered"
    while key in known:
        fact = known[key]
        if is_fixed or (key not in taken_back and is_as_agreed(charge.segment, fact)):
            ended = charge.segment.end
            if is_fixed or charge.segment.is_free or fact.end >= charge.end or (ended is not None and ended <= fact.end):
                return None
            charge = rest_of(plan, charge, fact.end)
            key, revision = charge.key, 0
            continue
        revision += 1
        key = f"{charge.key}/r{revision}"
    charge.key = key
    return charge


def _ends_early(plan: Timeline, charges: Sequence[Charge]) -> bool:
    """Whether a segment ends inside the time that new charges cover, so that some of it may have to be credited."""
    last = max((c.end for c in charges), default=None)
    return last is not None and any(s.end is not None and s.end < last for s in plan.segments)


def proposed_on(plan: Timeline, piece: Slice, until: datetime) -> list[Line]:
    """Return what `proposed` does, for a timeline that was drawn already."""
    known = {f.key: f for f in piece.facts}
    taken_back = {
        f.credits
        for f in piece.facts
        if f.credits is not None and f.credits in known and f.start <= known[f.credits].start
    }
    fresh: list[Charge] = []
    for charge in all_charges(plan, piece, until):
        if charge.created > until and charge.due > until:
            continue
        if known and charge.key in known:
            left = _unbilled(plan, charge, known, taken_back)
            if left is None:
                continue
            charge = left
        fresh.append(charge)
    price_charges(plan, piece, fresh)
    if piece.credited:
        forgive(plan, piece, fresh)
    tax_charges(plan, piece, [c for c in fresh if c.due <= until or c.is_pending])
    lines = [(line_of(plan, c), c.created) for c in fresh]
    if piece.facts or _ends_early(plan, fresh):
        debits = [line for line in piece.facts if line.kind == "charge"]
        debits += [line for line, _ in lines if line.kind == "charge"]
        lines += [(c, created) for c, created in credits_for(plan, piece, debits) if c.key not in known]
    ready = [line for line, _ in lines if line.due <= until]
    if ready:
        ready += [line for line, created in lines if line.is_pending and line.due > until and created <= until]
    return sorted(ready, key=lambda line: (line.order, line.start, line.kind == "charge", line.key))


def proposed(piece: Slice, until: datetime) -> list[Line]:
    """Return the lines that should exist up to *until* (local) and do not stand in the facts, in the order of an invoice."""
    return proposed_on(timeline(piece.contract, horizon=until), piece, until)


def _next_charge(
    plan: Timeline, piece: Slice, segment: Segment, after: datetime, known: AbstractSet[str]
) -> datetime | None:
    """Return when the segment's next charge after *after* falls due."""
    interval = segment.price.interval
    if interval is None or (segment.end is not None and segment.end <= after and segment.price.timing == "in_advance"):
        return None
    if plan.prebills or segment.cause.is_event or segment.is_free or _is_slow(segment):
        charges = charges_of(plan, segment, piece, None)
        return next((c.due for c in charges if c.due > after and c.key not in known), None)
    start, earliest = segment.charge_from, segment.cause.made if segment.cause.id else plan.entered
    if start <= after and earliest <= after:
        start = next_boundary(segment.anchor, interval, after)
    return max(start, earliest) if segment.end is None or start < segment.end else None


def next_due_on(plan: Timeline, piece: Slice, after: datetime) -> datetime | None:
    """Return what `next_due` does, for a timeline that was drawn already."""
    known = {f.key for f in piece.facts}
    found = [_next_charge(plan, piece, segment, after, known) for segment in plan.segments]
    causes = [c for s in plan.segments for c in (s.cause, s.ended_by) if c is not None and (c.id or c.is_event)]
    found += [next_invoice_after(plan, c.known) if c.pending else c.known for c in causes]
    found.extend(one_time_charge(plan, o, one_time_segment(o)).due for o in plan.one_times)
    if plan.term_end is not None and any(s.end is not None and s.end >= plan.term_end for s in plan.segments):
        found.append(plan.term_end)  # what runs until then goes on; a contract paused for good renews without a line
    return min((f for f in found if f is not None and f > after), default=None)


def _is_slow(segment: Segment) -> bool:
    return segment.price.timing == "in_arrears" or segment.price.usage_type == "metered"


def next_due(piece: Slice, after: datetime) -> datetime | None:
    """Return when the next line may become due after *after* (local); None: never again. It may be a date with nothing to bill."""
    return next_due_on(timeline(piece.contract, horizon=after), piece, after)


def window_start(
    contract: Contract, billed_until: datetime | None, new_changes: tuple[Change, ...] = ()
) -> datetime | None:
    """Return where the window of a billing run begins: facts that end after it must be loaded (decision D-10).

    billed_until - the contract's next due instant (local): all lines due before it were billed. None: load everything.
    """
    if billed_until is None:
        return None
    terms = contract.terms
    if not contract.changes and not new_changes and _is_plain(contract):
        return billed_until if billed_until > terms.start else billed_until - MICROSECOND
    starts = [billed_until, *(at for c in new_changes for at in _touched(contract, c, billed_until))]
    new = {c.id for c in new_changes}
    old = replace(contract, changes=tuple(c for c in contract.changes if c.id not in new))
    # what waited for an invoice as things stood is billed now where a new change ends the contract before that invoice
    plan = timeline(contract, horizon=billed_until)
    starts += _unfinished(plan, billed_until)
    if new:
        before = timeline(old, horizon=billed_until)
        starts += [*_unfinished(before, billed_until), *_parted(before, plan)]
    return min(starts).replace(hour=0, minute=0, second=0, microsecond=0) - MICROSECOND


def _unfinished(plan: Timeline, billed_until: datetime) -> list[datetime]:
    """Return where what is still to be billed begins: what changes asked for and waits for an invoice, and open periods."""
    starts: list[datetime] = []
    for segment in plan.segments:
        causes = [c for c in (segment.cause, segment.ended_by) if c is not None]
        starts += [
            c.at for c in causes if (next_invoice_after(plan, c.known) if c.pending else c.known) >= billed_until
        ]
        if segment.price.interval is not None and segment.start <= billed_until:
            starts += _open_periods(segment, segment.price.interval, billed_until)
    starts += [
        o.at
        for o in plan.one_times
        if o.cause.pending and next_invoice_after(plan, max(o.at, o.cause.known)) >= billed_until
    ]
    return starts


def _parted(before: Timeline, plan: Timeline) -> list[datetime]:
    """Return where two drawings part: a late renewal may move those after it, and what they billed is given back."""
    starts: list[datetime] = []
    old, new = ({(s.item.id, s.start, s.cause.id): s.end for s in p.segments} for p in (before, plan))
    for key in old.keys() | new.keys():
        if key not in old or key not in new:
            starts.append(key[1])
        elif old[key] != new[key]:
            starts.append(min(end for end in (old[key], new[key]) if end is not None))
    return starts


def _touched(contract: Contract, change: Change, billed_until: datetime) -> list[datetime]:
    """Return where a change that is made or taken back does something: a renewal reaches back to the end of the term."""
    others = tuple(c for c in contract.changes if c.id != change.id)
    plan = timeline(replace(contract, changes=(*others, change)), horizon=billed_until)
    causes = (c for s in plan.segments for c in (s.cause, s.ended_by) if c is not None)
    return [to_local(change.effective, contract.terms.timezone), *(c.at for c in causes if c.id == change.id)]


def _open_periods(segment: Segment, interval: Interval, billed_until: datetime) -> list[datetime]:
    """Return where the period begins that is being billed; of an ended segment, if it is billed after its end."""
    last = billed_until if segment.end is None else min(billed_until, segment.end)
    k = index(segment.anchor, interval, last - MICROSECOND)
    if last < billed_until and not (_is_slow(segment) and boundary(segment.anchor, interval, k + 1) >= billed_until):
        return []
    return [boundary(segment.anchor, interval, k)]


def _is_plain(contract: Contract) -> bool:
    phases = contract.terms.phases
    if len(phases) != 1 or contract.terms.prebill is not None or contract.terms.trial_end is not None:
        return False
    items = phases[0].items
    return all(
        i.price.timing == "in_advance"
        and i.price.usage_type == "licensed"
        and i.trial is None
        and (i.price.interval is not None or i.start is None)
        for i in items
    ) and all(i.start is None for i in phases[0].add_invoice_items)


def priced_charges(piece: Slice) -> list[Line]:
    """Return the first charge of every item, priced, discounted and taxed, whenever it falls due."""
    plan = timeline(piece.contract)
    first = [c for c in (next(charges_of(plan, s, piece, None), None) for s in plan.segments) if c is not None]
    price_charges(plan, piece, first)
    tax_charges(plan, piece, first)
    return [line_of(plan, c) for c in first]


def contract_status(contract: Contract, on: datetime, *, has_overdue: bool) -> str:
    """Return the contract's status word on *on* (local): withdrawn, scheduled, trialing, active, past_due, paused, canceled, completed."""
    if contract.withdrawn:
        return "withdrawn"
    plan = timeline(contract, horizon=on)
    if on < contract.terms.start:
        return "scheduled"
    if plan.end is not None and plan.end <= on:
        kinds = {c.id: c for c in contract.changes}
        cause = kinds.get(plan.ended_by.id) if plan.ended_by is not None else None
        is_cancel = cause is not None and ((cause.kind == "cancel" and cause.when != "term_end") or cause.is_delta_order)
        return "canceled" if is_cancel else "completed"
    if any(start <= on and (end is None or on < end) for start, end, _ in plan.pauses):
        return "paused"
    running = [s for s in plan.segments if s.start <= on and (s.end is None or on < s.end)]
    if running and all(s.is_free or (s.price is not s.item.price and s.full[0] == 0) for s in running):
        return "trialing"
    return "past_due" if has_overdue else "active"
