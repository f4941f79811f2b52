"""What of a change Stripe prorates by itself: with `proration: second`, where its own arithmetic is what was agreed.

Stripe prorates from the second at which a request arrives. So a change is left to it only if it counts from today or from now, inside a
running period that Stripe itself billed, and if what Stripe will credit and charge are exactly the lines that the engine has for
the change, item by item. Everything or nothing of a change: one line that is not Stripe's leaves all of them to us, on one invoice.

Worked example: 10 seats at 30.00 a month from 1 January, 9:00; on 16 January at 9:00 five more. 16 of 31 days are left: Stripe credits
154.84 of the 300.00 that it billed and charges 232.26 of 450.00. Had the request arrived at noon, it would have been 153.23 and 229.84.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal

from connector.billing.stripe_backend.compiling.days import instant_of, midnight, moment
from connector.billing.stripe_backend.compiling.groups import Group, current_phase, own_key
from connector.billing.stripe_backend.compiling.outlook import Outlook
from connector.billing.stripe_backend.compiling.owning import MARGIN, home_of, left_of
from connector.billing.stripe_backend.compiling.phases import Entry, Stretch, natural_end
from connector.billing.stripe_backend.compiling.prices import shown
from connector.billing.stripe_backend.compiling.sending import is_let_go
from connector.billing.stripe_backend.steps import HeldGroup, HeldItem, HeldPhase, Left
from connector.core.lines import Line
from connector.core.money import quotient
from connector.core.period import Interval, period_of, to_local, to_utc
from connector.core.proration import measure
from connector.core.segments import Segment
from connector.core.terms import Change

LATE_S = 3600
"""What arrives so much later than it was decided costs noticeably less than was foreseen."""
Behavior = Literal["always_invoice", "create_prorations", "prorate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """What is left to Stripe of one subscription. behavior - how it is told; prorate: it is canceled. lines - what would come of it now;
    phase - what the running phase shows, where it is the last one."""

    behavior: Behavior
    left: tuple[Left, ...] = ()
    lines: tuple[Line, ...] = ()
    phase: Stretch | None = None


def leaves(outlook: Outlook, groups: Sequence[Group], ending: Sequence[HeldGroup], due: Sequence[Line]) -> dict[str, Leave]:
    """Return what is left to Stripe of the lines that are *due*, by the name of the subscription; {}: nothing.

    groups - the subscriptions as they shall be, ending - those that are to be canceled now.
    """
    change = _change(outlook, due)
    if change is None:
        return {}
    found: dict[str, Leave | None] = {}
    for group in groups:
        if group.held is not None and group.held not in ending:
            found[group.name] = _Leaving(outlook, group.held, change, due).of_change(group)
    for held in ending:
        found[held.name] = _Leaving(outlook, held, change, due).of_end()
    whole = {name: leave for name, leave in found.items() if leave is not None}
    keys = [left.key for leave in whole.values() for left in leave.left]
    if len(whole) < len(found) or sorted(keys) != sorted(line.key for line in due):
        return {}
    return {name: leave for name, leave in whole.items() if leave.left}


def _change(outlook: Outlook, due: Sequence[Line]) -> Change | None:
    """Return the change that alone made these lines, if it counts from today or from now."""
    contract = outlook.wanted.contract
    ids = {line.change_id for line in due}
    change = next((c for c in contract.changes if {c.id} == ids), None)
    if change is None or contract.terms.settings.proration != "second" or outlook.wanted.held is None:
        return None
    at = to_local(change.effective, contract.terms.timezone)
    is_now = at == midnight(outlook.today) or timedelta() <= outlook.local - at <= MARGIN
    is_plain = all(line.kind in ("credit", "charge") and line.start == at for line in due) and len({line.is_pending for line in due}) == 1
    return change if is_now and is_plain and change.billing_behavior != "prorate_up_front" else None


def good_until(outlook: Outlook) -> datetime:
    """Return until when what is left to Stripe may be sent as it was planned: an hour, or the day of the change.

    Afterwards Stripe would count noticeably less than was foreseen, or from another day than the one that was agreed.
    """
    tomorrow = to_utc(midnight(outlook.today) + timedelta(days=1), outlook.wanted.contract.terms.timezone)
    return min(outlook.wanted.now + timedelta(seconds=LATE_S), tomorrow)


def at_net(line: Line, net: int) -> Line:
    """Return a line with another net amount, its discounts and taxes in proportion."""
    if net == line.net:
        return line
    if not line.net:
        return replace(line, amount=net, discounts=(), taxes=())
    discounts = tuple((coupon, quotient(off * abs(net), abs(line.net))) for coupon, off in line.discounts)
    taxes = tuple((rate, quotient(tax * abs(net), abs(line.net)), inside) for rate, tax, inside in line.taxes)
    return replace(line, amount=net + sum(off for _, off in discounts), discounts=discounts, taxes=taxes)


def net_at(left: Left, instant: int) -> int:
    """Return what a line comes to whose request arrived at an instant."""
    part = quotient(left.amount * max(0, left.end - max(instant, left.start)), left.end - left.start)
    return -part if left.kind == "credit" else part


class _Leaving:
    """One subscription that a change touches."""

    def __init__(self, outlook: Outlook, held: HeldGroup, change: Change, due: Sequence[Line]) -> None:
        self.outlook, self.held, self.change = outlook, held, change
        self.due = due
        self.now = int(outlook.wanted.now.timestamp())
        self.facts = outlook.piece.facts  # and what is on its way
        phase = current_phase(held, outlook)
        self.phase: HeldPhase = phase if phase is not None else held.phases[0]
        self.has_begun = phase is not None
        self.is_running = phase is not None and phase.kind == "full" and not held.is_paused and not is_let_go(held, outlook.today)
        self.made: list[tuple[Left, Line]] = []

    # ------------------------------------------------------------------ the two ways

    def of_change(self, group: Group) -> Leave | None:
        """Return what is left to Stripe of a subscription that goes on, None where it would prorate something else."""
        stretch = group.laid.stretches[0] if group.laid.stretches else None
        if stretch is None or group.standing is None:
            return Leave(behavior="always_invoice")  # it has not begun: nothing of it can be prorated
        stretch = self._with_last(group, stretch)
        before = {i.item_id: i for i in self.phase.items}
        after = {e.item_id: e for e in stretch.entries}
        touched = [k for k in dict.fromkeys([*before, *after]) if _is_touched(before.get(k), after.get(k))]
        if not touched:
            return Leave(behavior="always_invoice")
        is_same = stretch.start == group.standing.start and stretch.anchor == group.standing.anchor and not stretch.is_trial
        if not (self.is_running and is_same and tuple(c.id for c in stretch.coupons) == self.phase.coupons):
            return None
        if any(_is_dressed_anew(before.get(k), after.get(k)) for k in before.keys() & after.keys()):
            return None
        if not all(self._item(k, before.get(k), after.get(k), group) for k in touched):
            return None
        is_pending = self.due[0].is_pending
        ends = [natural_end(stretch.anchor, e.interval, self.outlook.today) for e in stretch.entries]
        if group.laid.end is not None and (group.laid.end < max(ends) or (is_pending and group.laid.end <= min(ends))):
            return None
        phase = stretch if stretch is not group.laid.stretches[0] else None
        return self._leave("create_prorations" if is_pending else "always_invoice", phase)

    def of_end(self) -> Leave | None:
        """Return what is left to Stripe of a subscription that is canceled, None where it would credit something else.

        Nothing may wait on it: canceled with proration and a final invoice, Stripe takes pending prorations away.
        """
        if not self.has_begun:
            return Leave(behavior="prorate")
        waits = any(line.is_pending for line in (*self.outlook.wanted.sent.values(), *self.due))
        licensed = [i for i in self.phase.items if not i.is_metered]
        if waits or not self.is_running or not all(self._item(i.item_id, i, None, None) for i in licensed):
            return None
        return self._leave("prorate", None)

    def _leave(self, behavior: Behavior, phase: Stretch | None) -> Leave:
        return Leave(behavior=behavior, left=tuple(x for x, _ in self.made), lines=tuple(line for _, line in self.made), phase=phase)

    # ------------------------------------------------------------------ one item

    def _item(self, item_id: str, before: HeldItem | None, after: Entry | None, group: Group | None) -> bool:
        """Note what Stripe will credit and charge of an item; False where that is not what the engine has."""
        back = [line for line in self.due if line.item_id == item_id and line.kind == "credit"]
        charges = [line for line in self.due if line.item_id == item_id and line.kind == "charge"]
        if (len(back), len(charges)) != (int(before is not None), int(after is not None)):
            return False
        if before is not None and not self._credit(before, back[0]):
            return False
        return after is None or (group is not None and self._charge(before, after, charges[0], group))

    def _period(self, interval: Interval) -> tuple[date, date] | None:
        """Return the running period of an interval, None within minutes of its bounds."""
        anchor = self.phase.anchor or self.held.anchor
        low, high = (at.date() for at in period_of(midnight(anchor), interval, midnight(self.outlook.today)))
        now = self.outlook.wanted.now
        is_inside = moment(low, self.held.at_time) <= now and now + MARGIN < moment(high, self.held.at_time)
        return (low, high) if is_inside else None

    def _credit(self, before: HeldItem, line: Line) -> bool:
        """Note a credit, if it takes back what Stripe has debited for the running period, and all of it that is there."""
        debit = next((f for f in self.facts if f.key == line.credits), None)
        period = self._period(before.interval or self.held.interval)
        if debit is None or period is None or before.end is not None or before.is_metered:
            return False
        earlier = left_of(self.held, debit.key)
        if earlier is None and not self._is_whole_period(debit, period, line.start):
            return False
        is_whole = debit.end.date() == period[1] and line.end == debit.end
        is_taken_back = any(f.credits == debit.key for f in self.facts) or bool(self.outlook.piece.credited.get(debit.key))
        if not is_whole or is_taken_back or debit.net <= 0 or not self._is_as_debited(before.item_id, debit, line.start):
            return False
        start = earlier.began or earlier.at if earlier is not None else instant_of(period[0], self.held.at_time)
        self._note(line, before.price, debit.net, start, instant_of(period[1], self.held.at_time))
        return True

    def _is_whole_period(self, debit: Line, period: tuple[date, date], at: datetime) -> bool:
        """Whether Stripe billed a charge with its subscription, before the day of the change, and nobody charged the item otherwise meanwhile."""
        others = [f for f in self.facts if f.kind == "charge" and f.item_id == debit.item_id and f.key != debit.key and f.amount]
        home = home_of(self.outlook.wanted.held, debit)
        is_home = home is not None and home[0].name == self.held.name and debit.start.date() == period[0] and debit.start < at
        return is_home and not any(f.start < debit.end and f.end > debit.start for f in others)

    def _is_as_debited(self, item_id: str, debit: Line, at: datetime) -> bool:
        """Whether an item ran until now as it was debited: no change without proration lies between."""
        ended = [s for s in self.outlook.plan.segments if s.item.id == item_id and s.end == at and s.ended_by is not None]
        return any(s.ended_by is not None and s.ended_by.id == self.change.id and s.cause.id == debit.change_id for s in ended)

    def _charge(self, before: HeldItem | None, after: Entry, line: Line, group: Group) -> bool:
        """Note a charge, if Stripe counts the same of the same whole period."""
        segment = self.outlook.segment_of(line)
        period = self._period(after.interval)
        if segment is None or period is None or after.end is not None or after.is_metered or line.end.date() != period[1]:
            return False
        is_at_home = after.interval == ((before.interval or self.held.interval) if before is not None else group.interval)
        whole = self._whole(after, line, segment, period[1], group)
        if not is_at_home or whole is None or whole <= 0 or segment.price.tiers_mode is not None:
            return False
        part = _seconds(self.outlook, line.start, line.end), _seconds(self.outlook, midnight(period[0]), midnight(period[1]))
        if abs(quotient(whole * part[0], part[1]) - line.net) > 1:
            return False  # its discounts change with the next period
        self._note(line, after.shown.key, whole, instant_of(period[0], self.held.at_time), instant_of(period[1], self.held.at_time))
        return True

    def _whole(self, after: Entry, line: Line, segment: Segment, end: date, group: Group) -> int | None:
        """Return what a whole period costs at what the phase shows, None where nobody can say."""
        coming = next((c for c in group.laid.taken.values() if c.item.id == after.item_id and c.start == end), None)
        if coming is not None:
            is_plain = all("percent_off" in c.params for c in (*after.cuts, *group.laid.stretches[0].coupons))
            return coming.line.net if is_plain and coming.end == natural_end(group.laid.stretches[0].anchor, after.interval, end) else None
        has_discounts = line.discounts or after.coupons or group.laid.stretches[0].coupons
        return None if has_discounts else quotient(*segment.full)

    def _note(self, line: Line, price: str, amount: int, start: int, end: int) -> None:
        kind: Literal["credit", "charge"] = "credit" if line.kind == "credit" else "charge"
        left = Left(key=line.key, item_id=line.item_id, kind=kind, price=price, amount=amount, start=start, end=end, at=self.now)
        self.made.append((left, at_net(line, net_at(left, self.now))))

    # ------------------------------------------------------------------ the last period

    def _with_last(self, group: Group, stretch: Stretch) -> Stretch:
        """Return the running phase with what the change makes of it, where no later period shows that: it is the last one."""
        charges = {line.item_id: line for line in self.due if line.kind == "charge"}
        gone = {line.item_id for line in self.due if line.kind == "credit"} - charges.keys()
        if len(group.laid.stretches) > 1 or group.laid.end is None or stretch.coupons:
            return stretch
        entries = []
        for entry in stretch.entries:
            line = charges.pop(entry.item_id, None)
            segment = self.outlook.segment_of(line) if line is not None else None
            if segment is not None and not entry.coupons:
                entry = self._entry(entry, segment, group)
            if entry.item_id not in gone:
                entries.append(entry)
        return replace(stretch, entries=tuple(entries)) if entries and tuple(entries) != stretch.entries else stretch

    def _entry(self, entry: Entry, segment: Segment, group: Group) -> Entry:
        currency = self.outlook.currency
        found = shown(segment.price, segment.item.quantity, quotient(*segment.full), currency=currency, interval=entry.interval, automatic_tax=self.outlook.wanted.automatic_tax)
        return replace(entry, shown=own_key(group, entry.item_id, found))


def _seconds(outlook: Outlook, start: datetime, end: datetime) -> int:
    return measure("second", start, end, outlook.wanted.contract.terms.timezone)


def _is_touched(before: HeldItem | None, after: Entry | None) -> bool:
    """Whether Stripe prorates an item: added, taken away, another price or quantity."""
    if before is None or after is None:
        return True
    quantity = None if before.quantity is None else int(before.quantity)
    return (before.price, quantity) != (after.shown.key, after.shown.quantity)


def _is_dressed_anew(before: HeldItem | None, after: Entry | None) -> bool:
    """Whether an item that stays gets other discounts or taxes: what Stripe credits and charges then is not ours to say."""
    return before is not None and after is not None and (before.coupons, before.rates) != (after.coupons, after.rates)
