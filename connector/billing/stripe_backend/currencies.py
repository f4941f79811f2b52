"""One customer has one currency at Stripe as long as anything runs: what runs is looked up in the books; `compiling.limits` refuses.

Worked example: Acme's seats run in euros. A deal in dollars for Acme is refused with "Acme is already billed in EUR (Seats)"; the same deal
is billed once the contract in euros has ended, and another account's is not touched. Source: docs.stripe.com/billing/customer (currency).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from connector.billing.store import BookedContract
from connector.billing.stripe_backend.steps import Plan
from connector.ports import Unit

_BEGINS = ("subscription_schedules.create", "subscriptions.create")
_OVER = ("canceled", "completed", "withdrawn")
_AT_ONCE = 400  # ids of one statement


class Currencies:
    """Which currency runs for which customer, and by which contract (label)."""

    def __init__(self, running: Mapping[str, tuple[str, str]]) -> None:
        self._running = dict(running)

    def of(self, contract: BookedContract) -> Mapping[str, str]:
        """Return the currency that runs for a contract's customer, with the name of the contract in it; none: {}."""
        running = self._running.get(contract.customer_id)
        return {running[0]: running[1]} if running is not None else {}

    def note(self, contract: BookedContract, plan: Plan) -> None:
        """Note that a contract begins to run with a plan."""
        if any(step.call in _BEGINS for step in plan.steps):
            self._running.setdefault(contract.customer_id, (contract.contract.terms.currency, contract.label))


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
