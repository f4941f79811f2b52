"""The door to whoever charges customers automatically (decision D-143). Amounts are in minor units; no card number ever comes here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One try to charge a stored method: *amount* minor units of *currency*, the *attempt*-th for its invoice.

    key - names the try for good: whoever charges answers the same key with the same outcome, however often it is asked.
    """

    key: str
    method: str
    token: str
    amount: int
    currency: str
    attempt: int
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeResult:
    """How a try ended: *reference* of the payment, or *code* and *message* why not; *is_final*: the same method is useless."""

    is_paid: bool
    reference: str = ""
    code: str = ""
    message: str = ""
    is_final: bool = False


class Payments(Protocol):
    """Whoever charges customers automatically. Raises RetryableError where the outcome is not known: the same key is asked again."""

    def token(self, name: str) -> str:
        """Return the token of a method by what a person calls it. Raises: RejectedError where there is none."""

    def label(self, token: str) -> str:
        """Return how people read a method; never a whole number of a card or account."""

    def names(self) -> tuple[str, ...]:
        """Return the names under which a customer can choose a method here; none where it is stored on a page of whoever charges."""

    def charge(self, charge: Charge) -> ChargeResult:
        """Charge, or say why not; called outside of any transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chased:
    """What was done about an invoice that is not paid: reminders by day, the last charge that failed, what comes next.

    undelivered - why the last reminder could not be delivered. is_unpaid - all steps were taken in vain.
    """

    reminded_on: tuple[date, ...] = ()
    next_on: date | None = None
    failed_on: date | None = None
    failure: str = ""
    retry_on: date | None = None
    undelivered: str = ""
    is_unpaid: bool = False
