"""From terms and changes to a timeline: phases, ramps, amendments, renewals, cancellations and pauses in order of time.

Every kind of change is a few moves on the board (open, close, switch); none has billing code of its own (decision D-10).
At one instant phases, trial ends and item ends come first, then the changes in order of (effective, made_at, id).

Worked example: 10 seats from 1 January, +5 on 16 April: two segments, `[1 Jan, 16 Apr)` with 10 and `[16 Apr, …)` with 15,
opened by that change.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from connector.core.bounds import bounds
from connector.core.matching import candidates_text, quantity_text, target_of
from connector.core.period import boundary, index, length_between, next_boundary, to_local
from connector.core.pricing import raised
from connector.core.segments import ALWAYS, Board, Cause, Cut, OneTime, PrebillWindow, Slot, Term, Timeline, day_after
from connector.core.terms import Change, Contract, Coupon, Interval, Item, ItemChange, Phase
from connector.errors import Problem, Where

_MAX_EVENTS = 100_000  # billing.md section 4: at most so many lines; a timeline that needs more events is none

_Move = Callable[[datetime], None]


def changes_in_order(contract: Contract) -> list[Change]:
    """Return the changes by (effective, made_at, id), decision D-02."""
    zone = contract.terms.timezone
    return sorted(contract.changes, key=lambda c: (to_local(c.effective, zone), to_local(c.made_at, zone), c.id))


class _Drawing:
    """One run over the terms and changes of a contract."""

    def __init__(self, contract: Contract, horizon: datetime | None) -> None:
        terms = contract.terms
        self.terms, self.zone, self.horizon = terms, terms.timezone, horizon
        self.start = terms.start
        entered = self.start if terms.entered_at is None else to_local(terms.entered_at, self.zone)
        self.timeline = Timeline(contract=contract, entered=entered)
        self.board = Board(self.timeline, terms.anchor or terms.start)
        self.root = Cause(id="", at=self.start, known=entered, made=entered)
        self.queue: list[tuple[datetime, int, datetime, int, _Move]] = []
        self.sequence = 0
        self.renewals: list[Change] = []
        self.term = Term(start=self.start, end=None, change_id="")
        self.end_behavior = terms.end_behavior
        self.term_end: datetime | None = None
        self.end_cause = self.root
        self.contract_discounts: tuple[Coupon, ...] = terms.discounts
        self.phase_discounts: tuple[Coupon, ...] | None = None
        self.metadata: tuple[tuple[str, str], ...] = ()
        self.is_over = False
        self.has_trial_anchor = False

    # ------------------------------------------------------------------ the run

    def draw(self) -> Timeline:
        """Process everything in order of time and return the timeline."""
        contract = self.timeline.contract
        if contract.withdrawn:
            return self.timeline
        if self.terms.trial_end is not None and self.terms.trial_end > self.start:
            self.board.free_until = self.timeline.trial_end = self.terms.trial_end
            self._push(self.terms.trial_end, 0, self._end_trial)
        self._plan_phases(self.terms.phases, self.root)
        if self.terms.prebill is not None:
            due = max(self.start, self.root.known)
            self.timeline.prebills.append(PrebillWindow(start=self.start, prebill=self.terms.prebill, due=due, is_first_skipped=False))
        for change in changes_in_order(contract) if contract.changes else ():
            self._plan_change(change)
        self._loop()
        self._finish()
        return self.timeline

    def _push(self, at: datetime, rank: int, move: _Move, made: datetime = ALWAYS) -> None:
        self.sequence += 1
        heapq.heappush(self.queue, (at, rank, made, self.sequence, move))

    def _loop(self) -> None:
        for _ in range(_MAX_EVENTS):
            upcoming = self.queue[0][0] if self.queue else None
            if self.term_end is not None and not self.is_over and (upcoming is None or upcoming >= self.term_end):
                if not self._reach_term_end(upcoming):
                    return
            elif self.queue:
                at, _, _, _, move = heapq.heappop(self.queue)
                move(at)
                self.board.snapshot(at, self.metadata)
            elif self.renewals:
                self._restart(self.renewals.pop(0))
            else:
                return
        self._problem("too-many-changes", f"The contract has more than {_MAX_EVENTS} events.", "Split it.")

    def _finish(self) -> None:
        timeline = self.timeline
        if not self.is_over and self.term_end is not None:
            timeline.term_end = self.term_end
            timeline.cuts.append(Cut(at=self.term_end, known=ALWAYS))
            self.board.close_all(self.term_end, self.end_cause)
        timeline.terms.append(self.term)

    def _problem(self, code: str, message: str, hint: str, change_id: str = "") -> None:
        self._report(Problem(code=code, message=message, hint=hint), change_id)

    def _report(self, problem: Problem, change_id: str) -> None:
        self.timeline.problems.append(replace(problem, where=Where(record=change_id or None)))

    # ------------------------------------------------------------------ terms and phases

    def _plan_phases(self, phases: tuple[Phase, ...], cause: Cause) -> None:
        for number, phase in enumerate(phases):
            at = phase.start
            if number == 0:
                self._enter_phase(at, phase, cause, is_first=True)
                self.board.snapshot(at, self.metadata)
            else:
                behavior = phase.proration_behavior or self.terms.proration_behavior
                entry = Cause(
                    id=cause.id, at=at, known=max(at, cause.known), made=cause.made, prorates=behavior != "none",
                    pending=behavior == "create_prorations", is_event=True, up_front=phase.billing_behavior == "prorate_up_front",
                )  # fmt: skip
                self._push(at, 0, lambda t, p=phase, c=entry: self._enter_phase(t, p, c, is_first=False))  # type: ignore[misc]
        self.term_end = phases[-1].end
        self.term = Term(start=self.term.start, end=self.term_end, change_id=self.term.change_id, is_automatic=self.term.is_automatic)
        if self.term_end is not None:
            self.end_cause = cause

    def _enter_phase(self, at: datetime, phase: Phase, cause: Cause, *, is_first: bool) -> None:
        if self.is_over:
            return
        board = self.board
        self.phase_discounts = phase.discounts
        self.metadata = phase.metadata
        self._note_discounts(at)
        was_free = board.free_until
        if phase.trial and phase.end is not None:
            board.free_until = self.timeline.trial_end = phase.end
        is_anchor_new = not is_first and phase.billing_cycle_anchor == "phase_start"
        if is_anchor_new:
            board.anchor = at
        kept = {i.id for i in phase.items if i.price.interval is not None}
        for item_id in [k for k in board.slots if k not in kept]:
            board.remove(item_id, at, cause)
        for item in phase.items:
            is_changed = is_anchor_new or board.free_until != was_free
            self._agree(item, at, cause, is_anchor_new=is_changed)
        for item in phase.add_invoice_items:
            self._charge_once(item, max(at, item.start or at), replace(cause, pending=False))

    def _agree(self, item: Item, at: datetime, cause: Cause, *, is_anchor_new: bool = False) -> None:
        start = max(at, item.start or at)
        if item.price.interval is None:
            self._charge_once(item, start, cause)
        elif item.id in self.board.slots and start == at:
            self.board.switch(item.id, item, at, cause, is_anchor_new=is_anchor_new)
            self._plan_item_end(item)
        elif item.end is not None and item.end <= start:
            return
        elif start > at:
            self._plan_later(item, start, cause)
        else:
            slot = self.board.add(item, at, cause)
            self._plan_item_end(item)
            self._plan_trial_end(slot, at)

    def _plan_later(self, item: Item, start: datetime, cause: Cause) -> None:
        self.board.numbers += 1
        slot = self.board.slots[item.id] = Slot(item=item, number=self.board.numbers)

        def begin(at: datetime) -> None:
            if self.board.slots.get(slot.item.id) is slot and not self.is_over and slot.segment is None:
                self.board.open(slot, at, replace(cause, at=at, known=max(at, cause.known), pending=False, is_event=False))
                self._plan_trial_end(slot, at)

        self._push(start, 0, begin)
        self._plan_item_end(item)

    def _plan_item_end(self, item: Item) -> None:
        if item.end is None:
            return

        def stop(at: datetime) -> None:
            slot = self.board.slots.get(item.id)
            if slot is not None and slot.item.end == at and not self.is_over:
                self.board.remove(item.id, at, replace(self.root, at=at))

        self._push(item.end, 0, stop)

    def _plan_trial_end(self, slot: Slot, start: datetime) -> None:
        trial, segment = slot.item.trial, slot.segment
        if trial is None or trial.price.interval is None or segment is None:
            return
        end = boundary(start, trial.price.interval, trial.periods)
        self.timeline.cuts.append(Cut(at=end, known=ALWAYS, items=(slot.item.id,)))

        def finish(at: datetime) -> None:
            running = slot.segment
            if self.board.slots.get(slot.item.id) is not slot or running is None or slot.item.trial is None:
                return
            if running.price is not slot.item.trial.price:
                return
            cause = replace(running.cause, at=at, is_event=False, pending=False, prorates=True)
            anchor, keep = slot.item.trial.billing_cycle_anchor, self.board.anchor
            before = self.board.close(slot, at, cause)
            if anchor == "now":
                self.board.anchor = at
            slot.item = replace(slot.item, trial=None)
            self.board.open(slot, at, cause, after=before)
            if len(self.board.slots) > 1:  # the others keep their periods
                self.board.anchor = keep

        self._push(end, 0, finish)

    def _charge_once(self, item: Item, at: datetime, cause: Cause) -> None:
        self.board.numbers += 1
        self.timeline.one_times.append(OneTime(item=item, at=at, cause=cause, number=self.board.numbers))

    def _end_trial(self, at: datetime) -> None:
        if self.board.free_until != at or self.is_over:
            return
        self.board.free_until = None
        anchor = self.terms.anchor if self.terms.anchor is not None and not self.has_trial_anchor else at
        self.board.restart_all(at, replace(self.root, at=at, known=self.root.known), anchor=anchor)

    def _note_discounts(self, at: datetime) -> None:
        current = self.contract_discounts if self.phase_discounts is None else self.phase_discounts
        log = self.timeline.discounts
        if log and log[-1][0] == at:
            log.pop()
        if not log or log[-1][1] != current:
            log.append((at, current))

    # ------------------------------------------------------------------ changes

    def _effective(self, change: Change) -> datetime:
        at = to_local(change.effective, self.zone)
        if self.terms.settings.proration != "second":
            at = at.replace(hour=0, minute=0, second=0, microsecond=0)
            if change.kind == "cancel" and change.when == "at" and self.terms.settings.cancellation_day == "billed":
                at = day_after(at)
        return max(at, self.start)

    def _plan_change(self, change: Change) -> None:
        if change.kind == "renew":
            self.renewals.append(change)
            return
        made = to_local(change.made_at, self.zone)
        at = self._effective(change)
        known = max(to_local(change.effective, self.zone), made)
        moves = {"amend": self._amend, "cancel": self._cancel, "pause": self._pause, "resume": self._resume}
        move = moves[change.kind]
        cause = Cause(
            id=change.id, at=at, known=known, made=made, prorates=change.proration_behavior != "none",
            pending=change.proration_behavior == "create_prorations", is_event=True,
        )  # fmt: skip

        def run(when: datetime) -> None:
            if to_local(change.effective, self.zone).date() < self.start.date():
                self._problem(
                    "before-start",
                    f"The change is effective on {at.date().isoformat()}, before the contract starts on {self.start.date().isoformat()}.",
                    "Correct the effective date.",
                    change.id,
                )
            elif not self.is_over:
                move(change, when, cause)
            elif self.end_cause.made <= made:
                ended = (self.timeline.end or when) - timedelta(microseconds=1)
                self._problem(
                    "contract-ended",
                    f"The contract has ended; its last day was {ended.date().isoformat()}.",
                    "Close it as Renew or New.",
                    change.id,
                )

        self._push(at, 1, run, made)

    def _amend(self, change: Change, at: datetime, cause: Cause) -> None:
        for step in change.items:
            start = step.item.start if step.item is not None else None
            if start is not None and start > at:
                later = replace(cause, at=start, known=max(start, cause.known))
                self._push(start, 1, lambda t, s=step, c=later: self._step(s, t, c, None), cause.made)  # type: ignore[misc]
            else:
                self._step(step, at, cause, change.until)
        for item in change.one_time:
            self._charge_once(item, max(at, item.start or at), cause)
        self._amend_rest(change, at, cause)

    def _amend_rest(self, change: Change, at: datetime, cause: Cause) -> None:
        if change.discounts_set is not None or change.discounts_add or change.discounts_remove:
            self._amend_discounts(change, at)
        if change.billing_cycle_anchor != "unchanged":
            anchor = change.billing_cycle_anchor
            self.board.restart_all(at, cause, anchor=anchor if isinstance(anchor, datetime) else at)
        if change.trial_end is not None and change.trial_end > at:
            self.board.free_until = self.timeline.trial_end = change.trial_end
            self.has_trial_anchor = True
            self.board.restart_all(at, cause)
            self._push(change.trial_end, 0, self._end_trial)
        if change.prebill is not None:
            due = cause.known
            self.timeline.prebills.append(PrebillWindow(start=at, prebill=change.prebill, due=due, is_first_skipped=True))
        if change.end_behavior is not None:
            self.end_behavior = change.end_behavior
        if change.new_end is not None:
            self._move_end(change.new_end, at, cause)
        if change.metadata:
            self.metadata = tuple({**dict(self.metadata), **dict(change.metadata)}.items())

    def _amend_discounts(self, change: Change, at: datetime) -> None:
        def amended(current: tuple[Coupon, ...]) -> tuple[Coupon, ...]:
            if change.discounts_set is not None:
                current = change.discounts_set
            kept = tuple(c for c in current if c.id not in change.discounts_remove)
            return kept + tuple(c for c in change.discounts_add if all(c.id != k.id for k in kept))

        self.contract_discounts = amended(self.contract_discounts)
        if self.phase_discounts is not None:
            self.phase_discounts = amended(self.phase_discounts)
        self._note_discounts(at)

    def _step(self, step: ItemChange, at: datetime, cause: Cause, until: datetime | None) -> None:
        if self.is_over:
            return
        if step.op == "delta" and step.item is not None:
            self._delta(step.item, step.item_id, at, cause, until)
        elif step.op == "add" and step.item is not None:
            self._add(step.item, at, cause, until)
        else:
            self._set_or_remove(step, at, cause, until)

    def _set_or_remove(self, step: ItemChange, at: datetime, cause: Cause, until: datetime | None) -> None:
        name = step.item_id or (step.item.id if step.item is not None else "")
        items = {k: s.item for k, s in self.board.slots.items()}
        probe = step.item or Item(id=name, price=next(iter(items.values())).price) if items else None
        found = target_of(probe, items, item_id=name, end=self.term_end, currency=self.terms.currency) if probe else None
        if not isinstance(found, str):
            self._report(found or Problem(code="unknown-item", message=f"The contract has no running item {name!r}."), cause.id)
            return
        old = items[found]
        if step.op == "remove" or step.item is None:
            self.board.remove(found, at, cause)
            if until is not None:
                self._push(until, 1, lambda t: self._step(ItemChange(op="add", item=old), t, replace(cause, at=t, known=t), None), cause.made)
            return
        item = step.item if step.item_id is not None else replace(step.item, id=found)
        if item.id != found and item.id in items:
            self._problem("duplicate-item", f"The contract already has an item {item.id!r}.", "Give the new item its own id.", cause.id)
            return
        self.board.switch(found, item, at, cause)
        self._plan_item_end(item)
        if until is not None:
            back = ItemChange(op="set", item=old, item_id=item.id)
            self._push(until, 1, lambda t: self._step(back, t, replace(cause, at=t, known=max(t, cause.known)), None), cause.made)

    def _add(self, item: Item, at: datetime, cause: Cause, until: datetime | None) -> None:
        slot = self.board.slots.get(item.id)
        if until is not None and slot is None:
            item = replace(item, end=until)
        if slot is None or item.price.interval is None:
            self._agree(item, at, cause)
            return
        if slot.item.quantity is None or item.quantity is None or slot.item.price != item.price:
            self._problem("duplicate-item", f"The contract already has an item {item.id!r} at another price.", "Give the new item its own id.", cause.id)
            return
        self._resize(item.id, item.quantity, at, cause, until)

    def _resize(self, item_id: str, by: Decimal, at: datetime, cause: Cause, until: datetime | None) -> None:
        slot = self.board.slots[item_id]
        left = (slot.item.quantity or Decimal(0)) + by
        if left:
            self.board.switch(item_id, replace(slot.item, quantity=left), at, cause)
        else:
            self.board.remove(item_id, at, cause)
        if until is not None:
            back = ItemChange(op="delta", item=replace(slot.item, quantity=-by, start=None), item_id=item_id if left else None)
            self._push(until, 1, lambda t: self._step(back, t, replace(cause, at=t, known=max(t, cause.known)), None), cause.made)

    def _delta(self, wanted: Item, item_id: str | None, at: datetime, cause: Cause, until: datetime | None) -> None:
        if wanted.price.interval is None:
            self._charge_once(wanted, at, cause)
            return
        items = {k: s.item for k, s in self.board.slots.items()}
        found = target_of(wanted, items, item_id=item_id, end=self.term_end, currency=self.terms.currency)
        if isinstance(found, Problem):
            self._report(found, cause.id)
            return
        by = wanted.quantity or Decimal(0)
        if found is None:
            taken = wanted.id in items
            item = replace(wanted, id=f"{wanted.id}-{cause.id}" if taken else wanted.id)
            self._add(item, at, cause, until)
            return
        running = items[found].quantity or Decimal(0)
        if running + by < 0:
            number = list(items).index(found) + 1
            shown = candidates_text([(number, items[found])], self.terms.currency)
            self._problem(
                "over-decrease",
                f"The line takes {quantity_text(-by)} away, but only {quantity_text(running)} run on {at.date().isoformat()}: {shown}.",
                f"Reduce it by at most {quantity_text(running)}.",
                cause.id,
            )
            return
        lines = items[found].crm_lines + tuple(c for c in wanted.crm_lines if c not in items[found].crm_lines)
        self.board.slots[found].item = replace(items[found], crm_lines=lines)
        self._resize(found, by, at, cause, until)

    # ------------------------------------------------------------------ ends

    def _move_end(self, end: datetime, at: datetime, cause: Cause) -> None:
        old = self.term_end
        if old is not None and old < end:  # lines were cut there: what follows begins anew
            self.timeline.cuts.append(Cut(at=old, known=ALWAYS))
            go_on = replace(cause, at=old, known=max(old, cause.known), pending=False, is_event=False)
            self._push(old, 0, lambda t: None if self.is_over else self.board.restart_all(t, go_on))
        self.timeline.cuts.append(Cut(at=max(end, at), known=cause.made, is_over=True))
        self.term_end, self.end_cause = max(end, at), cause
        self.term = replace(self.term, end=self.term_end)
        if self.end_behavior == "release":
            self.end_behavior = "cancel"

    def _cancel(self, change: Change, at: datetime, cause: Cause) -> None:
        cause = replace(cause, prorates=change.prorate, pending=False, is_final=change.invoice_now)
        if change.when == "term_end":
            self._cancel_at_term_end(cause)
            return
        if change.when == "period_end":
            ends = [
                next_boundary(s.segment.anchor, s.segment.price.interval, at)
                for k, s in self.board.slots.items()
                if s.segment is not None and s.segment.price.interval is not None and (not change.item_ids or k in change.item_ids)
            ]
            later = min(ends, default=at)
            if self.term_end is not None:
                later = min(later, self.term_end)
            cause = replace(cause, at=later, known=max(later, cause.made), is_final=True)
            if later > at:
                self._push(later, 1, lambda t: None if self.is_over else self._cancel_now(change, t, cause), cause.made)
                return
        self._cancel_now(change, at, cause)

    def _cancel_at_term_end(self, cause: Cause) -> None:
        if self.term_end is None:
            self._problem("no-term-end", "The contract has no term that could end.", "Cancel it on a date or at the end of a period.", cause.id)
            return
        self.end_behavior = "cancel"
        self.end_cause = replace(cause, is_final=True)
        self.renewals = [r for r in self.renewals if to_local(r.made_at, self.zone) > cause.made]

    def _cancel_now(self, change: Change, at: datetime, cause: Cause) -> None:
        if not change.item_ids:
            self._end_contract(at, cause, known=cause.made)
            return
        items = {k: s.item for k, s in self.board.slots.items()}
        for name in change.item_ids:
            found = name if name in items else next((k for k, i in items.items() if i.price.id == name), None)
            if found is None or found not in self.board.slots:
                shown = candidates_text(list(enumerate(items.values(), 1)), self.terms.currency)
                self._problem("unknown-item", f"The contract has no running item {name!r}: {shown}.", "Name one of these.", cause.id)
                continue
            self.timeline.cuts.append(Cut(at=at, known=cause.made, items=(found,)))
            self.board.remove(found, at, cause)

    def _end_contract(self, at: datetime, cause: Cause, *, known: datetime) -> None:
        self.timeline.cuts.append(Cut(at=at, known=known, is_over=True))
        self.board.close_all(at, cause)
        self.is_over = True
        self.timeline.end, self.timeline.ended_by = at, cause
        self.end_cause = cause
        self.term = replace(self.term, end=at)

    def _pause(self, change: Change, at: datetime, cause: Cause) -> None:
        self.timeline.pauses.append((at, None, change.pause_behavior))
        if change.pause_behavior == "credit":
            self.board.close_all(at, replace(cause, pending=False))
            self.board.is_paused = True
        if change.until is not None:
            self._push(change.until, 1, lambda t: self._resume(change, t, replace(cause, at=t, known=max(t, cause.known))), cause.made)

    def _resume(self, change: Change, at: datetime, cause: Cause) -> None:
        pauses = self.timeline.pauses
        if not pauses or pauses[-1][1] is not None:
            self._problem("not-paused", f"The contract is not paused on {at.date().isoformat()}.", "Remove the resumption.", change.id)
            return
        pauses[-1] = (pauses[-1][0], at, pauses[-1][2])
        if self.board.is_paused:
            self.board.is_paused = False
            for slot in self.board.slots.values():
                if slot.item.start is None or slot.item.start <= at:
                    self.board.open(slot, at, cause)

    # ------------------------------------------------------------------ renewals

    def _reach_term_end(self, upcoming: datetime | None) -> bool:
        """Renew, release or end at the end of the term; False stops the drawing (it renews itself beyond the horizon)."""
        end = self.term_end
        assert end is not None
        is_automatic = self.end_behavior == "renew"
        following = end + (end - self.term.start) if is_automatic else end
        renewal = self.renewals[0] if self.renewals else None
        if renewal is not None and self._continues(renewal, end, following, is_automatic=is_automatic):
            self._renew(self.renewals.pop(0), end)
        elif is_automatic:
            is_needed = self.renewals or (upcoming is not None and upcoming >= end) or (self.horizon is not None and self.horizon >= end)
            if not is_needed:
                return False
            self._renew(None, end)
        elif self.end_behavior == "release":
            self.term_end = None
        else:
            self._end_contract(end, replace(self.end_cause, at=end, is_final=True), known=ALWAYS)
        return True

    def _continues(self, renewal: Change, end: datetime, following: datetime, *, is_automatic: bool) -> bool:
        asked = self._effective(renewal)
        if renewal.when == "term_end" or asked <= end:
            return not is_automatic or to_local(renewal.made_at, self.zone) < following
        return is_automatic and asked < following and to_local(renewal.made_at, self.zone) < following

    def _restart(self, renewal: Change) -> None:
        """Renew a contract whose term is over, or that never had one, from the day that the renewal names."""
        self._renew(renewal, max(self._effective(renewal), self.timeline.end or self.start))

    def _renew(self, change: Change | None, at: datetime) -> None:
        board, terms = self.board, self.terms
        was_over, old_end = self.is_over, self.timeline.end
        self.is_over, self.timeline.end, self.timeline.ended_by = False, None, None
        made = self.root.made if change is None else to_local(change.made_at, self.zone)
        known = max(at, self.root.known) if change is None else max(at, made)
        cause = Cause(id="" if change is None else change.id, at=at, known=known, made=made)
        self.timeline.cuts.append(Cut(at=at, known=ALWAYS))
        carried = [s for s in board.slots.values() if s.item.end is None or s.item.end >= at]
        length = self._term_length(change)
        self.timeline.terms.append(self.term)
        self.term = Term(start=at, end=None, change_id=cause.id, is_automatic=change is None)
        is_gap = was_over and old_end is not None and at > old_end
        off_grid = any(
            s.item.price.interval is not None
            and boundary(board.anchor, s.item.price.interval, index(board.anchor, s.item.price.interval, at)) != at
            for s in carried
        )
        if is_gap or (terms.anchor is None and off_grid):
            board.anchor = at
        for slot in carried:
            board.close(slot, at, cause)
        if change is not None and change.end_behavior is not None:
            self.end_behavior = change.end_behavior
        if change is not None and change.phases:
            for item_id in list(board.slots):
                board.remove(item_id, at, cause)
            self._plan_phases(rebased(change.phases, at), cause)
        else:
            self._renew_same(carried, at, cause, length, terms.renewal.uplift_percent if change is None else change.uplift_percent)
        if change is not None and change.prebill is not None:
            self.timeline.prebills.append(PrebillWindow(start=at, prebill=change.prebill, due=known, is_first_skipped=False))
        board.snapshot(at, self.metadata)

    def _term_length(self, change: Change | None) -> Interval | None:
        if change is not None and change.duration is not None:
            return change.duration
        return length_between(self.term.start, self.term.end) if self.term.end is not None else None

    def _renew_same(self, carried: list[Slot], at: datetime, cause: Cause, length: Interval | None, uplift: Decimal) -> None:
        board = self.board
        for item_id in list(board.slots):
            board.remove(item_id, at, cause)
        for slot in carried:
            item = replace(slot.item, start=None, end=None, trial=None, price=raised(slot.item.price, uplift))
            board.add(item, at, cause)
        self.term_end = None if length is None else boundary(at, length, 1)
        self.term = replace(self.term, end=self.term_end)
        self.end_cause = cause
        if self.end_behavior == "release" and length is not None and cause.id:
            self.end_behavior = "cancel"


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
    return _Drawing(contract, horizon).draw()


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
    before = replace(contract, changes=tuple(c for c in contract.changes if to_local(c.effective, contract.terms.timezone) <= on))
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
