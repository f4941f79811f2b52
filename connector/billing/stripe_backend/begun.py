"""How a request goes to Stripe: what it needs of an invoice or a customer there, and the push that carries its steps.

A request's push belongs to no contract. Its key is the org and the request's own key, so that two ledgers of one account never
share one; the request waits under that key until the push is settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from connector.billing import desk, store
from connector.billing.desk import Held as HeldInvoice
from connector.billing.desk import refused
from connector.billing.intents import Engine, Request
from connector.billing.stripe_backend.compiling.people import Told, people_steps, told_of
from connector.billing.stripe_backend.known_people import told
from connector.billing.stripe_backend.pushes import begin
from connector.billing.stripe_backend.steps import Held, Plan, Push, Ref, Step
from connector.core.lines import Line
from connector.ports import IntentResult, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class OnStripe:
    """An invoice of the books and Stripe's behind it.

    charge - what it was paid with there, "" for nothing; charges - by how many payments; through_stripe - how much came with them, in minor units.
    """

    held: HeldInvoice
    stripe_id: str
    charge: str
    charges: int = 0
    through_stripe: int = 0


def on_stripe(unit: Unit, number: str) -> OnStripe:
    """Return an invoice with Stripe's behind it. Raises: RejectedError for an unknown one, or one that Stripe did not issue."""
    held = desk.held(unit, number)
    rows = unit.query("SELECT stripe_id, charge FROM stripe_invoice WHERE invoice_id = ?", (held.id,))
    if not rows:
        hint = "It is from before the connector billed on Stripe: settle it as you did then, outside the connector."
        raise refused("not-on-stripe", f"{held.number} was not issued by Stripe.", hint)
    sql = "SELECT COUNT(*), COALESCE(SUM(amount), 0) FROM payment WHERE invoice_id = ? AND method = 'stripe' AND amount > 0 AND id LIKE 'pay_inpay%'"
    count, through = unit.query(sql, (held.id,))[0]
    return OnStripe(held=held, stripe_id=rows[0][0], charge=rows[0][1] or "", charges=int(count), through_stripe=int(through))


@dataclass(frozen=True, slots=True, kw_only=True)
class Whom:
    """A customer at Stripe: its *id* there, the *steps* that find or make it and tell what changed, and the digest of what it is *told*."""

    id: str | Ref
    steps: tuple[Step, ...]
    told: str


def customer_at(unit: Unit, engine: Engine, customer_id: str) -> Whom:
    """Return a customer as the steps of a request need it."""
    (customer,) = store.customers(unit, ids=[customer_id])
    exempt = engine.tax.tax_of(customer.details).exempt
    details = replace(customer.details, tax_exempt=exempt) if exempt != "none" else customer.details
    located = getattr(engine, "located", None)  # of the Stripe backend alone
    details = located(details) if located is not None else details
    known = told(unit, [customer_id]).get(customer_id, Told())
    steps = people_steps(customer_id, details, engine.org, known, customer=known.stripe_id)
    return Whom(id=known.stripe_id or Ref(step="customer"), steps=tuple(steps), told=told_of(customer_id, details, engine.org))


def key_of(request: Request, engine: Engine, part: int = 0) -> str:
    """Return the key of a request's push; *part* - of one that needs several."""
    return f"{engine.org}/{request.key}" + (f"/{part}" if part else "")


def sent(request: Request, engine: Engine, unit: Unit, steps: Sequence[Step], *, lines: tuple[Line, ...] = (), whom: Whom | None = None) -> IntentResult:
    """Keep the steps of a request to be sent, behind those of the customer *whom* it is about; whoever asked waits for them."""
    key = key_of(request, engine)
    first, told_now = (whom.steps, whom.told) if whom is not None else ((), "")
    plan = Plan(steps=(*first, *steps), held=Held(contract_id="", told=told_now), lines=lines)
    begin(unit, key=key, contract_id="", deal="", plan=plan, now=request.now)
    return IntentResult(result={}, waits_for=(key,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A request whose pushes are settled; *so_far* - what its handler said when it began."""

    request: Request
    so_far: Mapping[str, Any]
    pushed: tuple[Push, ...]

    def answer(self, step: str) -> Mapping[str, Any]:
        """Return what is kept of a step's answer; nothing where it was left out."""
        return next((p.results[step] for p in self.pushed if p.results.get(step)), {})
