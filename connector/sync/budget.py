"""How many calls of the org's allocation we may make, and what happens beyond: reading slows, writing waits (decision D-168).

Problem: the allocation is one number for everyone who works with the org, counted over a rolling 24 hours. Whoever uses it up
stops people and other integrations; whoever stops asking never learns that calls are free again.

| how it stands | reading | writing | billing |
|---|---|---|---|
| within: the org has used at most `crm.daily_api_budget` of its calls | each round | at once | goes on |
| over: more than that, by whomever | every 15 minutes | stays queued | goes on |
| spent: the CRM refuses calls (REQUEST_LIMIT_EXCEEDED, total) | one try every 15 minutes | stays queued | goes on; new invoices wait as drafts once the CRM was read too long ago |

Worked example: 100,000 calls, budget 0.5, another integration brings the count to 52,000. The next round still ends; from
then on one look every 15 minutes (96 calls a day) sees the count fall below 50,000, and the round after it writes what waited.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from connector.errors import HaltError, RetryableError
from connector.ports import ApiUsage
from connector.sync.seam import Seam

SPENT = "crm-call-limit"
LOOK_EVERY_S = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The org's calls of the last 24 hours as last told (0 of 0: not yet), and the share of them that we may bring it to."""

    used: int
    limit: int
    share: Decimal
    is_spent: bool = False

    @property
    def state(self) -> Literal["within", "over", "spent"]:
        """Return how it stands; what is not known yet is within."""
        if self.is_spent:
            return "spent"
        return "over" if self.limit and self.used > self.limit * self.share else "within"

    @property
    def left(self) -> int:
        """Return how many calls the org has left."""
        return max(0, self.limit - self.used)

    def text(self) -> str:
        """Return the figures and what follows from them, in words."""
        figures = f"The org has used {self.used:,} of its {self.limit:,} calls of 24 hours, {self.left:,} are left."
        if self.state == "spent":
            return f"{figures} The CRM takes no more calls for now: billing goes on, what the CRM is to be told waits."
        if self.state == "over":
            return (
                f"{figures} crm.daily_api_budget ({self.share}) allows {int(self.limit * self.share):,}: the CRM is read every"
                f" {LOOK_EVERY_S // 60} minutes only, and what it is to be told waits."
            )
        return figures

    def hint(self) -> str:
        """Return what a person may do; nothing has to be done."""
        if self.state == "within":
            return ""
        return (
            "It goes on by itself as the count falls. Raise crm.daily_api_budget, or find out who calls so much:"
            " Setup, System Overview, API Usage."
        )


def budget(usage: ApiUsage, share: Decimal) -> Budget:
    """Return the budget as the CRM's last reply leaves it."""
    return Budget(used=usage.used, limit=usage.limit, share=share, is_spent=usage.is_spent)


def budget_of(seam: Seam) -> Budget:
    """Return how the budget of this seam stands."""
    return budget(seam.crm.usage(), seam.settings.api_share)


def keep_budget(seam: Seam) -> None:
    """Refuse to read above the budget, for whoever cannot wait for the next look.

    Raises: RetryableError; the allocation is a rolling one, so that it heals by itself (pitfall P25).
    """
    found = budget_of(seam)
    if found.state == "over":
        raise RetryableError(found.text(), hint=found.hint(), retry_after_s=LOOK_EVERY_S)


def may_write(seam: Seam) -> bool:
    """Whether the CRM may be told things now; what may not be told stays due."""
    return budget_of(seam).state == "within"


def is_spent(error: Exception) -> bool:
    """Whether an error says that the allocation is used up, which ends by itself."""
    return isinstance(error, HaltError) and error.code == SPENT


class Pace:
    """When a daemon looks at the CRM: at each turn within the budget, else every 15 minutes. *now* is the clock of the house."""

    def __init__(self) -> None:
        self._looked_at: datetime | None = None

    def may_look(self, found: Budget, now: datetime) -> bool:
        """Whether it is time to look; notes that it was done."""
        if found.state != "within" and self._looked_at is not None and now < self._looked_at + timedelta(seconds=LOOK_EVERY_S):
            return False
        self._looked_at = now
        return True
