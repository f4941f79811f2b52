"""`connector events`: what happened to the books, and who asked for it."""

from __future__ import annotations

from typing import Annotated

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="What happened to the books, and who asked for it.")


@app.command("list")
def events_list(
    *,
    contract: Annotated[str | None, typer.Option(help="Only of this contract, by its id or a deal.")] = None,
    invoice: Annotated[str | None, typer.Option(help="Only of this invoice, by its number.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only of this customer, by its account or id.")] = None,
    since: Annotated[str | None, typer.Option(metavar="DATE", help="From this day or instant on.")] = None,
    before: Annotated[int | None, typer.Option(metavar="SEQ", help="The next page: older than the last one seen.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 200,
) -> None:
    """List events, newest first; with --json all of before and after, amounts in minor units."""
    from connector import printing, reading

    wanted = {"contract": contract, "invoice": invoice, "customer": customer, "since": since}
    show(reading.events_list(Global.config, wanted, before=before, limit=limit), printing.events_text)
