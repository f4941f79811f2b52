"""`connector usage`: what customers used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="What customers used of metered items.")
REFUSED = 1


@app.command("import")
def usage_import(
    file: Annotated[Path, typer.Argument(help="CSV, JSON or JSON Lines: id, contract or deal, item (or price, product), quantity, time.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would become of each row; write nothing.")] = False,
) -> None:
    """Record usage; a row that is recorded already is unchanged, one of a billed period is refused."""
    from connector import printing
    from connector.asking import usage as asking

    result = asking.import_file(Global.config, file, is_dry=dry_run)
    show(result, printing.usage_text)
    raise typer.Exit(REFUSED if result["refused"] else 0)
