"""Which items share a subscription: everything whose periods fit one rhythm, and nothing that would bill less by itself there.

An item stays in the subscription in which it was sent. A new one joins the first whose shortest interval divides its own, if every
period that both had apart is billed there too; else it gets a subscription of its own. Where a subscription has nothing to bill
for a while it ends, and the rest of its claims make another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, timedelta

from connector.billing.stripe_backend.compiling.days import day_ahead, midnight, moment, noon, time_of
from connector.billing.stripe_backend.compiling.outlook import Claim, Outlook, days_long
from connector.billing.stripe_backend.compiling.phases import (
    Entry,
    Laid,
    Layout,
    Standing,
    Strand,
    cut_short,
    is_on_grid,
    natural_end,
)
from connector.billing.stripe_backend.compiling.prices import Shown, event_name, shown
from connector.billing.stripe_backend.steps import HeldGroup, HeldPhase
from connector.core.money import quotient
from connector.core.period import Interval, boundary, days_of, index, months_of
from connector.core.segments import Segment

MOST_ITEMS = 20
_MOST_GROUPS = 40


@dataclass(slots=True, kw_only=True, eq=False)
class Group:
    """A subscription as it is to be. held - as it was sent; how - new ones begin today, in future, or in the past without a charge.

    ahead_to - it bills the periods up to then with its first invoice, by itself (see `ahead`).
    """

    name: str
    at_time: str
    floor: date
    how: str = "running"
    held: HeldGroup | None = None
    standing: Standing | None = None
    strands: list[Strand] = field(default_factory=list)
    laid: Laid = field(default_factory=Laid)
    ahead_to: date | None = None

    @property
    def interval(self) -> Interval:
        """Return its shortest interval."""
        return min([s.interval for s in self.strands], key=days_long)


def is_over(group: HeldGroup, outlook: Outlook) -> bool:
    """Whether a subscription has ended, or was called off before it began."""
    if not group.phases or group.is_over or group.gone is not None:
        return True
    last = group.phases[-1]
    return group.ends_with == "cancel" and last.end is not None and moment(last.end, group.at_time) <= outlook.wanted.now


def has_begun(group: HeldGroup, outlook: Outlook) -> bool:
    """Whether the first phase of a subscription has begun."""
    return bool(group.phases) and moment(group.phases[0].began or group.phases[0].start, group.at_time) <= outlook.wanted.now


def current_phase(group: HeldGroup, outlook: Outlook) -> HeldPhase | None:
    """Return the phase that runs now at Stripe."""
    begun = [p for p in group.phases if moment(p.began or p.start, group.at_time) <= outlook.wanted.now]
    return begun[-1] if begun else None


def strands_of(outlook: Outlook, claims: Sequence[Claim] | None = None) -> list[Strand]:
    """Return what can go into subscriptions: each item in each interval, in their order."""
    found: dict[tuple[str, Interval], list[Claim]] = {}
    for claim in outlook.claims if claims is None else claims:
        found.setdefault((claim.item.id, claim.interval), []).append(claim)
    strands = [_strand(outlook, key, claims) for key, claims in found.items()]
    return sorted(strands, key=lambda s: (days_long(s.interval), s.number))


def _strand(outlook: Outlook, key: tuple[str, Interval], claims: Sequence[Claim]) -> Strand:
    number = min([c.segment.number for c in claims], default=0)
    end = outlook.end_of(*key)
    return Strand(item_id=key[0], interval=key[1], number=number, claims=tuple(claims), end=end.date() if end is not None else None)


def grouped(outlook: Outlook, *, leaving: str = "") -> list[Group]:
    """Return the subscriptions that a contract needs, laid out; those that run already first. leaving - the name of one that ends now."""
    held = outlook.wanted.held.groups if outlook.wanted.held else ()
    groups = [_held_group(outlook, g) for g in held if not is_over(g, outlook) and g.name != leaving]
    names = {g.name for g in outlook.wanted.held.groups} if outlook.wanted.held else set()
    rest = []
    lost = {key for g in (outlook.wanted.held.groups if outlook.wanted.held else ()) if g.gone is not None for key in members(g)}
    for strand in strands_of(outlook):
        if strand.key in lost:  # somebody ended what billed it: nothing takes its place by itself
            continue
        homes = [g for g in groups if g.held is not None and strand.key in members(g.held)]
        for home, part in _shared_out(strand, homes):
            home.strands.append(part)
        if not homes:
            rest.append(strand)
    for group in groups:
        _fill(outlook, group)
        group.laid = _lay(outlook, group, group.strands)
        _begin_later(outlook, group)
    for strand in rest:
        _place(outlook, strand, groups, names)
    for group in groups:  # grows while it is walked
        _begin_later(outlook, group)
        left = [_later(s, group.laid.end) for s in group.strands if group.laid.end is not None]
        for strand in [s for s in left if s.claims]:
            if len(groups) < _MOST_GROUPS:
                _place(outlook, strand, groups, names, is_rest=True)
    return _on_boundaries(outlook, groups)


def _begin_later(outlook: Outlook, group: Group) -> None:
    """Leave out of a subscription that was sent, and has not begun, what comes before a gap and would be taken out whole: it was made for the rest."""
    for _ in range(_MOST_GROUPS):
        if group.held is None or group.standing is not None or group.laid.end is None:
            return
        ended = replace(group)
        _end_on_boundaries(outlook, ended)
        rest = [later for s in group.strands if (later := _later(s, group.laid.end)).claims]
        if ended.laid.stretches or not rest:
            return
        group.strands = rest
        group.laid = _lay(outlook, group, rest)


def _on_boundaries(outlook: Outlook, groups: Sequence[Group]) -> list[Group]:
    """Return the subscriptions that bill or run, each ending where a period of what it bills ends; none is made that would bill nothing."""
    for group in groups:
        _end_on_boundaries(outlook, group)
    return [g for g in groups if g.held is not None or (g.laid.stretches and g.laid.taken)]


def _end_on_boundaries(outlook: Outlook, group: Group) -> None:
    """Take out of a subscription what it would bill of a period inside which it ends; it bills nothing else instead."""
    ours = frozenset(c.line.key for s in group.strands for c in s.claims if c.line.key not in group.laid.taken)
    while cut := cut_short(group.laid) - ours:
        ours |= cut
        group.laid = _lay(outlook, group, group.strands, ours)
        if group.held is None and group.how == "today" and group.laid.stretches and group.laid.stretches[0].start > outlook.today:
            group.how, group.at_time = "future", noon(outlook.wanted.contract.terms.timezone)
            group.floor = day_ahead(outlook.wanted.now, group.at_time)
            group.laid = _lay(outlook, group, group.strands, ours)


def _shared_out(strand: Strand, homes: Sequence[Group]) -> Iterator[tuple[Group, Strand]]:
    """Yield what of a strand belongs to each subscription that it was sent in: what begins before the next of them does.

    Several hold one strand where nothing of it was to be billed for a while.
    """
    begun = sorted(((_first_day(home, strand), number, home) for number, home in enumerate(homes)), key=lambda b: b[:2])
    for at, (_, _, home) in enumerate(begun):
        since = begun[at][0] if at else date.min
        until = begun[at + 1][0] if at + 1 < len(begun) else date.max
        claims = tuple(c for c in strand.claims if since <= c.start < until)
        if claims or at + 1 == len(begun):
            yield home, replace(strand, claims=claims)


def _first_day(group: Group, strand: Strand) -> date:
    """Return the first day on which a strand stood in a subscription that was sent."""
    phases = group.held.phases if group.held is not None else ()
    return min(p.began or p.start for p in phases if any((i.item_id, i.interval) == strand.key for i in p.items))


def _later(strand: Strand, since: date | None) -> Strand:
    claims = tuple(c for c in strand.claims if since is not None and c.start >= since)
    return Strand(item_id=strand.item_id, interval=strand.interval, number=strand.number, claims=claims, end=strand.end)


def members(group: HeldGroup) -> set[tuple[str, Interval]]:
    """Return which items in which intervals were sent in a subscription."""
    return {(i.item_id, i.interval) for p in group.phases for i in p.items if i.interval is not None}


def _held_group(outlook: Outlook, held: HeldGroup) -> Group:
    floor = day_ahead(outlook.wanted.now, held.at_time)
    phase = current_phase(held, outlook)
    standing = None
    if phase is not None:
        entries = [
            Entry(
                item_id=i.item_id, shown=Shown(key=i.price, quantity=None if i.quantity is None else int(i.quantity)),
                interval=i.interval or held.interval, end=i.end, until=i.end, is_metered=i.is_metered, coupons=i.coupons, rates=i.rates,
            )
            for i in phase.items
        ]  # fmt: skip
        standing = Standing(
            start=phase.began or phase.start, anchor=phase.anchor or held.anchor, entries=tuple(entries), is_trial=phase.kind == "trial"
        )
    return Group(name=held.name, at_time=held.at_time, floor=floor, held=held, standing=standing, how="running" if standing else "future")


def _fill(outlook: Outlook, group: Group) -> None:
    """Give a running group strands for what stands in it and will not be charged any more."""
    known = {s.item_id for s in group.strands}
    for entry in group.standing.entries if group.standing else ():
        if entry.item_id not in known:
            group.strands.append(_strand(outlook, (entry.item_id, entry.interval), ()))


def _keys(group: Group) -> dict[str, list[str]]:
    """Return which items use which price already, in order: the second of two gets a copy of it."""
    found: dict[str, list[str]] = {}
    for phase in group.held.phases if group.held else ():
        for item in phase.items:
            base, _, number = item.price[3:].partition("_")
            users = found.setdefault(f"cn_{base}", [])
            place = int(number) - 1 if number.isdigit() else 0
            if item.item_id not in users:
                users.extend([""] * (place + 1 - len(users)))
                users[place] = item.item_id
    return found


def own_key(group: Group, item_id: str, found: Shown) -> Shown:
    """Return a price under the key that an item may use in a running subscription: no two items use the same."""
    users = _keys(group).get(found.key, [])
    number = users.index(item_id) if item_id in users else len(users)
    return found.again(number + 1) if number else found


def _lay(outlook: Outlook, group: Group, strands: Sequence[Strand], ours: frozenset[str] = frozenset()) -> Laid:
    return Layout(outlook, strands, floor=group.floor, standing=group.standing, keys=_keys(group), ours=ours).lay()


def _place(outlook: Outlook, strand: Strand, groups: list[Group], names: set[str], *, is_rest: bool = False) -> None:
    """Put a strand where it is billed whole: into a subscription that is there, or into one of its own; *is_rest*: what another one left of it."""
    alone = _new_group(outlook, strand, is_rest=is_rest)
    if alone is None:
        return
    for group in groups:
        if _may_join(group, strand, alone):
            before = group.standing
            group.standing = _together(before, alone.standing, group)
            laid = _lay(outlook, group, [*group.strands, strand])
            if _is_whole(group, strand, alone, laid):
                group.strands.append(strand)
                group.laid = laid
                return
            group.standing = before
    alone.name = name_for(strand.interval, names)
    names.add(alone.name)
    groups.append(alone)


def _may_join(group: Group, strand: Strand, alone: Group) -> bool:
    is_alike = (group.how, group.floor, group.standing is None) == (alone.how, alone.floor, alone.standing is None)
    if group.held is None and not is_alike and alone.how != "future":  # what begins later is a later phase
        return False
    if group.held is None and group.standing is not None and _together(group.standing, alone.standing, group) is None:
        return False
    if any(s.item_id == strand.item_id for s in group.strands) or not group.strands:
        return False
    return _divides(group.interval, strand.interval)


def _together(a: Standing | None, b: Standing | None, group: Group) -> Standing | None:
    """Return where two that begin in the past could begin as one, None where no day fits both; a running one stays as it is."""
    if group.held is not None or a is None or b is None:
        return a
    early, late = sorted((a, b), key=lambda s: s.start)
    if a.is_trial != b.is_trial or (a.is_trial and early.start != late.start):
        return None
    interval = min((e.interval for e in late.entries), key=days_long)
    if early.start != late.start and (late is b or not is_on_grid(late.anchor, interval, early.start)):
        return None
    return Standing(start=early.start, anchor=early.anchor, entries=(*a.entries, *b.entries), is_trial=a.is_trial)


def _divides(a: Interval, b: Interval) -> bool:
    months, others = months_of(a), months_of(b)
    if months and others:
        return others % months == 0
    return not months and not others and days_of(b) % days_of(a) == 0


def _is_whole(group: Group, strand: Strand, alone: Group, laid: Laid) -> bool:
    wanted = set(group.laid.taken)
    own = alone.laid.taken.values() if group.standing is None else (c for c in strand.claims if c.start >= group.floor and _is_regular(c))
    wanted |= {c.line.key for c in own}
    return wanted <= set(laid.taken) and all(len(s.entries) <= MOST_ITEMS for s in laid.stretches)


def _is_regular(claim: Claim) -> bool:
    """Whether a claim is a whole period that no change made."""
    anchor = claim.segment.anchor.date()
    return not claim.is_loose and is_on_grid(anchor, claim.interval, claim.start) and claim.end == natural_end(anchor, claim.interval, claim.start)


def name_for(interval: Interval, names: Iterable[str]) -> str:
    """Return a name for a subscription that none of *names* is."""
    base = interval.unit if interval.count == 1 else f"{interval.count}-{interval.unit}"
    number, name = 1, base
    while name in names:
        number += 1
        name = f"{base}-{number}"
    return name


# ---------------------------------------------------------------- where a new one begins


def _new_group(outlook: Outlook, strand: Strand, *, is_rest: bool) -> Group | None:
    """Return a subscription of its own for a strand, None where it would never bill anything; the rest of another one stands there already."""
    wanted, today = outlook.wanted, outlook.today
    usual = noon(wanted.contract.terms.timezone)
    running = outlook.running(strand.item_id, strand.interval)
    if any(c.start == today and c.segment.start.date() == today and not c.line.is_pending for c in strand.claims):
        at_time = time_of(wanted.now) if wanted.now.astimezone(UTC).date() == today else usual
        group = Group(name="", at_time=at_time, floor=today, how="today", strands=[strand])
    elif running is not None and not is_rest:
        group = _from_the_past(outlook, strand, running, usual)
    else:
        group = Group(name="", at_time=usual, floor=day_ahead(wanted.now, usual), how="future", strands=[strand])
    group.laid = _lay(outlook, group, group.strands)
    if group.standing is not None and not group.laid.taken and any(c.start >= group.floor for c in strand.claims):
        group = Group(name="", at_time=usual, floor=group.floor, how="future", strands=[strand])  # what runs is billed to the end already
        group.laid = _lay(outlook, group, group.strands)
    return group if group.laid.taken and group.laid.stretches else None


def _from_the_past(outlook: Outlook, strand: Strand, running: Segment, at_time: str) -> Group:
    """Return a subscription that stands in the middle of a period which is not billed there: it begins with that period."""
    floor = day_ahead(outlook.wanted.now, at_time)
    group = Group(name="", at_time=at_time, floor=floor, how="past", strands=[strand])
    start = _latest_boundary(running, min(outlook.today, floor - timedelta(days=1)))
    chain = running
    while chain.previous is not None:
        chain = chain.previous
    start = max(start, chain.start.date())
    if start >= floor:
        group.how = "future"
        return group
    is_metered = running.price.usage_type == "metered"
    event = event_name(outlook.wanted.contract.id, running.item.id) if is_metered else ""
    amount = quotient(*running.full)
    one = shown(running.price, running.item.quantity, amount, currency=outlook.currency, interval=strand.interval, event=event, automatic_tax=outlook.wanted.automatic_tax)
    end = None
    if running.is_free:
        end = next((c.end for c in strand.claims if c.is_free and c.start < floor), None)
    entry = Entry(item_id=strand.item_id, shown=one, interval=strand.interval, end=end, until=end, is_metered=is_metered)
    group.standing = Standing(start=start, anchor=start, entries=(entry,), is_trial=end is not None)
    return group


def _latest_boundary(segment: Segment, today: date) -> date:
    """Return the last day up to today on which a period begins and that keeps the anchor's day of the month."""
    interval, anchor = segment.price.interval, segment.anchor
    assert interval is not None
    k = index(anchor, interval, midnight(today) + timedelta(hours=23))
    for back in range(12):
        found = boundary(anchor, interval, k - back)
        if not months_of(interval) or found.day == anchor.day:
            return found.date()
    return boundary(anchor, interval, k).date()
