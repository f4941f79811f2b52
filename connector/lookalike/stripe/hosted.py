"""The hosted page of an invoice: what it asks for, and a button that pays it as the customer does, with a card that always works."""

from __future__ import annotations

from connector.lookalike.stripe.account import Account, Data, Refused
from connector.lookalike.stripe.currencies import amount_text
from connector.lookalike.stripe.machine import control as deeds
from connector.lookalike.stripe.pages import PAGES, escaped, framed
from connector.lookalike.stripe.wire import Request


def invoice_page(account: Account, parts: list[str], request: Request) -> str:
    """Show an invoice by its link `/i/{account}/{test|live}_{id}`; a POST pays it."""
    invoice = _invoice(account, parts)
    if request.method == "POST" and invoice["status"] in ("open", "uncollectible"):
        deeds.pay(account, invoice["id"])
    lines = "".join(
        f"<tr><td>{escaped(line['description'] or '')}</td><td>{escaped(amount_text(line['amount'], invoice['currency']))}</td></tr>"
        for line in invoice["lines"]["data"]
    )
    customer = invoice["customer_name"] or invoice["customer_email"] or invoice["customer"]
    shown = [
        f"<p>{escaped(customer)}</p><p>Status: {escaped(invoice['status'])}</p><table>{lines}</table>",
        f"<p>Total {escaped(amount_text(invoice['total'], invoice['currency']))}, to pay {escaped(amount_text(invoice['amount_remaining'], invoice['currency']))}</p>",
    ]
    if invoice["status"] in ("open", "uncollectible") and parts[-1] != "pdf":
        shown.append('<form method="post"><button>Pay</button></form>')
    return framed(f"Invoice {invoice['number']}", "".join(shown))


def _invoice(account: Account, parts: list[str]) -> Data:
    mode = "live" if account.is_live else "test"
    if len(parts) >= 2 and parts[0] == account.id and parts[1].startswith(f"{mode}_"):
        found = account.kind("invoice").get("in_" + parts[1].removeprefix(f"{mode}_"))
        if found is not None and found["number"]:
            return found
    raise Refused("There is no such invoice.", status=404)


PAGES["i"] = invoice_page
