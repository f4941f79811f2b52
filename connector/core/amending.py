"""The drawing of a timeline, second part: amendments, cancellations, pauses and what they do to running items."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from connector.core.matching import (
    by_crm_line,
    candidates_text,
    in_running_interval,
    is_price_of,
    product_of,
    quantity_text,
    target_of,
)
from connector.core.period import is_boundary, next_boundary, to_local
from connector.core.repricing import Repricing
from connector.core.segments import Cause, Cut, PrebillWindow, Surprise, Term, day_after
from connector.core.terms import Change, Coupon, Item, ItemChange
from connector.errors import Problem


class Amending(Repricing):
    """A drawing that also knows the changes that people make to a running contract."""

    def effective(self, change: Change) -> datetime:
        """Return from which local instant a change counts: the start of its day unless seconds count, not before the contract."""
        at = to_local(change.effective, self.zone)
        if self.terms.settings.proration != "second":
            at = at.replace(hour=0, minute=0, second=0, microsecond=0)
            if change.kind == "cancel" and change.when == "at" and self.terms.settings.cancellation_day == "billed":
                at = day_after(at)
        return max(at, self.start)

    def plan_change(self, change: Change) -> None:
        """Queue a change; renewals wait for the end of a term."""
        if change.kind == "renew":
            self.renewals.append(change)
            return
        made = to_local(change.made_at, self.zone)
        at = self.effective(change)
        known = max(to_local(change.effective, self.zone), made)
        moves = {"amend": self._amend, "cancel": self._cancel, "pause": self._pause, "resume": self._resume}
        move = moves[change.kind]
        cause = Cause(
            id=change.id, at=at, known=known, made=made, prorates=change.proration_behavior != "none",
            pending=change.proration_behavior == "create_prorations", is_event=True,
            up_front=change.billing_behavior == "prorate_up_front",
        )  # fmt: skip

        def run(when: datetime) -> None:
            if to_local(change.effective, self.zone).date() < self.start.date():
                self.problem(
                    "before-start",
                    f"The change is effective on {to_local(change.effective, self.zone).date().isoformat()}, before the contract starts on {self.start.date().isoformat()}.",
                    "Correct the effective date.",
                    change.id,
                )
            elif not self.is_over:
                move(change, when, cause)
            elif self.end_cause.made <= made:
                ended = (self.timeline.end or when) - timedelta(microseconds=1)
                self.problem(
                    "contract-ended",
                    f"The contract has ended; its last day was {ended.date().isoformat()}.",
                    "Close it as Renew or New.",
                    change.id,
                )

        self.push(at, 1, run, made)

    def _amend(self, change: Change, at: datetime, cause: Cause) -> None:
        had_items = bool(self.board.slots)
        for step in self._with_term(change.items) if change.is_delta_order else change.items:
            start = step.item.start if step.item is not None else None
            if step.op == "reprice":
                self.migrate(step, at, cause, change.when)
            elif start is not None and start > at and not self._is_of_the_future(step, start):
                later = replace(cause, at=start, known=max(start, cause.known))
                self.push(start, 1, lambda t, s=step, c=later: self._later(s, t, c, change), cause.made)  # type: ignore[misc]
            else:
                self._step(step, at, cause, change.until)
        for item in change.one_time:
            self.charge_once(item, max(at, item.start or at), cause)
        if change.is_delta_order and had_items:
            self._end_if_empty(at, cause)
        if not self.is_over:
            self._amend_rest(change, at, cause)

    def _with_term(self, steps: tuple[ItemChange, ...]) -> tuple[ItemChange, ...]:
        """Return steps whose items end with the term where they say its very end."""
        return tuple(
            replace(s, item=replace(s.item, end=None)) if s.item is not None and s.item.end == self.term_end else s for s in steps
        )

    def _later(self, step: ItemChange, at: datetime, cause: Cause, change: Change) -> None:
        had_items = bool(self.board.slots)
        self._step(step, at, cause, None)
        if change.is_delta_order and had_items:
            self._end_if_empty(at, cause)

    def _is_of_the_future(self, step: ItemChange, start: datetime) -> bool:
        """Whether a step changes an item that begins only then: how much of it there will be is known at once."""
        found = by_crm_line(step.revises, self._running()) if step.revises is not None else None
        return found is not None and (self.board.slots[found].item.start or start) >= start and self.board.slots[found].segment is None

    def _end_if_empty(self, at: datetime, cause: Cause) -> None:
        """End the contract where a delta order left nothing of it."""
        if not self.board.slots and not self.is_over:
            self.end_contract(at, replace(cause, is_final=not cause.pending), known=cause.made)
            self.renewals = [r for r in self.renewals if to_local(r.made_at, self.zone) > cause.made]

    def _running(self) -> dict[str, Item]:
        return {k: s.item for k, s in self.board.slots.items()}

    def _amend_rest(self, change: Change, at: datetime, cause: Cause) -> None:
        if change.discounts_set is not None or change.discounts_add or change.discounts_remove:
            self.amend_discounts(change, at)
        if change.billing_cycle_anchor != "unchanged":
            anchor = change.billing_cycle_anchor
            self.board.restart_all(at, cause, anchor=anchor if isinstance(anchor, datetime) else at)
        if change.trial_end is not None and change.trial_end > at:
            self.board.free_until = self.timeline.trial_end = change.trial_end
            self.has_trial_anchor = True
            self.board.restart_all(at, cause)
            self.push(change.trial_end, 0, self.end_trial)
        if change.prebill is not None:
            due = cause.known
            self.timeline.prebills.append(
                PrebillWindow(start=at, prebill=change.prebill, due=due, is_first_skipped=True)
            )
        if change.end_behavior is not None:
            self.end_behavior = change.end_behavior
        if change.new_end is not None:
            self._move_end(change.new_end, at, cause)
        if change.metadata:
            self.metadata = tuple({**dict(self.metadata), **dict(change.metadata)}.items())

    def amend_discounts(self, change: Change, at: datetime) -> None:
        """Change the contract's coupons from *at* on."""

        def amended(current: tuple[Coupon, ...]) -> tuple[Coupon, ...]:
            if change.discounts_set is not None:
                current = change.discounts_set
            kept = tuple(c for c in current if c.id not in change.discounts_remove)
            return kept + tuple(c for c in change.discounts_add if all(c.id != k.id for k in kept))

        if change.discounts_set is not None:
            self.has_no_discounts = not change.discounts_set
        self.contract_discounts = amended(self.contract_discounts)
        if self.phase_discounts is not None:
            self.phase_discounts = amended(self.phase_discounts)
        self.note_discounts(at)

    def _step(self, step: ItemChange, at: datetime, cause: Cause, until: datetime | None) -> None:
        if self.is_over:
            return
        if step.item is not None and self.migrations:
            step = replace(step, item=self.migrated(step.item, cause.made))
        if step.keeps_interval and step.item is not None:
            running = {k: s.item for k, s in self.board.slots.items()}
            step = replace(step, item=in_running_interval(step.item, running, step.item_id))
        if step.op == "delta" and step.item is not None and step.revises is not None:
            self._revise(step, step.item, at, cause)
        elif step.op == "delta" and step.item is not None:
            self._delta(step.item, step.item_id, at, cause, until)
        elif step.op == "add" and step.item is not None:
            self._add(step.item, at, cause, until)
        else:
            self._set_or_remove(step, at, cause, until)

    def _set_or_remove(self, step: ItemChange, at: datetime, cause: Cause, until: datetime | None) -> None:
        name = step.item_id or (step.item.id if step.item is not None else "")
        items = {k: s.item for k, s in self.board.slots.items()}
        probe = step.item or Item(id=name, price=next(iter(items.values())).price) if items else None
        found = (
            target_of(probe, items, item_id=name, end=self.term_end, currency=self.terms.currency) if probe else None
        )
        if not isinstance(found, str):
            self.report(
                found or Problem(code="unknown-item", message=f"The contract has no running item {name!r}."), cause.id
            )
            return
        old = items[found]
        if step.op == "remove" or step.item is None:
            self.board.remove(found, at, cause)
            if until is not None:
                self.push(
                    until,
                    1,
                    lambda t: self._step(ItemChange(op="add", item=old), t, replace(cause, at=t, known=t), None),
                    cause.made,
                )
            return
        item = step.item if step.item_id is not None else replace(step.item, id=found)
        if item.id != found and item.id in items:
            self.problem(
                "duplicate-item",
                f"The contract already has an item {item.id!r}.",
                "Give the new item its own id.",
                cause.id,
            )
            return
        self.board.switch(found, item, at, cause)
        self.plan_item_end(item)
        if until is not None:
            back = ItemChange(op="set", item=old, item_id=item.id)
            self.push(
                until,
                1,
                lambda t: self._step(back, t, replace(cause, at=t, known=max(t, cause.known)), None),
                cause.made,
            )

    def _add(self, item: Item, at: datetime, cause: Cause, until: datetime | None) -> None:
        slot = self.board.slots.get(item.id)
        if until is not None and slot is None:
            item = replace(item, end=until)
        if slot is None or item.price.interval is None:
            self.agree(item, at, cause)
            return
        if slot.item.quantity is None or item.quantity is None or slot.item.price != item.price:
            self.problem(
                "duplicate-item",
                f"The contract already has an item {item.id!r} at another price.",
                "Give the new item its own id.",
                cause.id,
            )
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
            back = ItemChange(
                op="delta", item=replace(slot.item, quantity=-by, start=None), item_id=item_id if left else None
            )
            self.push(
                until,
                1,
                lambda t: self._step(back, t, replace(cause, at=t, known=max(t, cause.known)), None),
                cause.made,
            )

    def _revise(self, step: ItemChange, wanted: Item, at: datetime, cause: Cause) -> None:
        """Change the item that stems from the CRM line which a line revises, at the item's own price (decisions D-03 and D-173)."""
        items = self._running()
        found = by_crm_line(step.revises or "", items)
        if found is None:
            if wanted.price.interval is None or not any(i.crm_lines for i in items.values()):
                self._delta(wanted, None, at, cause, None)  # a charge that came once, or a contract that no CRM line made
                return
            name = wanted.price.description or product_of(wanted.price)
            shown = candidates_text(list(enumerate(items.values(), 1)), self.terms.currency)
            self.problem(
                "revised-line-gone",
                f"{name}: what this line revises does not run on {at.date().isoformat()}: {shown or 'the contract has no items'}.",
                "Correct the start date of the line, or the line that it revises.",
                cause.id,
            )
            return
        item = items[found]
        if step.prior is not None and item.quantity is not None and step.prior != item.quantity and self._is_of_one_line(step.revises or ""):
            name = item.price.description or product_of(item.price)
            self.timeline.surprises.append(Surprise(change_id=cause.id, item=name, expected=step.prior, found=item.quantity))
        is_more = (wanted.quantity or Decimal(0)) > 0
        begin, end = max(at, item.start or at), wanted.end or self.term_end
        if is_more and ((item.end or self.term_end) != end or not is_price_of(item, wanted, begin, end)):
            found = None  # more of it at another price, or for another time, is an item of its own
        self._delta(wanted, found, at, cause, None, is_new=found is None)

    def _is_of_one_line(self, line: str) -> bool:
        """Whether an item was made by this line alone: of several equal ones nobody knows how many each of them stands for."""
        contract = self.timeline.contract
        made = [i for p in contract.terms.phases for i in p.items]
        made += [s.item for c in contract.changes for s in c.items if s.item is not None]
        made += [i for c in contract.changes for p in c.phases for i in p.items]
        return all(len(i.crm_lines) == 1 for i in made if line in i.crm_lines)

    def _delta(
        self, wanted: Item, item_id: str | None, at: datetime, cause: Cause, until: datetime | None, *, is_new: bool = False
    ) -> None:
        if wanted.price.interval is None:
            self.charge_once(wanted, at, cause)
            return
        items = self._running()
        found = None if is_new else target_of(wanted, items, item_id=item_id, end=self.term_end, currency=self.terms.currency)
        if isinstance(found, Problem):
            self.report(found, cause.id)
            return
        by = wanted.quantity or Decimal(0)
        if found is None:
            taken = wanted.id in items
            item = replace(wanted, id=f"{wanted.id}-{cause.id}" if taken else wanted.id)
            self._add(item, at, cause, until)
            return
        if items[found].quantity is None:
            return  # usage runs already; it has no quantity that could grow
        running = items[found].quantity or Decimal(0)
        if running + by < 0:
            number = list(items).index(found) + 1
            shown = candidates_text([(number, items[found])], self.terms.currency)
            self.problem(
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
            self.timeline.cut(old)
            go_on = replace(cause, at=old, known=max(old, cause.known), pending=False, is_event=False)
            self.push(old, 0, lambda t: None if self.is_over else self.board.restart_all(t, go_on))
        self.timeline.cut(max(end, at), known=cause.made)
        self.term_end, self.end_cause = max(end, at), cause
        self.term = replace(self.term, end=self.term_end)
        if self.end_behavior == "release":
            self.end_behavior = "cancel"

    def _cancel(self, change: Change, at: datetime, cause: Cause) -> None:
        if change.prorate is None and change.when == "at" and self._is_inside_period(change, at):
            self.problem(
                "no-proration",
                "It is not said what becomes of time that is paid for and not used.",
                "Say it (Proration: Immediately, Next invoice or None), or cancel at the end of the period.",
                cause.id,
            )
        cause = replace(cause, prorates=bool(change.prorate), pending=False, is_final=change.invoice_now)
        if change.when == "term_end":
            self._cancel_at_term_end(cause)
            return
        if change.when == "period_end":
            ends = [
                next_boundary(s.segment.anchor, s.segment.price.interval, at)
                for k, s in self.board.slots.items()
                if s.segment is not None
                and s.segment.price.interval is not None
                and (not change.item_ids or k in change.item_ids)
            ]
            later = min(ends, default=at)
            if self.term_end is not None:
                later = min(later, self.term_end)
            cause = replace(cause, at=later, known=max(later, cause.made), is_final=True)
            if later > at:
                self.push(later, 1, lambda t: None if self.is_over else self._cancel_now(change, t, cause), cause.made)
                return
        self._cancel_now(change, at, cause)

    def _is_inside_period(self, change: Change, at: datetime) -> bool:
        """Whether a cancellation at an instant would leave a paid period unused."""
        return at != self.term_end and any(
            not is_boundary(s.segment.anchor, s.segment.price.interval, at)
            for k, s in self.board.slots.items()
            if s.segment is not None
            and s.segment.price.interval is not None
            and (not change.item_ids or k in change.item_ids)
        )

    def _cancel_at_term_end(self, cause: Cause) -> None:
        if self.term_end is None:
            self.problem(
                "no-term-end",
                "The contract has no term that could end.",
                "Cancel it on a date or at the end of a period.",
                cause.id,
            )
            return
        self.end_behavior = "cancel"
        self.end_cause = replace(cause, is_final=True)
        self.renewals = [r for r in self.renewals if to_local(r.made_at, self.zone) > cause.made]

    def _cancel_now(self, change: Change, at: datetime, cause: Cause) -> None:
        if not change.item_ids:
            self.end_contract(at, cause, known=cause.made)
            self.renewals = [
                r for r in self.renewals if to_local(r.made_at, self.zone) > cause.made
            ]  # its term never comes
            return
        items = {k: s.item for k, s in self.board.slots.items()}
        for name in change.item_ids:
            found = name if name in items else next((k for k, i in items.items() if i.price.id == name), None)
            if found is None or found not in self.board.slots:
                shown = candidates_text(list(enumerate(items.values(), 1)), self.terms.currency)
                self.problem(
                    "unknown-item",
                    f"The contract has no running item {name!r}: {shown}.",
                    "Name one of these.",
                    cause.id,
                )
                continue
            self.timeline.cuts.append(Cut(at=at, known=cause.made, items=(found,)))
            self.board.remove(found, at, cause)

    def end_contract(self, at: datetime, cause: Cause, *, known: datetime) -> None:
        """End everything at *at*; lines due from *known* on stop there."""
        self.timeline.cut(at, known=known)
        self.board.close_all(at, cause)
        self.is_over = True
        self.timeline.end, self.timeline.ended_by = at, cause
        self.end_cause = cause
        term = self.term
        self.term = Term(start=term.start, end=at, change_id=term.change_id, is_automatic=term.is_automatic)

    def _pause(self, change: Change, at: datetime, cause: Cause) -> None:
        pauses = self.timeline.pauses
        behavior = "credit" if self.board.is_paused else change.pause_behavior  # what is not served cannot be served half
        is_open = bool(pauses) and pauses[-1][1] is None
        if is_open and pauses[-1][2] != behavior:
            pauses[-1] = (pauses[-1][0], at, pauses[-1][2])
        if not is_open or pauses[-1][1] is not None:  # paused twice is one pause, and one resumption ends it
            pauses.append((at, None, behavior))
        if change.pause_behavior == "credit":
            self.board.close_all(at, replace(cause, pending=False))
            self.board.is_paused = True
        if change.until is not None:
            self.push(
                change.until,
                1,
                lambda t: self._resume(change, t, replace(cause, at=t, known=max(t, cause.known))),
                cause.made,
            )

    def _resume(self, change: Change, at: datetime, cause: Cause) -> None:
        pauses = self.timeline.pauses
        if not pauses or pauses[-1][1] is not None:
            self.problem(
                "not-paused",
                f"The contract is not paused on {at.date().isoformat()}, so there is nothing to resume.",
                "It is billed as usual; if it shall be paused later, resume it after that day.",
                change.id,
            )
            return
        pauses[-1] = (pauses[-1][0], at, pauses[-1][2])
        if self.board.is_paused:
            self.board.is_paused = False
            for slot in self.board.slots.values():
                if slot.item.start is None or slot.item.start <= at:
                    self.board.open(slot, at, cause)
