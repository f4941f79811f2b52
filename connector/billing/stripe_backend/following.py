"""What follows at Stripe from what happened there, without anybody asking: small pushes that belong to no contract, each written once.

| happened | follows |
|---|---|
| Stripe billed a contract that was withdrawn before it could be told | its invoice is voided, if nothing of it is paid |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connector.billing.store import BookedContract
from connector.billing.stripe_backend import pushes
from connector.billing.stripe_backend.steps import Held, Plan, Step
from connector.ports import Unit


def billed_though_withdrawn(unit: Unit, org: str, contract: BookedContract, invoice: Mapping[str, Any], now: datetime) -> None:
    """Have an open invoice of a withdrawn contract voided: it was called off before anything was owed, and Stripe heard it too late."""
    if contract.status == "withdrawn" and invoice["status"] == "open" and not invoice.get("amount_paid"):
        step = Step(name="void", call="invoices.void_invoice", target=str(invoice["id"]))
        _begin(unit, f"{org}/withdrawn/{invoice['id']}", contract.deal, [step], now)


def _begin(unit: Unit, key: str, deal: str, steps: Sequence[Step], now: datetime) -> None:
    plan = Plan(steps=tuple(steps), held=Held(contract_id=""))
    pushes.begin(unit, key=key, contract_id="", deal=deal, plan=plan, now=now)
