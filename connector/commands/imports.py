"""`connector import`: what comes into the books from files, other systems and the CRM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="What comes into the books from files, other systems and the CRM.")
REFUSED = 1
Dry = Annotated[bool, typer.Option("--dry-run", help="Say what would become of each row; write nothing.")]


@app.command("catalog")
def import_catalog(
    file: Annotated[Path, typer.Argument(help="CSV, YAML or JSON of prices, coupons and products.")], *, dry_run: Dry = False
) -> None:
    """Bring products, prices and coupons into the catalogue; a row that is already there is unchanged."""
    from connector import printing
    from connector.asking import catalogue

    result = catalogue.import_file(Global.config, file, is_dry=dry_run)
    show(result, printing.import_text)
    raise typer.Exit(REFUSED if result["refused"] else 0)
