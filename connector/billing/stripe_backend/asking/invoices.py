"""Requests about invoices that Stripe issued: the books say whether one is possible, Stripe does it, and the answer is read from the books.

Worked example: `invoices credit INV-7 --amount 60.00 --refund all` of a paid invoice over 120.00 is one credit note over 6000 with
refund_amount 6000; when it is done, the note is mirrored, and whoever asked reads its number and amounts from the books.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connector.billing import desk, notes, sending
from connector.billing.desk import money_text, refused
from connector.billing.intents import Engine, Request
from connector.billing.payments import Said, due_amount, entered, payment_said
from connector.billing.stripe_backend.begun import Done, OnStripe, on_stripe, sent
from connector.billing.stripe_backend.compiling.days import instant_of, noon
from connector.billing.stripe_backend.compiling.noting import MOST_LISTED, counted, listing
from connector.billing.stripe_backend.money import stripe_amount
from connector.billing.stripe_backend.pushes import is_on_its_way, shared_id
from connector.billing.stripe_backend.steps import NoteLine, NoteLines, Ref, Step
from connector.core.settlement import CreditNote
from connector.errors import RejectedError
from connector.ports import IntentResult, Unit


def _named(request: Request, unit: Unit) -> OnStripe:
    """Return the invoice of a request. Raises: RejectedError, also while another request about it is on its way: then it waits (`intents.BUSY`).

    What the books say of an invoice counts only when nothing more of it is on its way: two payments could each be of all that is open.
    """
    found = on_stripe(unit, str(request.data.get("invoice", "")))
    if is_on_its_way(unit, found.stripe_id):
        message = f"Something else about {found.held.number} is still on its way to Stripe."
        raise refused("contract-busy", message, "It is tried again by itself in a moment.")
    return found


# ---------------------------------------------------------------- taking it back, giving it up


def void(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Void an open invoice at Stripe. Raises: RejectedError as on the internal engine."""
    invoice = _named(request, unit)
    notes.refuse_void(unit, invoice.held)
    return sent(request, engine, unit, [Step(name="void", call="invoices.void_invoice", target=invoice.stripe_id)])


def uncollectible(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Mark an open invoice as uncollectible at Stripe."""
    invoice = _named(request, unit)
    notes.refuse_uncollectible(invoice.held)
    return sent(request, engine, unit, [Step(name="give-up", call="invoices.mark_uncollectible", target=invoice.stripe_id)])


def status_of(done: Done, engine: Engine, unit: Unit) -> IntentResult:
    """Say how the invoice stands now."""
    del engine
    held = desk.held(unit, str(done.request.data["invoice"]))
    return IntentResult(result={"invoice": held.number, "status": held.invoice.status}, deals=desk.deals_to_tell(unit, held))


# ---------------------------------------------------------------- credit notes


def credit(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Make a credit note at Stripe; see `notes.credit` for what can be asked."""
    invoice = _named(request, unit)
    note, _, _ = notes.worked_out(unit, invoice.held, request.data)
    return sent(request, engine, unit, _note_steps(invoice, note, request.data, engine))


def refund(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Make a credit note at Stripe whose paid part goes back to what it was paid with."""
    invoice = _named(request, unit)
    wanted = notes.refund_wanted(unit, invoice.held, request.data)
    note, _, _ = notes.worked_out(unit, invoice.held, wanted)
    return sent(request, engine, unit, _note_steps(invoice, note, wanted, engine))


def _note_steps(invoice: OnStripe, note: CreditNote, wanted: Mapping[str, Any], engine: Engine) -> list[Step]:
    held = invoice.held
    if note.refund and not invoice.charge:
        hint = f"Send it back as it came, and note that: `connector invoices credit {held.number} --amount … --out-of-band all`."
        raise refused("paid-outside", f"{held.number} was not paid through Stripe, so Stripe cannot send money back.", hint)
    if note.refund and invoice.charges > 1:
        hint = "Refund the payments in Stripe's Dashboard, with a credit note there; both come back here by themselves."
        raise refused("paid-in-parts", f"{held.number} was paid by {invoice.charges} payments, and Stripe must be told which of them goes back.", hint)
    if note.refund > invoice.through_stripe:
        most = money_text(invoice.through_stripe, held.currency)
        hint = "Send the rest back as it came, and note that: `--refund` the one and `--out-of-band` the other."
        raise refused("paid-outside", f"Only {most} of {held.number} came through Stripe, so Stripe can send back no more.", hint)

    def minor(amount: int) -> int:
        return stripe_amount(amount, held.currency)

    back = {"refund_amount": note.refund, "credit_amount": note.credit, "out_of_band_amount": note.out_of_band}
    params: dict[str, Any] = {"invoice": invoice.stripe_id} | {k: minor(v) for k, v in back.items() if v}
    if wanted.get("reason"):
        params["memo"] = str(wanted["reason"])
    is_taxed = bool(getattr(engine, "automatic_tax", False))  # of the Stripe backend alone
    if not wanted.get("lines") and not is_taxed:  # where Stripe finds the tax, it does so of lines
        return [Step(name="note", call="credit_notes.create", params={**params, "amount": minor(note.total)}, keeps=("invoice", "number"))]
    places = {line.key: line.order - 1 for line in held.invoice.lines}  # where it stands at Stripe, which splits a graduated price by its tiers
    if max(places[key] for key, _ in note.lines) >= MOST_LISTED:
        raise refused("line-too-far", f"Only the first {MOST_LISTED} lines of {held.number} can be credited by line.", "Credit it by amount.")
    counts = counted(places.values())
    lines = NoteLines(
        step="lines", is_taxed=is_taxed,
        lines=tuple(NoteLine(place=places[key], count=counts[places[key]], amount=minor(net)) for key, net in note.lines),
    )  # fmt: skip
    params["lines"] = lines
    steps = [listing("lines", invoice.stripe_id, lines.lines)]
    ways = [way for way, amount in back.items() if amount]
    if is_taxed and len(ways) == 1:  # Stripe finds the tax, and so what comes back
        steps.append(Step(name="preview", call="credit_notes.preview", params={"invoice": invoice.stripe_id, "lines": lines}, keeps=("post_payment_amount",)))
        params[ways[0]] = Ref(step="preview", path="post_payment_amount", or_none=True)
    return [*steps, Step(name="note", call="credit_notes.create", params=params, keeps=("invoice", "number"))]


def credited(done: Done, engine: Engine, unit: Unit) -> IntentResult | None:
    """Say what the credit note came to, from the books; None until it is mirrored there."""
    del engine
    held, note = desk.held(unit, str(done.request.data["invoice"])), done.answer("note")
    rows = unit.query(
        "SELECT n.number, n.total, n.reduced, n.refunded, n.credited, n.out_of_band FROM credit_note n JOIN stripe_invoice s ON s.invoice_id = n.id"
        " WHERE s.stripe_id = ?",
        (str(note.get("id")),),
    )
    if not rows:
        return None
    number, total, reduced, refunded, to_balance, outside = rows[0]
    result = {
        "invoice": held.number, "note": number, "currency": held.currency, "total": total, "reduced": reduced, "refunded": refunded,
        "credited": to_balance, "out_of_band": outside, "status": held.invoice.status, "open": held.invoice.amount_remaining,
    }  # fmt: skip
    return IntentResult(result=result, deals=desk.deals_to_tell(unit, held))


# ---------------------------------------------------------------- payments


def pay(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Record money that arrived outside Stripe: all that is open, or a part of it (default: all).

    All of it marks Stripe's invoice as paid outside; a part becomes a payment record of Stripe's that is attached to the invoice. Day, way and
    reference stand in the metadata of either, from where they are mirrored.
    """
    invoice, said = _named(request, unit), payment_said(request, engine)
    held = invoice.held
    given = due_amount(held, request.data.get("amount"))
    metadata = {"connector_paid_on": said.on.isoformat(), "connector_paid_method": said.method, "connector_paid_reference": said.reference}
    if given == held.invoice.amount_remaining:
        steps = [
            Step(name="said", call="invoices.update", target=invoice.stripe_id, params={"metadata": metadata}),
            Step(name="pay", call="invoices.pay", target=invoice.stripe_id, params={"paid_out_of_band": True}),
        ]
    else:
        at = min(instant_of(said.on, noon(engine.timezone)), int(request.now.timestamp()))
        params = _reported(stripe_amount(given, held.currency), held.currency, at, said) | {"metadata": metadata}
        customer = shared_id(unit, ("customer", held.customer_id))
        steps = [
            Step(name="record", call="payment_records.report_payment", params=params | ({"customer_details": {"customer": customer}} if customer else {})),
            Step(name="attach", call="invoices.attach_payment", target=invoice.stripe_id, params={"payment_record": Ref(step="record")}),
        ]
    so_far = {
        "invoice": held.number, "amount": given, "currency": held.currency, "on": said.on.isoformat(), "method": said.method,
        "reference": said.reference,
    }  # fmt: skip
    return replace(sent(request, engine, unit, steps), result=so_far)


def _reported(amount: int, currency: str, at: int, said: Said) -> dict[str, Any]:
    """Return what is reported of a payment that went another way than Stripe's and has arrived."""
    found: dict[str, Any] = {
        "amount_requested": {"currency": currency, "value": amount}, "initiated_at": at, "outcome": "guaranteed", "guaranteed": {"guaranteed_at": at},
        "payment_method_details": {"type": "custom", "custom": {"display_name": said.method.replace("_", " ").capitalize()}},
    }  # fmt: skip
    if said.reference:
        found["processor_details"] = {"type": "custom", "custom": {"payment_reference": said.reference}}
    return found


def enter(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Take a payment typed on an invoice's row in the CRM; what cannot be is answered by a code, with the figures for its words."""
    typed = entered(request, engine, unit)
    if isinstance(typed, IntentResult):
        return typed
    try:
        return pay(typed, engine, unit)
    except RejectedError as error:
        code = {"not-on-stripe": "not-issued-there", "stripe-amount": "too-fine"}.get(error.problem.code)
        if code is None:
            raise
        held = desk.held(unit, str(typed.data["invoice"]))
        return IntentResult(result={"refused": code, "number": held.number, "currency": held.currency, "open": held.invoice.amount_remaining})


def paid(done: Done, engine: Engine, unit: Unit) -> IntentResult:
    """Say what was recorded, as the internal engine says it.

    Raises: RejectedError where the customer had paid all of it through Stripe meanwhile, which for Stripe is as good as done.
    """
    del engine
    held = desk.held(unit, str(done.so_far["invoice"]))
    sql = "SELECT amount FROM payment WHERE invoice_id = ? AND amount > 0 AND method <> 'stripe' ORDER BY made_at DESC, id DESC LIMIT 1"
    recorded = unit.query(sql, (held.id,))
    deals = desk.deals_to_tell(unit, held)
    if not recorded and held.invoice.status == "paid":
        if done.request.kind == "invoice.enter":
            return IntentResult(result={"refused": "paid", "number": held.number, "currency": held.currency, "open": 0}, deals=deals)
        due_amount(held, None)
    amount = recorded[0][0] if recorded else done.so_far["amount"]  # less than was said, where a part was paid meanwhile
    return IntentResult(result={**done.so_far, "amount": amount, "open": held.invoice.amount_remaining}, deals=deals)


def charge(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Have Stripe charge what is open of an invoice (data: invoice, customer) to the customer's default payment method."""
    invoice = _named(request, unit)
    if invoice.held.customer_id != str(request.data["customer"]):
        raise refused("unknown-invoice", f"{invoice.held.number} is not an invoice of this customer.")
    due_amount(invoice.held, None)
    return sent(request, engine, unit, [Step(name="pay", call="invoices.pay", target=invoice.stripe_id)])


# ---------------------------------------------------------------- mails


def send(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Have an invoice mailed again: by the connector where it is the one that mails, else by Stripe."""
    if engine.mailing.is_on:
        return sending.send(request, engine, unit)
    invoice = _named(request, unit)
    held = invoice.held
    if held.invoice.status not in ("open", "uncollectible"):
        raise refused("not-sendable", f"{held.number} is {held.invoice.status}; there is nothing to send.")
    if held.collection_method != "send_invoice":
        hint = "Give the customer its link: `connector invoices show` has it."
        raise refused("not-sendable", f"{held.number} is charged by itself; Stripe mails only invoices that the customer pays.", hint)
    ((email, name),) = unit.query("SELECT email, name FROM customer WHERE id = ?", (held.customer_id,))
    if not email:
        raise refused("no-email", f"{name} has no billing e-mail.", "Fill Billing Contact on the deal or Billing Email on the account.")
    return sent(request, engine, unit, [Step(name="send", call="invoices.send_invoice", target=invoice.stripe_id)])


def mailed(done: Done, engine: Engine, unit: Unit) -> IntentResult:
    """Say to whom Stripe mailed the invoice."""
    del engine
    held = desk.held(unit, str(done.request.data["invoice"]))
    ((email,),) = unit.query("SELECT email FROM customer WHERE id = ?", (held.customer_id,))
    return IntentResult(result={"invoice": held.number, "to": email, "is_held": False, "is_sent": True})
