"""The drawing of a timeline, price migrations: what runs on one price goes on at another, at once or when it is renewed.

A migration is a rule that is read while the timeline is drawn, so that it takes whatever quantity and items run when its day
comes: those of phases and temporary changes agreed before it, too; what is agreed after its day stays as agreed.
"At renewal" is the end of the term, where the contract has one and goes on after it; the agreed uplift does not raise the new price
that time. Without a term it is the next period of each item that was not billed ahead. Before its day nothing changes.

Worked example: 10 seats at 30.00 a month until 31 December, renewing; migrated to 35.00 at renewal on 10 June: December is billed
300.00, January 350.00. The same contract without a term is billed 350.00 from 1 July on.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from connector.core.drawing import Drawing, is_on
from connector.core.period import is_boundary, next_boundary
from connector.core.segments import Cause
from connector.core.terms import CancelWhen, Item, ItemChange, Price


class Repricing(Drawing):
    """A drawing that also knows which prices are given up, since when, and for which."""

    def migrate(self, step: ItemChange, at: datetime, cause: Cause, when: CancelWhen) -> None:
        """Give what runs on a price another one: at once, from the next period, or when the running term ends."""
        name, price = step.item_id or "", step.item.price if step.item is not None else None
        if price is None:
            return
        if when == "term_end" and self.term_end is not None:
            self.waiting.append((name, price, cause))
        elif when in ("term_end", "period_end"):
            self._from_next_period(name, price, at, cause)
        else:
            self.migrations.append((cause.made, name, price))
            self._switch(name, price, at, cause)

    def _switch(self, name: str, price: Price, at: datetime, cause: Cause, only: str | None = None) -> None:
        for item_id in [only] if only is not None else list(self.board.slots):
            slot = self.board.slots.get(item_id)
            if slot is not None and is_on(slot.item, name) and not self.is_over:
                self.board.switch(item_id, replace(slot.item, price=price), at, cause)

    def _from_next_period(self, name: str, price: Price, at: datetime, cause: Cause) -> None:
        """Move each item at its next period; what was billed ahead stays billed."""
        for item_id, slot in list(self.board.slots.items()):
            segment = slot.segment
            if not is_on(slot.item, name):
                continue
            begin = asked = max(at, cause.made)  # the period of the day on which it is asked for may be billed already
            if segment is not None and segment.price.interval is not None and not is_boundary(segment.anchor, segment.price.interval, asked):
                begin = next_boundary(segment.anchor, segment.price.interval, asked)
            then = replace(cause, at=begin, known=max(begin, cause.made), prorates=False, pending=False)

            def move(when: datetime, item_id: str = item_id, then: Cause = then) -> None:
                self._begin(name, price, cause)
                self._switch(name, price, when, then, item_id)

            self.push(begin, 1, move, cause.made)
        if not any(is_on(slot.item, name) for slot in self.board.slots.values()):
            self._begin(name, price, cause)

    def _begin(self, name: str, price: Price, cause: Cause) -> None:
        rule = (cause.made, name, price)
        if rule not in self.migrations:
            self.migrations.append(rule)

    def begin_waiting(self) -> list[tuple[str, Price, Cause]]:
        """Let what waited for the end of the term count from now on, and return it."""
        self.begun, self.waiting = self.waiting, []
        for name, price, cause in self.begun:
            self._begin(name, price, cause)
        return self.begun

    def at_renewal(self, item: Item) -> Item:
        """Return an item that goes on into the next term, at the price that a migration waited to give it."""
        for name, price, _ in self.begun:
            if is_on(item, name):
                item = replace(item, price=price)
        return item
