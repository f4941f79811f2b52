"""The steps taken about an invoice that is not paid: reminders counted from its due date, tries counted from the try before.

Worked example: due 1 May with `remind: [-3d, 1d, 7d, 14d]`: reminded on 28 April, 2, 8 and 15 May; on 16 May comes what `after` says.
A run that was down from 1 to 9 May sends the reminder of 8 May only: who was forgotten is not flooded (decision D-145).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

After = Literal["leave", "unpaid", "cancel"]
DONE = 10_000  # the step that an invoice stands on once `after` was carried out


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """remind - days from the due date, ascending, below zero before it. retry - days from each failed try to the next."""

    remind: tuple[int, ...] = ()
    retry: tuple[int, ...] = ()
    after: After = "leave"

    @property
    def last(self) -> int:
        """Return the last step, in days from the due date; the day after it is the earliest for `after`."""
        return max(self.remind, default=0)

    def after_days(self, *, is_automatic: bool) -> int:
        """Return how many days after the due date `after` comes at the earliest: the day after the last step and the last try."""
        return max(self.last, sum(self.retry) if is_automatic else 0) + 1

    def step_for(self, days: int, passed: int) -> int | None:
        """Return the step that is due *days* after the due date where *passed* is behind; None: none. Of several, the latest."""
        due = [step for step in self.remind if passed < step <= days]
        return due[-1] if due else None

    def is_in_place(self, step: int, days: int, due_on: date, issued_on: date) -> bool:
        """Whether a step's mail makes sense: not on the day the invoice was sent, and one from before the due date not after it."""
        return due_on + timedelta(days=step) > issued_on and (step >= 0 or days <= 0)

    def next_on(self, due_on: date, passed: int, today: date) -> date | None:
        """Return the day of the next reminder after *today*."""
        later = (due_on + timedelta(days=step) for step in self.remind if step > passed)
        return next((day for day in later if day > today), None)
