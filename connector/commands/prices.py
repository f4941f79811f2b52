"""`connector prices`: the prices of the catalogue."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from connector.commands.shared import Global, show

REFUSED = 1

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


@app.command("migrate")
def prices_migrate(
    *,
    from_price: Annotated[str, typer.Option("--from", metavar="P", help="A price's id, or a product's code for all of its prices.")],
    to_price: Annotated[str, typer.Option("--to", metavar="Q", help="The catalogue price that contracts get.")],
    at: Annotated[str, typer.Option(help="now, or renewal: the next term, without a term the next period.")] = "renewal",
    proration: Annotated[str | None, typer.Option(help="With now: create_prorations (next invoice), always_invoice (now) or none.")] = None,
    where: Annotated[str | None, typer.Option(metavar="EXPR", help="Only these contracts: customer.country == 'FR' and value > 1000.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would become of each contract; write nothing.")] = False,
) -> None:
    """Move contracts from one price to another; running it again adds nothing."""
    from connector import printing
    from connector.asking import migrations

    counts = {"migrated": 0, "unchanged": 0, "refused": 0}
    asked = migrations.Migration(from_price=from_price, to_price=to_price, at=at, proration=proration, where=where)
    parts = migrations.migration_rows(Global.config, asked, is_dry=dry_run)

    def counted() -> Iterator[dict[str, Any]]:
        for rows in parts:
            for row in rows:
                counts["migrated" if row["result"] == "would be migrated" else row["result"]] += 1
                yield row

    if Global.is_json:
        for text in printing.streamed({"dry_run": dry_run}, "rows", counted(), counts):
            sys.stdout.write(text)
    else:
        for row in counted():
            sys.stdout.write(printing.migration_line(row) + "\n")
        sys.stdout.write(printing.import_sum(counts, is_dry=dry_run) + "\n")
    raise typer.Exit(REFUSED if counts["refused"] else 0)
