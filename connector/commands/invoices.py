"""`connector invoices`: The invoices in the books."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="The invoices in the books.")


@app.command("list")
def invoices_list(
    *,
    status: Annotated[str | None, typer.Option(help="draft, open, paid, void, uncollectible")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 200,
) -> None:
    """List the invoices."""
    from connector import printing, reading

    show(reading.invoices_list(Global.config, status=status, limit=limit), printing.invoices_text)


@app.command("show")
def invoices_show(number: str) -> None:
    """Show one invoice with its lines."""
    from connector import printing, reading

    show(reading.invoices_show(Global.config, number), printing.invoice_text)


@app.command("pdf")
def invoices_pdf(
    number: str,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write; default NUMBER.pdf.")] = None,
) -> None:
    """Write an invoice as PDF, for EU customers with the e-invoice inside."""
    from connector import printing, reading

    show(reading.invoices_pdf(Global.config, number, output), printing.plain)


@app.command("pay")
def invoices_pay(
    number: str,
    *,
    amount: Annotated[str | None, typer.Option(help="In major units, such as 290.00; default: all that is open.")] = None,
    on: Annotated[str | None, typer.Option(help="Day it arrived; default today.")] = None,
    method: Annotated[str | None, typer.Option(help="bank_transfer, cheque, cash, other")] = None,
    reference: Annotated[str, typer.Option(help="What the transfer or cheque says.")] = "",
) -> None:
    """Record a payment that arrived outside, by bank transfer or cheque."""
    from connector import printing
    from connector.asking import invoices

    show(invoices.pay(Global.config, number, amount=amount, on=on, method=method, reference=reference), printing.plain)


@app.command("send")
def invoices_send(number: str) -> None:
    """Send an issued invoice by mail again, to the customer's address of today."""
    from connector import printing
    from connector.asking import invoices

    show(invoices.send(Global.config, number), printing.plain)


@app.command("void")
def invoices_void(number: str) -> None:
    """Take back an open invoice of which nothing was paid; its periods are not billed again."""
    from connector import printing
    from connector.asking import invoices

    show(invoices.void(Global.config, number), printing.plain)


@app.command("uncollectible")
def invoices_uncollectible(number: str) -> None:
    """Give up an open invoice."""
    from connector import printing
    from connector.asking import invoices

    show(invoices.uncollectible(Global.config, number), printing.plain)


@app.command("due")
def invoices_due(number: str, on: Annotated[str, typer.Argument(metavar="DATE")]) -> None:
    """Give an open invoice another due date, such as 2026-07-31."""
    from connector import printing
    from connector.asking import invoices

    show(invoices.due(Global.config, number, on), printing.plain)


@app.command("reissue")
def invoices_reissue(number: str, *, reason: Annotated[str, typer.Option(help="Why, for whoever reads it later.")] = "") -> None:
    """Issue an invoice again with today's customer data; the old one is void, or credited where something was paid."""
    from connector import printing
    from connector.asking import invoices

    show(invoices.reissue(Global.config, number, reason=reason), printing.plain)


@app.command("create")
def invoices_create(file: Path) -> None:
    """Issue a one-off invoice from a file: account or customer, currency, and lines of description, quantity, amount and tax in percent.

    The amount of a line is unit_price (290.00) or unit_amount (29000, the smallest unit).
    """
    from connector import printing
    from connector.asking import one_off

    show(one_off.create(Global.config, file), printing.plain)


@app.command("add-item")
def invoices_add_item(  # noqa: PLR0913 - one parameter an option
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="Its id, CRM account id or name.")],
    *,
    description: Annotated[str, typer.Option(help="What it is, as it stands on the invoice.")],
    price: Annotated[str, typer.Option(metavar="AMOUNT", help="Of one, in major units, such as 290.00.")],
    quantity: Annotated[str, typer.Option(help="How many.")] = "1",
    currency: Annotated[str | None, typer.Option(help="Such as EUR; may be left out where the customer has only one.")] = None,
    contract: Annotated[str | None, typer.Option(help="Wait for this contract's invoice; default the one that comes first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the invoices that would follow; write nothing.")] = False,
) -> None:
    """Let an item wait for the customer's next invoice."""
    from connector import printing
    from connector.asking import one_off

    result = one_off.add_item(
        Global.config, customer, description=description, price=price, quantity=quantity, currency=currency, contract=contract, is_dry=dry_run
    )  # fmt: skip
    show(result, printing.change_text)


@app.command("refund")
def invoices_refund(
    number: str,
    *,
    amount: Annotated[str | None, typer.Option(help="In major units, with tax; default: all that was paid.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for whoever reads it later.")] = "",
) -> None:
    """Give back what was paid for an invoice, with a credit note."""
    from connector import printing
    from connector.asking import invoices

    show(invoices.refund(Global.config, number, amount=amount, reason=reason), printing.plain)


@app.command("credit")
def invoices_credit(  # noqa: PLR0913 - one parameter an option
    number: str,
    *,
    reason: Annotated[str, typer.Option(help="Why, for whoever reads it later.")],
    amount: Annotated[str | None, typer.Option(help="In major units, with tax; default: all that is left.")] = None,
    line: Annotated[list[str] | None, typer.Option(metavar="N=AMOUNT", help="So much of line N, before tax on top.")] = None,
    quantity: Annotated[list[str] | None, typer.Option(metavar="N=QUANTITY", help="So many of line N.")] = None,
    refund: Annotated[str | None, typer.Option(metavar="AMOUNT|all", help="Of what was paid, this goes back.")] = None,
    to_balance: Annotated[str | None, typer.Option(metavar="AMOUNT|all", help="This goes to the customer's balance.")] = None,
    out_of_band: Annotated[str | None, typer.Option(metavar="AMOUNT|all", help="This was settled outside.")] = None,
) -> None:
    """Write a credit note: an open invoice has less due; of a paid one, say where the money goes."""
    from connector import printing
    from connector.asking import invoices

    back = {"refund": refund, "credit": to_balance, "out_of_band": out_of_band}
    lines = {"amount": line or (), "quantity": quantity or ()}
    result = invoices.credit(Global.config, number, amount=amount, lines=lines, back=back, reason=reason)
    show(result, printing.plain)
