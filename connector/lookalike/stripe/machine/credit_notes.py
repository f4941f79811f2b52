"""Credit notes: what an invoice is reduced by after it was finalized.

On an open invoice they reduce what is due, at nothing it is paid; on a paid one refund, credit and money given back outside must come
to the total. A line takes its discounts and taxes along in proportion; what completes a line takes the rest of them.
Source: docs.stripe.com/invoicing/integration/programmatic-credit-notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.machine import invoices, refunding, stripe_tax
from connector.lookalike.stripe.machine.figures import fraction_of, rounded
from connector.lookalike.stripe.machine.keeping import index, indexed, notes, put
from connector.lookalike.stripe.machine.taxes import rates_of, share_of, summed
from connector.lookalike.stripe.metadata import merged


def drawn(account: Account, params: Data) -> Data:
    """Return the credit note that a request asks for, without any effect, as a preview shows it. Raises: Refused."""
    invoice = account.get("invoice", params["invoice"], param="invoice")
    if invoice["status"] not in ("open", "paid", "uncollectible"):
        raise Refused(
            f"You can only create credit notes for finalized invoices; this one is {invoice['status']}.",
            code="invoice_not_editable",
        )
    if bool(params.get("lines")) == (params.get("amount") is not None) and params.get("lines"):
        raise Refused("You may only specify one of these parameters: amount, lines.", param="amount")
    id_ = account.new_id("cn")
    lines = [_line(account, invoice, one, f"lines[{place}]") for place, one in enumerate(params.get("lines") or ())]
    if not lines and stripe_tax.is_on(invoice):
        raise Refused("You must pass lines for a credit note of an invoice with automatic tax.", code="parameter_missing", param="lines")
    if not lines:
        lines = [_plain(account, _whole_amount(params))]
    return _shaped(account, invoice, params, id_, lines)


def _whole_amount(params: Data) -> int:
    names = ("refund_amount", "credit_amount", "out_of_band_amount")
    amount = params["amount"] if params.get("amount") is not None else sum(params.get(name) or 0 for name in names)
    if amount <= 0:
        raise Refused("You must pass lines or an amount that is more than 0.", code="parameter_missing", param="amount")
    return int(amount)


def _plain(account: Account, amount: int) -> Data:
    return _line_fields(
        account,
        {"amount": amount, "description": "Credit", "quantity": 1, "type": "custom_line_item", "unit_amount": amount},
    )


def _line_fields(account: Account, fields: Data) -> Data:
    return {
        "id": account.new_id("cnli"), "object": "credit_note_line_item", "amount": 0, "description": None, "discount_amount": 0,
        "discount_amounts": [], "livemode": account.is_live, "metadata": {}, "pretax_credit_amounts": [], "quantity": None,
        "tax_rates": [], "taxes": [], "type": "invoice_line_item", "unit_amount": None, "unit_amount_decimal": None, **fields,
    }  # fmt: skip


def _line(account: Account, invoice: Data, asked: Data, param: str) -> Data:
    """Return one line of the note."""
    if stripe_tax.is_on(invoice) and (asked["type"] == "custom_line_item" or "tax_amounts" in asked):
        raise Refused("custom_line_item and tax_amounts are not valid for an invoice with automatic tax.", param=f"{param}[type]")
    if asked["type"] == "custom_line_item":
        return _custom(account, invoice, asked, param)
    line = next((one for one in invoice["lines"]["data"] if one["id"] == asked.get("invoice_line_item")), None)
    if line is None:
        raise Refused(
            f"No such invoice line item: '{asked.get('invoice_line_item')}'",
            status=404,
            code="resource_missing",
            param=f"{param}[invoice_line_item]",
        )
    if (asked.get("quantity") is None) == (asked.get("amount") is None):
        raise Refused(
            "You must pass exactly one of quantity and amount for a credit note line.", param=f"{param}[amount]"
        )
    whole = line["amount"]
    if asked.get("quantity") is not None:
        held = fraction_of(line["quantity_decimal"] or 1)
        if not 0 < asked["quantity"] <= held:
            raise Refused(
                "The quantity of the line is more than that of the invoice's line.", param=f"{param}[quantity]"
            )
        amount = rounded(whole * Fraction(asked["quantity"]) / held)
    else:
        amount = _with_tax_inside(invoice, line, asked["amount"])
    before = notes(account, "credited").get(line["id"], {"amount": 0, "discounts": {}, "taxes": {}})
    if not 0 < abs(amount) <= abs(whole - before["amount"]) or (amount > 0) != (whole > 0):
        raise Refused(
            "The amount of the line is more than what is left of the invoice's line.", param=f"{param}[amount]"
        )
    is_last = before["amount"] + amount == whole
    discounts = [
        {
            "discount": one["discount"],
            "amount": _part(
                one["amount"], before["discounts"].get(one["discount"], 0), Fraction(amount, whole), is_last=is_last
            ),
        }
        for one in line["discount_amounts"]
    ]
    taxes = []
    for one in line["taxes"]:
        key = one["tax_rate_details"]["tax_rate"]
        part = _part(one["amount"], before["taxes"].get(key, 0), Fraction(amount, whole), is_last=is_last)
        taxes.append(
            {**one, "amount": part, "taxable_amount": rounded((one["taxable_amount"] or 0) * Fraction(amount, whole))}
        )
    return _line_fields(account, {
        "amount": amount, "description": asked.get("description") or line["description"], "discount_amounts": discounts,
        "discount_amount": sum(one["amount"] for one in discounts), "invoice_line_item": line["id"], "metadata": merged({}, asked.get("metadata")),
        "pretax_credit_amounts": [{**one, "type": "discount"} for one in discounts], "quantity": asked.get("quantity"),
        "tax_rates": invoices.rates_of_line(account, invoice, line), "taxes": taxes,
        "unit_amount_decimal": (line["pricing"] or {}).get("unit_amount_decimal"),
    })  # fmt: skip


def _with_tax_inside(invoice: Data, line: Data, amount: int) -> int:
    """Return what an amount is with the tax that its line holds: where tax is found automatically amounts come without any."""
    inside = sum(tax["amount"] for tax in line["taxes"] if tax["tax_behavior"] == "inclusive") if stripe_tax.is_on(invoice) else 0
    base = line["amount"] - sum(one["amount"] for one in line["discount_amounts"])
    return rounded(amount * Fraction(base, base - inside)) if inside else amount


def _part(whole: int, before: int, share: Fraction, *, is_last: bool) -> int:
    return whole - before if is_last else rounded(whole * share)


def _custom(account: Account, invoice: Data, asked: Data, param: str) -> Data:
    unit = asked.get("unit_amount_decimal", asked.get("unit_amount"))
    if unit is None:
        raise Refused(
            "You must pass unit_amount for a custom line item.", code="parameter_missing", param=f"{param}[unit_amount]"
        )
    quantity = asked.get("quantity") or 1
    amount = rounded(fraction_of(unit) * quantity)
    rates = rates_of(account, asked.get("tax_rates"), f"{param}[tax_rates]")
    inside = sum((share_of(rate) for rate in rates if rate["inclusive"]), Fraction(0))
    taxes = [
        {
            "amount": rounded(amount / (1 + inside) * share_of(rate)), "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
            "tax_rate_details": {"tax_rate": rate["id"]}, "taxability_reason": "standard_rated", "taxable_amount": rounded(amount / (1 + inside)),
            "type": "tax_rate_details",
        }
        for rate in rates
    ]  # fmt: skip
    return _line_fields(account, {
        "amount": amount, "description": asked.get("description"), "metadata": merged({}, asked.get("metadata")), "quantity": quantity,
        "tax_rates": rates, "taxes": taxes, "type": "custom_line_item", "unit_amount": asked.get("unit_amount"), "unit_amount_decimal": str(unit),
    })  # fmt: skip


def _shaped(account: Account, invoice: Data, params: Data, id_: str, lines: Sequence[Data]) -> Data:
    """Return the note of lines, with its totals and what it does before and after payment."""
    gross, off = sum(line["amount"] for line in lines), sum(line["discount_amount"] for line in lines)
    taxes = summed(lines)
    added = sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "exclusive")
    inside = sum(tax["amount"] for tax in taxes if tax["tax_behavior"] == "inclusive")
    total = gross - off + added
    before = min(total, invoice["amount_remaining"]) if invoice["status"] != "paid" else 0
    kind = "pre_payment" if before == total else ("post_payment" if before == 0 else "mixed")
    number = len(index(account, "credit_note", "invoice", invoice["id"])) + 1
    by_discount: dict[str, int] = {}
    for line in lines:
        for one in line["discount_amounts"]:
            by_discount[one["discount"]] = by_discount.get(one["discount"], 0) + one["amount"]
    off_lines = [{"amount": amount, "discount": discount} for discount, amount in by_discount.items()]
    return {
        "id": id_, "object": "credit_note", "amount": total, "amount_shipping": 0, "created": account.now(), "currency": invoice["currency"],
        "customer": invoice["customer"], "customer_account": None, "customer_balance_transaction": None, "discount_amount": off,
        "discount_amounts": off_lines, "effective_at": params.get("effective_at") or account.now(), "invoice": invoice["id"],
        "lines": {"object": "list", "data": list(lines), "has_more": False, "url": f"/v1/credit_notes/{id_}/lines"},
        "livemode": account.is_live, "memo": params.get("memo"), "metadata": merged({}, params.get("metadata")),
        "number": f"{invoice['number']}-CN-{number:02d}", "out_of_band_amount": params.get("out_of_band_amount"),
        "pdf": f"{invoice['hosted_invoice_url']}/credit-notes/{id_}/pdf", "post_payment_amount": total - before, "pre_payment_amount": before,
        "pretax_credit_amounts": [{**one, "type": "discount"} for one in off_lines], "reason": params.get("reason"), "refunds": [],
        "shipping_cost": None, "status": "issued", "subtotal": gross, "subtotal_excluding_tax": gross - inside, "total": total,
        "total_excluding_tax": gross - off - inside, "total_taxes": taxes, "type": kind, "voided_at": None,
    }  # fmt: skip


def checked(account: Account, note: Data, params: Data) -> Data:
    """Return a note. Refuse a note above what is left of its invoice, or one whose parts do not come to what was paid."""
    invoice = account.get("invoice", note["invoice"])
    issued = [one for one in indexed(account, "credit_note", "invoice", invoice["id"]) if one["status"] == "issued"]
    left = invoice["total"] - sum(one["total"] for one in issued)
    if note["total"] > left:
        raise Refused(
            f"The credit note amount ({note['total']}) is more than what is left of the invoice ({left}).",
            param="amount",
        )
    given = sum(params.get(name) or 0 for name in ("refund_amount", "credit_amount", "out_of_band_amount"))
    for one in params.get("refunds") or ():
        refund = account.get("refund", one["refund"], param="refunds")
        given += one.get("amount_refunded") or refund["amount"]
    if given != note["post_payment_amount"]:
        raise Refused(
            f"The sum of credit amount, refund amount and out of band amount ({given}) must equal the credit note's amount after payment "
            f"({note['post_payment_amount']})."
        )
    return note


def issued(account: Account, note: Data, params: Data) -> Data:
    """Let a drawn note take effect: due amount, refund, balance."""
    invoice = account.get("invoice", note["invoice"])
    customer = account.get("customer", note["customer"])
    if params.get("refund_amount"):
        refund = refunding.refunded(account, refunding.charge_of(account, invoice), params["refund_amount"], {})
        note["refunds"].append(
            {
                "amount_refunded": refund["amount"],
                "payment_record_refund": None,
                "refund": refund["id"],
                "type": "refund",
            }
        )
    for one in params.get("refunds") or ():
        held = account.get("refund", one["refund"])
        note["refunds"].append(
            {
                "amount_refunded": one.get("amount_refunded") or held["amount"],
                "payment_record_refund": None,
                "refund": held["id"],
                "type": "refund",
            }
        )
    put(account, "credit_note", note, ["invoice", "customer"])
    if params.get("credit_amount"):
        about = {"credit_note": note["id"], "invoice": invoice["id"], "currency": note["currency"]}
        note["customer_balance_transaction"] = invoices.move_balance(
            account, customer, -params["credit_amount"], "credit_note", **about
        )
    for line in note["lines"]["data"]:
        _remember(account, line, 1)
    _reduce(account, invoice, note, 1)
    account.emit("credit_note.created", note)
    account.emit("invoice.updated", invoice)
    if invoice["status"] != "paid" and invoice["amount_remaining"] == 0:
        invoices.mark_paid(account, invoice)
    return note


def _remember(account: Account, line: Data, sign: int) -> None:
    """Add what a line takes back to what was credited of the invoice's line, or take it off again."""
    if line.get("invoice_line_item") is None:
        return
    held = notes(account, "credited").setdefault(line["invoice_line_item"], {"amount": 0, "discounts": {}, "taxes": {}})
    held["amount"] += sign * line["amount"]
    for one in line["discount_amounts"]:
        held["discounts"][one["discount"]] = held["discounts"].get(one["discount"], 0) + sign * one["amount"]
    for tax in line["taxes"]:
        key = tax["tax_rate_details"]["tax_rate"]
        held["taxes"][key] = held["taxes"].get(key, 0) + sign * tax["amount"]


def _reduce(account: Account, invoice: Data, note: Data, sign: int) -> None:
    invoice["amount_due"] -= sign * note["pre_payment_amount"]
    invoice["amount_remaining"] -= sign * note["pre_payment_amount"]
    invoice["pre_payment_credit_notes_amount"] += sign * note["pre_payment_amount"]
    invoice["post_payment_credit_notes_amount"] += sign * note["post_payment_amount"]


def voided(account: Account, note: Data) -> Data:
    """Take a note of an open invoice back. Raises: Refused."""
    invoice = account.get("invoice", note["invoice"])
    if note["status"] != "issued":
        raise Refused("This credit note is already void.", code="status_transition_invalid")
    if invoice["status"] not in ("open", "uncollectible"):
        raise Refused("You can only void a credit note of an open invoice.", code="status_transition_invalid")
    note.update(status="void", voided_at=account.now())
    for line in note["lines"]["data"]:
        _remember(account, line, -1)
    _reduce(account, invoice, note, -1)
    account.emit("credit_note.voided", note, {"status": "issued"})
    account.emit("invoice.updated", invoice)
    return note
