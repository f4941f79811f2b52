"""`connector contracts`: The contracts in the books."""

from __future__ import annotations

from typing import Annotated

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="The contracts in the books.")


@app.command("list")
def contracts_list(*, limit: Annotated[int, typer.Option(help="At most so many.")] = 200) -> None:
    """List the contracts."""
    from connector import printing, reading

    show(reading.contracts_list(Global.config, limit=limit), printing.contracts_text)


@app.command("show")
def contracts_show(contract: str) -> None:
    """Show one contract: terms, changes, standing, invoices."""
    from connector import printing, reading

    show(reading.contracts_show(Global.config, contract), printing.contract_text)
