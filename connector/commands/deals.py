"""`connector deals`: The sync ledger, for people."""

from __future__ import annotations

from typing import Annotated

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="The sync ledger, for people.")


@app.command("list")
def deals_list(
    *,
    state: Annotated[str | None, typer.Option(help="staged, mapped, applied, written, waiting, parked, idle")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 200,
) -> None:
    """List the deals of the ledger."""
    from connector import printing, verbs

    show(verbs.deals_list(Global.config, state=state, limit=limit), printing.deals_text)


@app.command("show")
def deals_show(deal: str) -> None:
    """Show one deal: its records, its contract, what was tried."""
    from connector import printing, verbs
    from connector.crm.login import id18

    show(verbs.deals_show(Global.config, id18(deal)), printing.deal_text)


@app.command("retry")
def deals_retry(deal: str) -> None:
    """Try a parked or waiting deal again at the next round."""
    from connector import printing, verbs
    from connector.crm.login import id18

    show(verbs.deals_retry(Global.config, id18(deal)), printing.plain)


@app.command("skip")
def deals_skip(deal: str, *, reason: Annotated[str, typer.Option(help="Why; stands on the record.")]) -> None:
    """Leave a deal that is not billed out of billing."""
    from connector import printing, verbs
    from connector.crm.login import id18

    show(verbs.deals_skip(Global.config, id18(deal), reason), printing.plain)


@app.command("approve")
def deals_approve(
    deal: str,
    *,
    reason: Annotated[str, typer.Option(help="Why; stands in the history.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the amendment and its invoices; write nothing.")] = False,
) -> None:
    """Apply the amendment that an edit of a billed deal proposes."""
    from connector import printing
    from connector.asking import deals
    from connector.crm.login import id18

    show(deals.approve(Global.config, id18(deal), reason=reason, is_dry=dry_run), printing.change_text)


@app.command("relink")
def deals_relink(deal: str, contract: str, *, reason: Annotated[str, typer.Option(help="Why; stands in the history.")] = "") -> None:
    """Link an Amend, Renew, Cancel, Pause or Resume deal, whose base is not in billing, to a contract of the books."""
    from connector import printing
    from connector.asking import deals
    from connector.crm.login import id18

    show(deals.relink(Global.config, id18(deal), contract, reason=reason), printing.plain)
