"""From terms and changes to a timeline: phases, ramps, amendments, renewals, cancellations and pauses in order of time.

Every kind of change is a few moves on the board (open, close, switch); none has billing code of its own (decision D-10).
At one instant phases, trial ends and item ends come first, then the changes in order of (effective, made_at, id).

Worked example: 10 seats from 1 January, +5 on 16 April: two segments, `[1 Jan, 16 Apr)` with 10 and `[16 Apr, …)` with 15,
opened by that change.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from connector.core.amending import Amending
from connector.core.bounds import bounds, is_too_large
from connector.core.period import Interval, boundary, index, length_between, to_local
from connector.core.pricing import raised
from connector.core.segments import ALWAYS, Cause, PrebillWindow, Slot, Term, Timeline, ending
from connector.core.terms import Change, Contract, Item, ItemChange, Phase
from connector.errors import Problem

_MAX_EVENTS = 100_000  # billing.md section 4: at most so many lines; a timeline that needs more events is none


def changes_in_order(contract: Contract) -> list[Change]:
    """Return the changes by (effective, made_at, id), decision D-02."""
    zone = contract.terms.timezone
    return sorted(contract.changes, key=lambda c: (to_local(c.effective, zone), to_local(c.made_at, zone), c.id))


class _Whole(Amending):
    """A drawing from start to end: the queue of events, the ends of terms and their renewals."""

    # ------------------------------------------------------------------ the run

    def draw(self) -> Timeline:
        """Process everything in order of time and return the timeline."""
        contract = self.timeline.contract
        if contract.withdrawn:
            return self.timeline
        if self.terms.trial_end is not None and self.terms.trial_end > self.start:
            self.board.free_until = self.timeline.trial_end = self.terms.trial_end
            self.push(self.terms.trial_end, 0, self.end_trial)
        self.plan_phases(self.terms.phases, self.root)
        if self.terms.prebill is not None:
            due = max(self.start, self.root.known)
            self.timeline.prebills.append(
                PrebillWindow(start=self.start, prebill=self.terms.prebill, due=due, is_first_skipped=False)
            )
        for change in changes_in_order(contract) if contract.changes else ():
            self.plan_change(change)
        self._loop()
        self._finish()
        return self.timeline

    def _loop(self) -> None:
        for _ in range(_MAX_EVENTS):
            upcoming = self.queue[0][0] if self.queue else None
            if self.term_end is not None and not self.is_over and (upcoming is None or upcoming >= self.term_end):
                if not self._reach_term_end(upcoming):
                    return
            elif self.renewals and (upcoming is None or self._restarts_on(self.renewals[0]) <= upcoming):
                renewal = self.renewals.pop(0)
                self._renew(renewal, self._restarts_on(renewal))
            elif self.queue:
                at, _, _, _, move = heapq.heappop(self.queue)
                self.reached = at
                move(at)
                self.board.snapshot(at, self.metadata)
            else:
                return
        self.problem("too-many-changes", f"The contract has more than {_MAX_EVENTS} events.", "Split it.")

    def _finish(self) -> None:
        timeline = self.timeline
        if not self.is_over and self.term_end is not None:
            timeline.term_end = self.term_end
            timeline.cut(self.term_end)
            self.board.close_all(self.term_end, self.end_cause)
        timeline.terms.append(self.term)

    # ------------------------------------------------------------------ renewals

    def _reach_term_end(self, upcoming: datetime | None) -> bool:
        """Renew, release or end at the end of the term; False stops the drawing (it renews itself beyond the horizon)."""
        end = self.term_end
        assert end is not None
        is_automatic = self.end_behavior == "renew"
        following = boundary(end, length_between(self.term.start, end), 1) if is_automatic else end
        renewal = self.renewals[0] if self.renewals else None
        if renewal is not None and self._continues(renewal, end, following, is_automatic=is_automatic):
            self._renew(self.renewals.pop(0), end)
        elif is_automatic:
            is_needed = (
                self.renewals
                or (upcoming is not None and upcoming >= end)
                or (self.horizon is not None and self.horizon >= end)
            )
            if not is_needed:
                return False
            self._renew(None, end)
        elif self.end_behavior == "release":
            self.term_end = None
            for name, price, cause in self.begin_waiting():
                self.migrate(ItemChange(op="reprice", item=Item(id="", price=price), item_id=name), end, cause, "period_end")
            if self.timeline.is_cut(end):  # it was to end here once, so lines were cut
                go_on = replace(
                    self.end_cause, at=end, known=max(end, self.end_cause.made), pending=False, is_event=False
                )
                self.board.restart_all(end, go_on)
        else:
            self.end_contract(end, ending(self.end_cause, end), known=ALWAYS)
        return True

    def _continues(self, renewal: Change, end: datetime, following: datetime, *, is_automatic: bool) -> bool:
        asked = self.effective(renewal)
        if renewal.when == "term_end" or asked <= end:
            return not is_automatic or to_local(renewal.made_at, self.zone) < following
        return is_automatic and asked < following and to_local(renewal.made_at, self.zone) < following

    def _restarts_on(self, renewal: Change) -> datetime:
        """Return when a renewal begins of a contract whose term is over or that has none: without a day of its own at the end."""
        if self.term_end is not None and not self.is_over:
            return datetime.max  # noqa: DTZ901 - the running term ends first
        end = self.timeline.end
        if renewal.when == "term_end" and end is not None:
            return end
        return max(self.effective(renewal), end or self.start, self.reached)

    def _renew(self, change: Change | None, at: datetime) -> None:
        board, terms = self.board, self.terms
        self.reached = at
        was_over, old_end = self.is_over, self.timeline.end
        self.is_over, self.timeline.end, self.timeline.ended_by = False, None, None
        made = self.root.made if change is None else to_local(change.made_at, self.zone)
        known = max(at, self.root.known) if change is None else max(at, made)
        cause = Cause(id="" if change is None else change.id, at=at, known=known, made=made)
        self.timeline.cut(at)
        carried = [s for s in board.slots.values() if s.item.end is None or s.item.end >= at]
        length = self._term_length(change)
        self.begin_waiting()
        self.timeline.terms.append(self.term)
        self.term = Term(start=at, end=None, change_id=cause.id, is_automatic=change is None)
        is_gap = was_over and old_end is not None and at > old_end
        if is_gap or (change is not None and any(self._is_off_grid(i, at) for p in change.phases[:1] for i in p.items)):
            board.anchor = at
        for slot in carried:
            board.close(slot, at, cause)
        if change is not None and change.end_behavior is not None:
            self.end_behavior = change.end_behavior
        if change is not None and (change.discounts_set is not None or change.discounts_add or change.discounts_remove):
            self.amend_discounts(change, at)
        if change is not None and change.phases:
            for item_id in list(board.slots):
                board.remove(item_id, at, cause)
            self.plan_phases(rebased(change.phases, at), cause)
        else:
            self._renew_same(
                carried, at, cause, length, terms.renewal.uplift_percent if change is None else change.uplift_percent
            )
        if change is not None and change.prebill is not None:
            self.timeline.prebills.append(
                PrebillWindow(start=at, prebill=change.prebill, due=known, is_first_skipped=False)
            )
        board.snapshot(at, self.metadata)

    def _is_off_grid(self, item: Item, at: datetime) -> bool:
        """Whether no period of the item begins where a term begins, so that its cycle begins anew there (whatever else runs)."""
        interval, anchor = item.price.interval, self.board.anchor
        return self.terms.anchor is None and interval is not None and boundary(anchor, interval, index(anchor, interval, at)) != at

    def _term_length(self, change: Change | None) -> Interval | None:
        if change is not None and change.duration is not None:
            return change.duration
        return length_between(self.term.start, self.term.end) if self.term.end is not None else None

    def _renew_same(
        self, carried: list[Slot], at: datetime, cause: Cause, length: Interval | None, uplift: Decimal
    ) -> None:
        board = self.board
        for item_id in list(board.slots):
            board.remove(item_id, at, cause)
        for slot in carried:
            moved = self.at_renewal(slot.item) if self.begun else slot.item
            price = raised(slot.item.price, uplift) if moved is slot.item else moved.price
            if is_too_large(price, slot.item.quantity or Decimal(1)):
                self.problem("amount-too-large", f"{slot.item.id} has become dearer than can be billed.", "Correct the uplift.", cause.id)
                price = slot.item.price
            item = replace(slot.item, start=None, end=None, trial=None, price=price)
            kept = board.anchor
            board.anchor = at if self._is_off_grid(item, at) else kept
            board.add(item, at, cause)
            board.anchor = kept
        self.term_end = None if length is None else boundary(at, length, 1)
        self.term = replace(self.term, end=self.term_end)
        self.end_cause = cause
        if self.end_behavior == "release" and length is not None and cause.id:
            self.end_behavior = "cancel"
        if self.term_end is not None:
            self.timeline.cut(self.term_end)


def rebased(phases: tuple[Phase, ...], at: datetime) -> tuple[Phase, ...]:
    """Return *phases* moved so that the first starts at *at*, each as long as it was."""
    first, start, out = phases[0].start, at, []
    if first == at:
        return phases
    for phase in phases:
        end = None if phase.end is None else boundary(start, length_between(phase.start, phase.end), 1)

        def item_at(item: Item, begin: datetime = start, old: datetime = phase.start) -> Item:
            moved = None if item.start is None or item.start <= old else item.start + (begin - old)
            stop = None if item.end is None or item.end == phase.end else item.end + (begin - old)  # noqa: B023
            return replace(item, start=moved, end=stop)

        out.append(
            replace(
                phase, start=start, end=end, items=tuple(item_at(i) for i in phase.items),
                add_invoice_items=tuple(item_at(i) for i in phase.add_invoice_items),
            )
        )  # fmt: skip
        start = end or start
    return tuple(out)


_last: tuple[Contract, datetime | None, Timeline] | None = None


def drawn(contract: Contract, *, horizon: datetime | None = None) -> Timeline:
    """Return a timeline of its own, which the caller may add to."""
    return _Whole(contract, horizon).draw()


def timeline(contract: Contract, *, horizon: datetime | None = None) -> Timeline:
    """Return the timeline of a contract; a contract that renews itself is drawn up to *horizon*, at least to its next term end.

    The last one is remembered: billing a contract and asking for its next date draw it once.
    """
    global _last  # noqa: PLW0603 - a memo of one pure result, swapped whole
    last = _last
    if last is not None and last[0] is contract and (last[1] == horizon or last[2].term_end is None):
        return last[2]
    plan = drawn(contract, horizon=horizon)
    _last = (contract, horizon, plan)
    return plan


# ---------------------------------------------------------------- what others ask


def problems(contract: Contract) -> tuple[Problem, ...]:
    """Return everything that is impossible in the contract's terms and changes; a change is named in `where.record`."""
    found = tuple(bounds(contract))
    return found or tuple(timeline(contract).problems)


def ends_on(contract: Contract) -> datetime | None:
    """Return the instant at which the contract ends, None where nothing ends it (open-ended, released, renews itself)."""
    return timeline(contract).end


def running_items(contract: Contract, on: datetime) -> tuple[tuple[int, Item, Decimal], ...]:
    """Return the items that run on *on* (local), numbered as messages show them, with their quantities.

    A number is the place among the items agreed at that time, those that have yet to start included.
    """
    before = replace(
        contract, changes=tuple(c for c in contract.changes if to_local(c.effective, contract.terms.timezone) <= on)
    )
    plan = timeline(before, horizon=on)
    found: dict[str, Item] = {}
    for segment in sorted(plan.segments, key=lambda s: s.number):
        if segment.end is None or segment.end > on:
            found.setdefault(segment.item.id, segment.item)
            if segment.start <= on:
                found[segment.item.id] = segment.item
    return tuple((n, item, item.quantity or Decimal(0)) for n, item in enumerate(found.values(), 1))


def term_on(contract: Contract, on: datetime) -> Term:
    """Return the term in which *on* (local) lies, the first or last one outside all; its change_id names the deal that made it."""
    terms = timeline(contract, horizon=on).terms
    return next((t for t in reversed(terms) if t.start <= on), terms[0])
