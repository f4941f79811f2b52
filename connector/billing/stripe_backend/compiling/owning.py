"""Who bills a line: Stripe, because a phase that was sent covers its period, or we ourselves.

The one definition for whoever sends lines and whoever reads them back. A line is Stripe's where a period of its item begins on
its day in a phase that was sent for that day, ends where that period ends there, and fell due with it; and where it was left to
Stripe's own proration (`leaving`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta

from connector.billing.stripe_backend.compiling.days import midnight, moment
from connector.billing.stripe_backend.compiling.groups import members
from connector.billing.stripe_backend.compiling.outlook import AHEAD_DAYS, Outlook
from connector.billing.stripe_backend.compiling.phases import natural_end
from connector.billing.stripe_backend.compiling.wanted import Wanted
from connector.billing.stripe_backend.steps import Held, HeldGroup, HeldItem, HeldPhase, Left
from connector.core.lines import Line
from connector.core.period import Interval, is_boundary, to_utc
from connector.core.schedule import timeline

MARGIN = timedelta(minutes=10)
LONGEST = timedelta(days=3)
"""So long a change waits for an invoice of Stripe's; then it is told that the invoice is missing (`reading.missing`), and nothing waits for it."""


def is_stripes(held: Held | None, line: Line) -> bool:
    """Whether Stripe bills (or billed) a line by itself."""
    return home_of(held, line) is not None


def home_of(held: Held | None, line: Line) -> tuple[HeldGroup, HeldPhase] | None:
    """Return the subscription and the phase that bill a line, None where it is ours."""
    for group in held.groups if held is not None else ():
        if group.phases and left_of(group, line.key) is not None:
            return group, group.phases[-1]
        for phase in group.phases:
            if line.key in phase.once:
                return group, phase
            item = next((i for i in phase.items if i.item_id == line.item_id), None)
            if item is not None and line.kind == "charge" and _is_billed(group, phase, item, line):
                return group, phase
    return None


def left_of(group: HeldGroup, key: str) -> Left | None:
    """Return what was said of a line that was left to Stripe's own proration, None of any other."""
    return next((left for left in group.left if left.key == key), None)


def is_left(held: Held, key: str) -> bool:
    """Whether a line was left to Stripe's own proration."""
    return any(left_of(group, key) is not None for group in held.groups)


def _is_billed(group: HeldGroup, phase: HeldPhase, item: HeldItem, line: Line) -> bool:
    day, end = line.start.date(), line.end.date()
    if day < phase.start or (phase.end is not None and day >= phase.end):
        return False
    anchor, interval = phase.anchor or group.anchor, item.interval or group.interval
    from_day = group.bills_from or group.phases[0].start
    if phase.kind == "trial":
        return line.amount == 0 and end == item.end and day >= from_day
    if item.is_metered:
        return end >= from_day and _is_on_time(anchor, interval, day, end)
    if day < from_day or (line.is_proration and day < group.since and day != from_day):
        return False
    if "/charge/r" in line.key and day < group.since:
        return False  # billed anew: what Stripe billed for that day was given back
    if line.is_pending or (line.due.date() != day and not _is_ahead(group, line)):
        return False
    is_start = is_boundary(midnight(anchor), interval, midnight(day))
    return is_start and end == (item.end or natural_end(anchor, interval, day))


def _is_on_time(anchor: date, interval: Interval, day: date, end: date) -> bool:
    return is_boundary(midnight(anchor), interval, midnight(day)) and end <= natural_end(anchor, interval, day)


def is_counted(held: Held, item_id: str, day: date, end: date) -> bool:
    """Whether Stripe bills the use of an item in `[day, end)`: a period that begins where one begins there."""
    for group in held.groups:
        for phase in group.phases:
            is_there = any(i.item_id == item_id and i.is_metered for i in phase.items) and phase.start <= day
            if is_there and (phase.end is None or day < phase.end):
                interval = next(i.interval for i in phase.items if i.item_id == item_id) or group.interval
                return _is_on_time(phase.anchor or group.anchor, interval, day, end)
    return False


def is_billed_ahead(held: Held | None, line: Line) -> bool:
    """Whether a line was billed by Stripe before its period begins."""
    home = home_of(held, line)
    return home is not None and _is_ahead(home[0], line)


def _is_ahead(group: HeldGroup, line: Line) -> bool:
    """Whether a line is billed with the first invoice of a subscription that bills ahead by itself."""
    if group.ahead_to is None or line.change_id:
        return False
    return line.due.date() == group.phases[0].start <= line.start.date() < group.ahead_to


def instant_billed(held: Held, line: Line) -> datetime | None:
    """Return when Stripe bills a line: where its period begins, usage where it ends; None where it is ours, or a part left to Stripe."""
    home = home_of(held, line)
    if home is None or left_of(home[0], line.key) is not None:
        return None
    group, phase = home
    item = next((i for i in phase.items if i.item_id == line.item_id), None)
    day = line.end.date() if item is not None and item.is_metered else line.start.date()
    return moment(group.phases[0].start if _is_ahead(group, line) else day, group.at_time)


def own_lines(wanted: Wanted, held: Held | None) -> list[Line]:
    """Return the lines that are to be billed by ourselves now: neither facts nor sent; nothing that adds nothing."""
    return own_of(Outlook(wanted), held)


def own_of(outlook: Outlook, held: Held | None) -> list[Line]:
    """Return what `own_lines` does, of an outlook that was drawn already."""
    billed = outlook.billed
    left = {x.key for g in held.groups for x in g.left} if held is not None else set()
    ended = {key: g.gone for g in held.groups if g.gone is not None and not g.is_over for key in members(g)} if held is not None else {}

    def is_ours(line: Line) -> bool:
        return line.key not in left and (not is_stripes(held, line) or (line.kind == "charge" and (line.item_id, line.start) in billed))

    def is_ended(line: Line) -> bool:  # somebody ended what billed it: nothing takes its place by itself
        segment = outlook.segment_of(line) if ended and line.kind == "charge" else None
        since = ended.get((line.item_id, segment.price.interval)) if segment is not None and segment.price.interval is not None else None
        return since is not None and line.start.date() >= since

    return [line for line in outlook.due if line.amount and is_ours(line) and not is_ended(line)]


def waiting_items(wanted: Wanted) -> list[Line]:
    """Return the lines that wait for the next invoice as items of ours; an invoice of Stripe's that is due has taken them, though nobody may have read it."""
    waiting = [line for key, line in wanted.sent.items() if line.is_pending and wanted.items.get(key, "").startswith("ii_")]
    return [line for line in waiting if line.due > wanted.local or not _bills_on(wanted.held, line.due.date())]


def _bills_on(held: Held | None, day: date) -> bool:
    """Whether Stripe makes an invoice on *day* by itself: a period begins on it."""
    there = [(g, p) for g in held.groups for p in g.phases if p.start <= day and (p.end is None or day < p.end)] if held is not None else []
    return any(is_boundary(midnight(p.anchor or g.anchor), i.interval or g.interval, midnight(day)) for g, p in there for i in p.items)


def missed_of(outlook: Outlook, held: Held, lines: Iterable[Line]) -> list[Line]:
    """Return which of *lines* are to wait for an invoice that Stripe has made by now, while nobody was there to put them on it.

    On the internal engine they are on it, because their change counted when it was made.
    """
    waiting = [line for line in lines if line.is_pending]
    if not waiting:
        return []
    billed = []
    for line in (*outlook.piece.facts, *outlook.lines):
        at = instant_billed(held, line) if line.kind == "charge" and line.amount and not line.is_pending else None
        if at is not None and at <= outlook.wanted.now:
            billed.append(line.due)
    last = max(billed, default=None)
    return [line for line in waiting if last is not None and (since := _counts_since(outlook, line)) is not None and since <= last]


def _counts_since(outlook: Outlook, line: Line) -> datetime | None:
    """Return since when a change counts that makes a line: from its day on, and not before it was made."""
    causes = [c for s in outlook.plan.segments for c in (s.cause, s.ended_by) if c is not None and c.pending]
    return max((c.known for c in causes if c.id == line.change_id and c.at <= line.start), default=None)


def put_back(wanted: Wanted) -> set[str]:
    """Return the lines that wait no more, because the contract ends before the invoice for which they wait; on the internal engine nothing of them is billed yet.

    So they are counted anew: an end that was known when they are billed cuts them, and one before their change leaves nothing of them.
    """
    waiting = waiting_items(wanted)
    if not waiting:
        return set()
    end = timeline(wanted.contract, horizon=wanted.local).end
    is_first = end is not None and end < max(line.due for line in waiting)
    return {line.key for line in waiting} if is_first or wanted.contract.withdrawn else set()


def expected(wanted: Wanted, held: Held, day: date) -> list[Line]:
    """Return the core lines that Stripe bills on a civil day and that are no facts yet."""
    outlook = Outlook(wanted)
    found = []
    for line in outlook.lines:
        at = instant_billed(held, line)
        if at is not None and at.date() == day:
            found.append(line)
    return found


def unread(wanted: Wanted) -> bool:
    """Whether Stripe billed something by now, or does within minutes, that is no fact yet; the contract as it was sent.

    What has not come for days is not waited for any more.
    """
    return any(at >= wanted.now - LONGEST for at in _awaited(wanted))


def missing(wanted: Wanted) -> date | None:
    """Return the first day on which Stripe should have billed something that has not come for days, None for none."""
    return min((at.date() for at in _awaited(wanted) if at < wanted.now - LONGEST), default=None)


def _awaited(wanted: Wanted) -> Iterator[datetime]:
    """Yield when Stripe billed, or bills within minutes, what is no fact yet; nothing of what somebody ended there before."""
    held = wanted.held
    if held is None:
        return
    until, outlook = wanted.now + MARGIN, Outlook(wanted)
    for line in outlook.lines:
        home = home_of(held, line) if line.amount and (line.item_id, line.start) not in outlook.billed else None
        at = instant_billed(held, line) if home is not None else None
        if home is not None and at is not None and at <= until and (home[0].gone is None or at.date() < home[0].gone):
            yield at


def next_own(wanted: Wanted, held: Held | None) -> datetime | None:
    """Return when the run must look again: the next line of our own, the next pause, more phases, the next term; None: never.

    It is now, where lines of our own are due and neither facts nor sent.
    """
    outlook = Outlook(wanted)
    if any(line.due <= outlook.local for line in own_of(outlook, held)):
        return wanted.now
    found = _instants(outlook, held)
    zone = wanted.contract.terms.timezone
    later = [to_utc(at, zone) for at in found if at > outlook.local]
    return min(later, default=None)


def _instants(outlook: Outlook, held: Held | None) -> Iterable[datetime]:
    for line in outlook.lines:
        if line.amount and not is_stripes(held, line):
            yield from (line.due, line.start) if line.is_pending else (line.due,)
    plan = outlook.plan
    known = [at for start, end, _ in plan.pauses for at in (start, end) if at is not None]
    yield from (at - before for at in known for before in (timedelta(days=1), timedelta()))
    if plan.end is not None:
        yield plan.end
    if plan.term_end is not None:
        yield from (plan.term_end - timedelta(days=AHEAD_DAYS - 10), plan.term_end)
    for group in held.groups if held is not None else ():
        if group.ends_with == "release" and group.phases and group.phases[-1].end is not None:
            yield midnight(group.phases[-1].end - timedelta(days=40))
