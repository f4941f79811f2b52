"""`connector import`: what comes into the books from files, other systems and the CRM."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="What comes into the books from files, other systems and the CRM.")
REFUSED = 1
Contracts = Annotated[Path | None, typer.Argument(help="CSV (one row an item), YAML, JSON, or JSON Lines of contracts.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say what would become of each row; write nothing.")]


@app.command("catalog")
def import_catalog(
    file: Annotated[Path | None, typer.Argument(help="CSV, YAML or JSON of prices, coupons and products.")] = None,
    *,
    source: Annotated[str | None, typer.Option("--from", metavar="crm", help="Read the products of the CRM instead of a file.")] = None,
    interval: Annotated[str | None, typer.Option(help="With --from crm: how often prices it makes are billed: month, quarter, half_year, year.")] = None,
    dry_run: Dry = False,
) -> None:
    """Bring products, prices and coupons into the catalogue; a row that is already there is unchanged."""
    from connector import printing
    from connector.asking import catalogue, catalogue_crm
    from connector.asking.shared import bad

    if (file is None) == (source is None) or source not in (None, "crm"):
        raise bad("Say either a file or --from crm.", "Write `connector import catalog FILE` or `connector import catalog --from crm`.")
    if file is not None:
        result = catalogue.import_file(Global.config, file, is_dry=dry_run)
    else:
        result = catalogue_crm.import_crm(Global.config, interval=interval, is_dry=dry_run)
    show(result, printing.import_text)
    raise typer.Exit(REFUSED if result["refused"] else 0)


@app.command("contracts")
def import_contracts(
    file: Contracts = None,
    *,
    source: Annotated[str | None, typer.Option("--from", metavar="stripe", help="Link the subscriptions of the Stripe account instead.")] = None,
    where: Annotated[str, typer.Option(metavar="CONDITION", help="With --from: only those, such as \"currency = 'eur'\".")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="With --from: link them; without it nothing is written.")] = False,
    dry_run: Dry = False,
) -> None:
    """Bring contracts of another system into the books, or link the subscriptions that the Stripe account has; nothing is billed again."""
    from connector import printing
    from connector.asking import imports, stripe_account
    from connector.asking.shared import bad

    if (file is None) == (source is None) or source not in (None, "stripe"):
        raise bad("Say either a file or --from stripe.", "Write `connector import contracts FILE` or `connector import contracts --from stripe`.")
    is_dry = dry_run or (source is not None and not yes)
    parts = (
        imports.contract_rows(Global.config, file, is_dry=is_dry)
        if file is not None
        else stripe_account.contract_rows(Global.config, where=where, is_dry=is_dry)
    )
    counts = {"made": 0, "unchanged": 0, "refused": 0}

    def counted() -> Iterator[dict[str, Any]]:
        for rows in parts:
            for row in rows:
                if row["kind"] == "contract":
                    counts["made" if row["result"] == "would be made" else row["result"]] += 1
                yield row

    if Global.is_json:
        for text in printing.streamed({"dry_run": is_dry}, "rows", counted(), counts):
            sys.stdout.write(text)
    else:
        for row in counted():
            sys.stdout.write(printing.import_line(row) + "\n")
        sys.stdout.write(printing.import_sum(counts, is_dry=is_dry) + "\n")
        if source is not None and is_dry and counts["made"]:
            sys.stdout.write("Link them with `connector import contracts --from stripe --yes`.\n")
    raise typer.Exit(REFUSED if counts["refused"] else 0)
