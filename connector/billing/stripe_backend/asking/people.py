"""Requests about customers, and one-off invoices: at Stripe the customer is found or made first.

Worked example: `customers adjust-balance 001… -50.00 --reason "outage"` is a balance transaction of -5000 at Stripe; when it is done the
books' balance moves by the same, so that both say what the next invoice will take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connector.billing import customers, desk, reissues, store
from connector.billing.customers import customer_named
from connector.billing.desk import refused
from connector.billing.intents import Engine, Request
from connector.billing.stripe_backend.begun import Done, customer_at, sent
from connector.billing.stripe_backend.compiling.people import collection, rate_step
from connector.billing.stripe_backend.money import stripe_amount, stripe_price
from connector.billing.stripe_backend.steps import Ref, Step
from connector.core.lines import Line
from connector.core.terms import TaxRate
from connector.ports import IntentResult, Unit

# ---------------------------------------------------------------- the balance


def adjust(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Move a customer's balance at Stripe; see `customers.adjust` for what can be asked."""
    asked = customers.adjustment(request, engine, unit)
    whom = customer_at(unit, engine, asked.customer_id)
    step = Step(
        name="balance", call="customers.balance_transactions.create", target=whom.id,
        params={"amount": stripe_amount(asked.amount, asked.currency), "currency": asked.currency, "description": asked.reason},
    )  # fmt: skip
    return sent(request, engine, unit, [step], whom=whom)


def adjusted(done: Done, engine: Engine, unit: Unit) -> IntentResult:
    """Move the balance of the books as Stripe's was."""
    return desk.once(customers.adjust)(done.request, engine, unit)


# ---------------------------------------------------------------- what a customer is charged by


def payment_method(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Make a payment method that Stripe has the customer's default (`method` as stripe:pm_…), or take the default away (`method` empty)."""
    wanted = str(request.data.get("method") or "")
    customer_id = customer_named(unit, engine.org, str(request.data.get("customer", "")))
    kind, _, token = wanted.rpartition(":")
    if wanted and (kind not in ("", "stripe") or not token.startswith("pm_")):
        hint = "Write stripe:pm_…, as Stripe names a method that it has; or let the customer store one behind its portal link (`connector customers portal-link`)."
        raise refused("unknown-method", f"On Stripe a payment method is one that Stripe keeps; {wanted} is none.", hint)
    whom = customer_at(unit, engine, customer_id)
    customer, steps = whom.id, []
    if wanted:
        attach = Step(name="attach", call="payment_methods.attach", target=token, params={"customer": customer}, keeps=("type", "card.brand", "card.last4"))
        default = {"invoice_settings": {"default_payment_method": Ref(step="attach")}}  # a test card gets an id of its own
        steps += [attach, Step(name="default", call="customers.update", target=customer, params=default)]
    else:  # a default cannot be emptied, but what is detached is none
        path = "invoice_settings.default_payment_method"
        standing_one = Ref(step="look", path=path)
        steps += [
            Step(name="look", call="customers.retrieve", target=customer, keeps=(path,)),
            Step(name="detach", call="payment_methods.detach", target=standing_one, needs=standing_one),
        ]
    (standing,) = store.customers(unit, ids=[customer_id])
    so_far = {"customer": customer_id, "name": standing.details.name, "before": ""}
    return replace(sent(request, engine, unit, steps, whom=whom), result=so_far)


def method_said(done: Done, engine: Engine, unit: Unit) -> IntentResult:
    """Say what the customer is charged by now."""
    del engine, unit
    method = done.answer("attach")
    label = " ".join(str(method[k]) for k in ("card.brand", "card.last4") if method.get(k)) or str(method.get("type") or "")
    return IntentResult(result={**done.so_far, "method": label})


# ---------------------------------------------------------------- one-off invoices


def create(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Issue a one-off invoice at Stripe; see `reissues.create` for what can be asked."""
    wanted = reissues.wanted(request, engine, unit, f"{engine.org}/{request.key}")
    whom = customer_at(unit, engine, wanted.customer.id)
    rates = {rate.id: rate for rate in wanted.rates}
    rate_steps = {rate_id: rate_step(rate) for rate_id, rate in rates.items()}
    metadata = {"connector_org": engine.org, "connector_contract": wanted.contract_id, "connector_deal": wanted.deal}
    how = collection(wanted.how)
    is_taxed = getattr(engine, "automatic_tax", False)  # of the Stripe backend alone
    if is_taxed:
        how["automatic_tax"] = {"enabled": True}
    invoice = Step(
        name="own/invoice", call="invoices.create",
        params={
            "customer": whom.id, "currency": wanted.currency, "auto_advance": False, "pending_invoice_items_behavior": "exclude",
            "metadata": {k: v for k, v in metadata.items() if v}, **how,
        },
    )  # fmt: skip
    items = [
        _item_step(number, line, whom.id, invoice, rate_steps, rates, wanted.currency) for number, line in enumerate(wanted.lines, 1)
    ]
    if is_taxed:  # such an invoice takes no rates, and only items that say how they stand to tax
        items = [replace(i, params={k: v for k, v in i.params.items() if k != "tax_rates"} | {"tax_behavior": "exclusive"}) for i in items]
    finalize = Step(name="own/finalize", call="invoices.finalize_invoice", target=Ref(step=invoice.name), params={"auto_advance": True})
    steps = [*(() if is_taxed else rate_steps.values()), invoice, *items, finalize]
    return sent(request, engine, unit, steps, lines=tuple(wanted.lines), whom=whom)


def _item_step(  # noqa: PLR0913, PLR0917 - what the line needs of the steps before it
    number: int, line: Line, customer: str | Ref, invoice: Step, rate_steps: Mapping[str, Step], rates: Mapping[str, TaxRate], currency: str
) -> Step:
    params: dict[str, Any] = {
        "customer": customer, "invoice": Ref(step=invoice.name), "currency": currency, "description": line.description, "discountable": False,
        "metadata": {"connector_line": line.key},
    }  # fmt: skip
    unit_amount = line.unit_amount
    if unit_amount is not None and line.quantity == int(line.quantity) and unit_amount * line.quantity == line.amount:
        params |= {"quantity": int(line.quantity), "unit_amount_decimal": stripe_price(unit_amount, currency)}
    else:
        params |= {"amount": stripe_amount(line.amount, currency), "description": f"{line.quantity.normalize():f} x {line.description}"}
    used = [rate_id for rate_id, _, _ in line.taxes if rate_id in rates]
    if used:
        params["tax_rates"] = [Ref(step=rate_steps[rate_id].name) for rate_id in used]
    return Step(name=f"own/item-{number}", call="invoice_items.create", params=params)


def created(done: Done, engine: Engine, unit: Unit) -> IntentResult | None:
    """Say what was issued, from the books; None until it is mirrored there."""
    del engine
    rows = unit.query(
        "SELECT i.number FROM invoice i JOIN stripe_invoice s ON s.invoice_id = i.id WHERE s.stripe_id = ?", (str(done.answer("own/invoice").get("id")),)
    )
    if not rows:
        return None
    held = desk.held(unit, rows[0][0])
    result = {"number": held.number, "total": held.invoice.total, "currency": held.currency, "status": held.invoice.status}
    return IntentResult(result=result, deals=desk.deals_to_tell(unit, held))
