"""The drawing of a timeline, first part: the state that moves along, phases, items, ramps and trials.

Every event is a move on the board, queued by (instant, rank, made): at one instant phases, trial ends and item ends come
first, then the changes in their order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from connector.core.matching import product_of
from connector.core.period import boundary, to_local
from connector.core.segments import ALWAYS, Board, Cause, Cut, OneTime, Slot, Term, Timeline
from connector.core.terms import Change, Contract, Coupon, Item, Phase, Price
from connector.errors import Problem, Where


def is_on(item: Item, name: str) -> bool:
    """Whether an item recurs at the price with the id *name*, or at a price of the product *name*."""
    return item.price.interval is not None and name in (item.price.id, product_of(item.price))


Move = Callable[[datetime], None]


class Drawing:
    """One run over the terms and changes of a contract."""

    def __init__(self, contract: Contract, horizon: datetime | None) -> None:
        terms = contract.terms
        self.terms, self.zone, self.horizon = terms, terms.timezone, horizon
        self.start = terms.start
        entered = self.start if terms.entered_at is None else to_local(terms.entered_at, self.zone)
        self.timeline = Timeline(contract=contract, entered=entered)
        self.board = Board(self.timeline, terms.anchor or terms.start)
        self.root = Cause(id="", at=self.start, known=entered, made=entered)
        self.queue: list[tuple[datetime, int, datetime, int, Move]] = []
        self.sequence = 0
        self.renewals: list[Change] = []
        self.term = Term(start=self.start, end=None, change_id="")
        self.end_behavior = terms.end_behavior
        self.term_end: datetime | None = None
        self.end_cause = self.root
        self.contract_discounts: tuple[Coupon, ...] = terms.discounts
        self.phase_discounts: tuple[Coupon, ...] | None = None
        self.has_no_discounts = False  # a change said that there are none, not even the customer's
        self.metadata: tuple[tuple[str, str], ...] = ()
        self.is_over = False
        self.reached = self.start
        self.has_trial_anchor = False
        self.migrations: list[tuple[datetime, str, Price]] = []  # when each was asked for, the price's or product's name, the new price
        self.waiting: list[tuple[str, Price, Cause]] = []  # migrations that begin with the next term
        self.begun: list[tuple[str, Price, Cause]] = []  # those of them that began with the running one

    def push(self, at: datetime, rank: int, move: Move, made: datetime = ALWAYS) -> None:
        """Queue a move for *at*; lower ranks come first."""
        self.sequence += 1
        heapq.heappush(self.queue, (at, rank, made, self.sequence, move))

    def problem(self, code: str, message: str, hint: str, change_id: str = "") -> None:
        """Note a problem of the change *change_id*."""
        self.report(Problem(code=code, message=message, hint=hint), change_id)

    def report(self, problem: Problem, change_id: str) -> None:
        """Note a problem that was found elsewhere."""
        self.timeline.problems.append(replace(problem, where=Where(record=change_id or None)))

    def migrated(self, item: Item, made: datetime) -> Item:
        """Return an item agreed at *made* at the price that a later migration has put in place of its own (see `repricing`)."""
        for asked, name, price in self.migrations:
            if made <= asked and is_on(item, name):
                item = replace(item, price=price)
        return item

    # ------------------------------------------------------------------ terms and phases

    def plan_phases(self, phases: tuple[Phase, ...], cause: Cause) -> None:
        """Enter the first phase and queue the others."""
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
                self.push(at, 0, lambda t, p=phase, c=entry: self._enter_phase(t, p, c, is_first=False))  # type: ignore[misc]
        self.term_end = phases[-1].end
        self.term = Term(
            start=self.term.start, end=self.term_end, change_id=self.term.change_id, is_automatic=self.term.is_automatic
        )
        if self.term_end is not None:
            self.end_cause = cause
            if self.end_behavior != "release":  # stays known even if something else ends the contract first
                self.timeline.cut(self.term_end)

    def _enter_phase(self, at: datetime, phase: Phase, cause: Cause, *, is_first: bool) -> None:
        if self.is_over:
            return
        board = self.board
        self.phase_discounts = phase.discounts
        self.metadata = phase.metadata
        self.note_discounts(at)
        was_free = board.free_until
        if phase.trial and phase.end is not None:
            board.free_until = self.timeline.trial_end = phase.end
        is_anchor_new = not is_first and phase.billing_cycle_anchor == "phase_start"
        if is_anchor_new:
            board.anchor = at
        if board.slots:
            kept = {i.id for i in phase.items if i.price.interval is not None}
            for item_id in [k for k in board.slots if k not in kept]:
                board.remove(item_id, at, cause)
        for agreed in phase.items:
            item = self.migrated(agreed, cause.made) if self.migrations else agreed
            is_changed = is_anchor_new or board.free_until != was_free
            self.agree(item, at, cause, is_anchor_new=is_changed)
        for item in phase.add_invoice_items:
            self.charge_once(item, max(at, item.start or at), replace(cause, pending=False))

    def agree(self, item: Item, at: datetime, cause: Cause, *, is_anchor_new: bool = False) -> None:
        """Take up an item as agreed: running, later, changed, or charged once."""
        start = max(at, item.start or at)
        if item.price.interval is None:
            self.charge_once(item, start, cause)
        elif item.id in self.board.slots and start == at:
            self.board.switch(item.id, item, at, cause, is_anchor_new=is_anchor_new)
            self.plan_item_end(item)
        elif item.end is not None and item.end <= start:
            return
        elif start > at:
            self._plan_later(item, start, cause)
        else:
            slot = self.board.add(item, at, cause)
            self.plan_item_end(item)
            self._plan_trial_end(slot, at)

    def _plan_later(self, item: Item, start: datetime, cause: Cause) -> None:
        self.board.numbers += 1
        slot = self.board.slots[item.id] = Slot(item=item, number=self.board.numbers)

        def begin(at: datetime) -> None:
            if self.board.slots.get(slot.item.id) is slot and not self.is_over and slot.segment is None:
                self.board.open(
                    slot, at, replace(cause, at=at, known=max(at, cause.known), pending=False, is_event=False)
                )
                self._plan_trial_end(slot, at)

        self.push(start, 0, begin)
        self.plan_item_end(item)

    def plan_item_end(self, item: Item) -> None:
        """Queue the item's own end."""
        if item.end is None:
            return

        def stop(at: datetime) -> None:
            slot = self.board.slots.get(item.id)
            if slot is not None and slot.item.end == at and not self.is_over:
                self.board.remove(item.id, at, replace(self.root, at=at))

        self.push(item.end, 0, stop)

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

        self.push(end, 0, finish)

    def charge_once(self, item: Item, at: datetime, cause: Cause) -> None:
        """Note a single charge."""
        self.board.numbers += 1
        self.timeline.one_times.append(OneTime(item=item, at=at, cause=cause, number=self.board.numbers))

    def end_trial(self, at: datetime) -> None:
        """Begin to bill what was free."""
        if self.board.free_until != at or self.is_over:
            return
        self.board.free_until = None
        anchor = self.terms.anchor if self.terms.anchor is not None and not self.has_trial_anchor else at
        self.board.restart_all(at, replace(self.root, at=at, known=self.root.known), anchor=anchor)

    def note_discounts(self, at: datetime) -> None:
        """Note which coupons of the contract count from *at* on."""
        current = self.contract_discounts if self.phase_discounts is None else self.phase_discounts
        log = self.timeline.discounts
        if log and log[-1][0] == at:
            log.pop()
        if not log or log[-1][1] != current:
            log.append((at, current))
        is_open = not current and self.phase_discounts is None and not self.has_no_discounts
        marks = self.timeline.inherits
        if not marks or marks[-1][1] != is_open:
            marks.append((at, is_open))
