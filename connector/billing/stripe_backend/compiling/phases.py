"""From claims to phases: what stands in a subscription from which day to which, so that Stripe bills the claims and nothing else.

Phases change where periods begin, never inside one, so nothing is ever prorated by a phase; from the day on which a change counts
the running phase shows it, too. At each boundary an item that the engine charges there stands in the phase, one that it does not
charge has left it. A part of a period (the first before the anchor, the last before a known end) is a price of its own, billed
once. A period that begins off the rhythm lets the rhythm begin anew there, if everything that runs is charged there; else that
claim is left to ourselves. Whatever is not taken here is billed by our own items, so no case is lost, only less of it is Stripe's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from connector.billing.stripe_backend.compiling.days import midnight
from connector.billing.stripe_backend.compiling.discounts import Cut, line_cuts, shared_cuts
from connector.billing.stripe_backend.compiling.outlook import MOST_DAYS, Claim, Outlook, days_long
from connector.billing.stripe_backend.compiling.people import rate_key
from connector.billing.stripe_backend.compiling.prices import Shown, event_name, flat, shown
from connector.core.money import quotient
from connector.core.period import Interval, is_boundary, next_boundary
from connector.core.terms import TaxRate


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An item in a phase. *coupons* and *rates* by id and key; *cuts*, *taxes*: those of them that may have to be made. end - its coverage ends there, not where its interval says (None); until - where its coverage ends at all."""

    item_id: str
    shown: Shown
    interval: Interval
    coupons: tuple[str, ...] = ()
    rates: tuple[str, ...] = ()
    cuts: tuple[Cut, ...] = field(default=(), compare=False)
    taxes: tuple[TaxRate, ...] = field(default=(), compare=False)
    end: date | None = None
    until: date | None = None
    is_metered: bool = False

    @property
    def content(self) -> tuple[object, ...]:
        """Return what makes another phase of it."""
        return (self.item_id, self.shown.key, self.shown.quantity, self.coupons, self.rates, self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A phase before it is sent. anchor - of its periods; is_new_cycle - they begin anew with it."""

    start: date
    entries: tuple[Entry, ...]
    coupons: tuple[Cut, ...] = ()
    anchor: date
    is_new_cycle: bool = False
    is_trial: bool = False

    @property
    def content(self) -> tuple[object, ...]:
        """Return what makes another phase of it."""
        return (tuple(e.content for e in self.entries), self.coupons, self.anchor, self.is_trial)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strand:
    """One item in one interval: what goes into one subscription. number - its place in the contract."""

    item_id: str
    interval: Interval
    number: int
    claims: tuple[Claim, ...]
    end: date | None

    @property
    def key(self) -> tuple[str, Interval]:
        """Return its identity."""
        return self.item_id, self.interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a subscription stands before the first day that can still be told otherwise: of a running one, what was sent."""

    start: date
    anchor: date
    entries: tuple[Entry, ...] = ()
    is_trial: bool = False


@dataclass(slots=True, kw_only=True)
class Laid:
    """The phases of one subscription, its end (None: it runs on) and the claims that it bills."""

    stretches: list[Stretch] = field(default_factory=list)
    end: date | None = None
    taken: dict[str, Claim] = field(default_factory=dict)


def cut_short(laid: Laid) -> frozenset[str]:
    """Return the charges of periods inside which a subscription ends, whole or in part: Stripe prorates those, whatever it is told (D-221)."""
    end = laid.end
    if end is None:
        return frozenset()
    parts = {e.item_id for s in laid.stretches for e in s.entries if e.end == end}
    charged = [c for c in laid.taken.values() if not c.is_free and not c.is_metered]
    return frozenset(c.line.key for c in charged if c.end > end or (c.end == end and c.item.id in parts))


def natural_end(anchor: date, interval: Interval, day: date) -> date:
    """Return where the period ends that begins on *day*."""
    return next_boundary(midnight(anchor), interval, midnight(day)).date()


def is_on_grid(anchor: date, interval: Interval, day: date) -> bool:
    """Whether a period begins on *day*."""
    return is_boundary(midnight(anchor), interval, midnight(day))


class Layout:
    """The laying of one subscription's phases, from *floor* on, the first day whose boundary can still be told otherwise."""

    def __init__(
        self, outlook: Outlook, strands: Sequence[Strand], *, floor: date, standing: Standing | None, keys: Mapping[str, list[str]], ours: frozenset[str] = frozenset()
    ) -> None:  # fmt: skip
        self.outlook, self.floor, self.standing, self.ours = outlook, floor, standing, ours
        self.strands = sorted(strands, key=lambda s: s.number)
        self.keys = {key: list(items) for key, items in keys.items()}
        self.entries: dict[str, Entry] = {e.item_id: e for e in standing.entries} if standing else {}
        self.anchor = standing.anchor if standing else None
        self.is_trial = standing.is_trial if standing else False
        self.coupons: tuple[Cut, ...] = ()
        self.laid = Laid(end=self._end())
        self.order = {s.item_id: s.number for s in self.strands}

    def _end(self) -> date | None:
        ends = [s.end for s in self.strands]
        return None if any(e is None for e in ends) or not ends else max(e for e in ends if e is not None)

    def lay(self) -> Laid:
        """Return the phases."""
        claims = [c for s in self.strands for c in s.claims if c.start >= self.floor and c.line.key not in self.ours]
        self._running_trials()
        if self.standing is not None:
            self._use_on_its_way()
            self._open(self.standing.start, is_new_cycle=False)
        days = {d for c in claims for d in (c.start, c.end)} | {max(e.until, self.floor) for e in self.entries.values() if e.until is not None}
        if self.anchor is not None:
            before = max(self.anchor, self.floor - timedelta(days=1))
            days |= {natural_end(self.anchor, e.interval, before) for e in self.entries.values() if not e.end}
        for day in sorted(days):
            if day < self.floor or (self.laid.end is not None and day >= self.laid.end):
                continue
            if self.outlook.is_unknown(day):
                break
            due = [c for c in claims if c.start == day]
            if (due or self.anchor is not None) and not self._turn(day, due):
                self.laid.end = day
                break
        self._show_now()
        return self.laid

    def _use_on_its_way(self) -> None:
        """Take the use of periods that run on the floor: it is billed when they end, because the item stands there since they began."""
        assert self.standing is not None
        here = {e.item_id for e in self.standing.entries if e.is_metered}
        for strand in self.strands:
            for claim in strand.claims:
                if claim.item.id in here and claim.is_metered and self.standing.start <= claim.start < self.floor <= claim.end:
                    self.laid.taken[claim.line.key] = claim

    def _running_trials(self) -> None:
        """Let trials that run on the floor end where they end now."""
        for strand in self.strands:
            for claim in strand.claims:
                if claim.is_free and claim.start < self.floor < claim.end and claim.item.id in self.entries:
                    self.entries[claim.item.id] = replace(self.entries[claim.item.id], end=claim.end, until=claim.end)
                    self.is_trial = True

    def _show_now(self) -> None:
        """Let the running phase show what the next one bills of what runs already; that charges nothing before the boundary."""
        found = self.laid.stretches
        if len(found) < 2 or found[0].start >= self.floor or found[1].is_new_cycle or found[0].is_trial or found[1].is_trial:
            return
        before = max(found[0].anchor, self.floor - timedelta(days=1))
        if any(natural_end(found[0].anchor, e.interval, before) < found[1].start for e in found[0].entries):
            return  # it bills once more before that
        now, then = found[0], {e.item_id: e for e in found[1].entries}
        entries = [self._shown_now(e, then.get(e.item_id)) for e in now.entries]
        here = {e.item_id for e in now.entries}
        entries += [e for e in then.values() if e.item_id not in here and not e.is_metered and self._runs(e, found[1].start)]
        kept = sorted([e for e in entries if e is not None], key=lambda e: self.order.get(e.item_id, 0))
        found[0] = replace(now, entries=tuple(kept) or now.entries, coupons=found[1].coupons)
        if found[0].content == found[1].content:
            del found[1]

    def _runs(self, entry: Entry, day: date) -> bool:
        """Whether what an item is billed at from *day* on runs already."""
        running = self.outlook.running(entry.item_id, entry.interval)
        claim = next((c for c in self.laid.taken.values() if c.item.id == entry.item_id and c.start == day), None)
        if running is None or claim is None or entry.end is not None:
            return False
        return (running.price, running.item.quantity) == (claim.price, claim.item.quantity)

    def _shown_now(self, entry: Entry, then: Entry | None) -> Entry | None:
        if entry.is_metered:
            return entry  # without prorations Stripe bills no use of what leaves, or gets another price, inside its period
        if then is not None:
            return then if self._runs(then, self.laid.stretches[1].start) else entry
        is_over = self.outlook.running(entry.item_id, entry.interval) is None and not self.outlook.is_paused(self.outlook.today)
        return None if is_over else entry

    # ------------------------------------------------------------------ one boundary

    def _turn(self, day: date, due: list[Claim]) -> bool:
        """Let everything that begins or ends on *day* do so; False where nothing is left."""
        charged = {c.item.id for c in due}
        is_held = self.outlook.is_paused(day)
        unseen = {k for k in self.entries if self._goes_on_unseen(k, day)}
        over = [k for k, e in self.entries.items() if e.until is not None and e.until <= day and k not in charged | unseen]
        for item_id in [] if is_held else over:
            del self.entries[item_id]
        was_trial = self.is_trial
        if was_trial and all(e.until is None or e.until <= day for e in self.entries.values()):
            self.is_trial, self.anchor = False, day  # the anchor moves to where the trial ends
        on = [c for c in due if self._fits(c, day)]
        is_new_cycle = len(on) < len(due) and self._may_restart(due)
        if is_new_cycle:
            on, self.anchor = due, day
        fitting = {c.item.id for c in on}
        for item_id, entry in [] if is_held else list(self.entries.items()):
            is_over = entry.until is not None and entry.until <= day  # what goes on from here is billed by us
            is_left = not entry.end and self.anchor is not None and is_on_grid(self.anchor, entry.interval, day)
            if item_id not in fitting | unseen and (is_over or is_left):
                del self.entries[item_id]
        self.is_trial = self.is_trial or any(c.is_free for c in on)
        if on:
            self._take(day, on)
        if self.anchor is None or not self.entries:
            return self.anchor is None
        self._open(day, is_new_cycle=is_new_cycle and bool(self.laid.stretches) and not was_trial)
        return True

    def _fits(self, claim: Claim, day: date) -> bool:
        """Whether a claim fits the rhythm as it is."""
        if self.anchor is None:
            return False
        if claim.is_free or self.is_trial:
            return claim.is_free and self.is_trial
        return is_on_grid(self.anchor, claim.interval, day) and claim.end <= natural_end(self.anchor, claim.interval, day)

    def _goes_on_unseen(self, item_id: str, day: date) -> bool:
        """Whether use goes on from *day*, in a period that is billed behind the horizon, so that no claim speaks of it."""
        entry, strand = self.entries[item_id], next((s for s in self.strands if s.item_id == item_id), None)
        if not entry.is_metered or self.anchor is None or strand is None or (strand.end is not None and strand.end <= day):
            return False
        return midnight(natural_end(self.anchor, entry.interval, day)) > self.outlook.horizon

    def _may_restart(self, due: Sequence[Claim]) -> bool:
        """Whether the rhythm may begin anew: everything that stands in the phase is charged here, and not as an effect of a change."""
        if any(c.line.is_pending for c in due) or len({c.is_free for c in due}) > 1:
            return False
        if self.anchor is None:
            return True
        return not any(c.is_loose for c in due) and not self.is_trial and set(self.entries) <= {c.item.id for c in due}

    def _take(self, day: date, taken: Sequence[Claim]) -> None:
        """Put what is charged into the phase."""
        assert self.anchor is not None
        shared = shared_cuts([c for c in taken if not c.is_free])
        for claim in taken:
            self.entries[claim.item.id] = self._entry(claim, day, is_shared_apart=shared is not None)
            self.laid.taken[claim.line.key] = claim
        self.coupons = shared or ()

    def _entry(self, claim: Claim, day: date, *, is_shared_apart: bool) -> Entry:
        assert self.anchor is not None
        currency = self.outlook.currency
        cuts = () if claim.is_free else line_cuts(claim, currency, is_shared_apart=is_shared_apart)
        end, billed = None, claim.interval
        if claim.is_free:
            end = claim.end
        elif not claim.is_metered and claim.end != natural_end(self.anchor, billed, day):
            end, billed = claim.end, _long_enough(self.anchor, billed, day, claim.end)
        one = self._shown(claim, billed, is_part=end is not None and not claim.is_free)
        return Entry(
            item_id=claim.item.id, shown=one, interval=claim.interval, coupons=tuple(c.id for c in cuts), cuts=cuts,
            rates=tuple(rate_key(r) for r in claim.rates), taxes=claim.rates, end=end, until=claim.end, is_metered=claim.is_metered,
        )  # fmt: skip

    def _shown(self, claim: Claim, interval: Interval, *, is_part: bool) -> Shown:
        event = event_name(self.outlook.wanted.contract.id, claim.item.id) if claim.is_metered else ""
        amount = quotient(*claim.segment.full) if claim.is_free else claim.line.amount
        is_whole = is_part or _is_split(claim)
        price, quantity = (flat(claim.price, amount), None) if is_whole else (claim.price, claim.item.quantity)
        found = shown(price, quantity, amount, currency=self.outlook.currency, interval=interval, event=event, automatic_tax=self.outlook.wanted.automatic_tax)
        return self._own_key(claim.item.id, found)

    def _own_key(self, item_id: str, found: Shown) -> Shown:
        """Return the price under a key that no other item of the subscription uses."""
        users = self.keys.setdefault(found.key, [])
        if item_id not in users:
            users.append(item_id)
        number = users.index(item_id)
        return found.again(number + 1) if number else found

    def _open(self, day: date, *, is_new_cycle: bool) -> None:
        """Let a phase begin, unless everything goes on as it is."""
        assert self.anchor is not None
        entries = tuple(sorted(self.entries.values(), key=lambda e: self.order.get(e.item_id, 0)))
        stretch = Stretch(start=day, entries=entries, coupons=self.coupons, anchor=self.anchor, is_new_cycle=is_new_cycle, is_trial=self.is_trial)
        found = self.laid.stretches
        if found and found[-1].content == stretch.content and not is_new_cycle:
            return
        found.append(stretch)


def _long_enough(anchor: date, interval: Interval, day: date, end: date) -> Interval:
    """Return the interval, or as many of it as keep a part that is billed once on *day* from being billed again before it ends."""
    count = 1
    while natural_end(anchor, replace(interval, count=interval.count * count), day) < end and days_long(interval) * count < MOST_DAYS:
        count += 1
    return replace(interval, count=interval.count * count)


def _is_split(claim: Claim) -> bool:
    """Whether Stripe would take a discount off each of several lines: a graduated price has one for each tier."""
    return claim.price.tiers_mode == "graduated" and not claim.is_metered and bool(claim.line.discounts)
