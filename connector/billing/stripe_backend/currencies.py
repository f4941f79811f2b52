"""The subscriptions of a customer have one currency at Stripe as long as any runs: what runs is looked up in the books; `compiling.limits` refuses.

Worked example: Acme's seats run in euros. A deal in dollars for Acme is refused with "Acme is already billed in EUR (Seats)"; the same deal
is billed once the contract in euros has ended, and another account's is not touched. One-off invoices may be in any currency. Source:
docs.stripe.com/invoicing/multi-currency-customers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from connector.billing.batches import in_batches
from connector.billing.store import BookedContract
from connector.billing.stripe_backend.steps import Plan
from connector.ports import Unit

_BEGINS = ("subscription_schedules.create", "subscriptions.create")
_OVER = ("canceled", "completed", "withdrawn")


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
    return Currencies(_running(unit, {c.customer_id for c in contracts}))


def _running(unit: Unit, customer_ids: Iterable[str]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for ids, marks in in_batches(sorted(customer_ids)):
        rows = unit.query(
            "SELECT c.customer_id, c.currency, c.label FROM contract c WHERE"
            f" c.customer_id IN ({marks}) AND c.status NOT IN (?,?,?)"
            " AND EXISTS (SELECT 1 FROM stripe_subscription s WHERE s.contract_id = c.id) ORDER BY c.id",
            (*ids, *_OVER),
        )
        for customer, currency, label in rows:
            found.setdefault(customer, (currency, label))
    return found
