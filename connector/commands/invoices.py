"""`connector invoices`: The invoices in the books."""

from __future__ import annotations

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


@app.command("pay")
def invoices_pay(
    number: str,
    *,
    amount: Annotated[str | None, typer.Option(help="In major units, such as 290.00; default: all that is open.")] = None,
    on: Annotated[str | None, typer.Option(help="Day it arrived; default today.")] = None,
) -> None:
    """Record a payment that arrived outside, by bank transfer or cheque."""
    from connector import printing, verbs

    show(verbs.invoices_pay(Global.config, number, amount=amount, on=on), printing.plain)
