"""`connector prices`: the prices of the catalogue."""

from __future__ import annotations

from typing import Annotated

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="The prices of the catalogue.")


@app.command("list")
def prices_list(
    *,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 200,
    after: Annotated[str, typer.Option(help="Begin after this id.")] = "",
) -> None:
    """List the catalogue's prices in order of id."""
    from connector import printing
    from connector.asking import catalogue

    show(catalogue.prices_list(Global.config, limit=limit, after=after), printing.prices_text)
