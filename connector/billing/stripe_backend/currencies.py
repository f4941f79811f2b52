"""One customer has one currency at Stripe as long as anything runs: checked against the books before anything is sent.

Worked example: Acme's seats run in euros. A deal in dollars for Acme is refused with "Acme is already billed in EUR (Seats)"; the same deal
is billed once the contract in euros has ended, and another account's is not touched. Source: docs.stripe.com/billing/customer (currency).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from connector.billing.store import BookedContract
from connector.billing.stripe_backend.steps import Plan
from connector.errors import Problem, RejectedError
from connector.ports import Unit

_OVER = ("canceled", "completed", "withdrawn")
_AT_ONCE = 400  # ids of one statement


class Currencies:
    """Which currency runs for which customer, and by which contract (label)."""

    def __init__(self, running: Mapping[str, tuple[str, str]]) -> None:
        self._running = dict(running)

    def check(self, contract: BookedContract, plan: Plan, customer: str) -> None:
        """Note that a contract begins to run. Raises: RejectedError where its customer (by name) is billed in another currency."""
        if not any(step.call == "subscription_schedules.create" for step in plan.steps):
            return
        currency = contract.contract.terms.currency
        running, label = self._running.setdefault(contract.customer_id, (currency, contract.label))
        if running == currency:
            return
        message = f"Not billed: {customer} is already billed in {running.upper()} ({label}), and one customer has one currency there."
        hint = f"Close this deal in {running.upper()}, or for another account; it is tried again by itself."
        raise RejectedError(Problem(code="customer-currency", message=message, hint=hint))


def running_currencies(unit: Unit, contracts: Sequence[BookedContract]) -> Currencies:
    """Return what runs at Stripe for the customers of *contracts*: one statement for many."""
    found: dict[str, tuple[str, str]] = {}
    for ids in _batches(sorted({c.customer_id for c in contracts})):
        marks = ", ".join("?" * len(ids))
        rows = unit.query(
            "SELECT c.customer_id, c.currency, c.label FROM contract c WHERE"
            f" c.customer_id IN ({marks}) AND c.status NOT IN (?,?,?)"
            " AND EXISTS (SELECT 1 FROM stripe_subscription s WHERE s.contract_id = c.id) ORDER BY c.id",
            (*ids, *_OVER),
        )
        for customer, currency, label in rows:
            found.setdefault(customer, (currency, label))
    return Currencies(found)


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(ids), _AT_ONCE):
        yield ids[at : at + _AT_ONCE]
