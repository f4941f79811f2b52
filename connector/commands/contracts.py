"""`connector contracts`: The contracts in the books."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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


Dry = Annotated[bool, typer.Option("--dry-run", help="Show the invoices that would follow; write nothing.")]
Effective = Annotated[str | None, typer.Option(metavar="DATE", help="The day it counts from; default today.")]
Items = Annotated[list[str] | None, typer.Option("--item", help="Only this item, by number, price or product; may be repeated.")]
Behavior = Annotated[str | None, typer.Option(help="create_prorations (next invoice), always_invoice (now) or none.")]


def _changed(contract: str, action: dict[str, Any], *, file: Path | None = None, is_dry: bool = False) -> None:
    from connector import printing
    from connector.asking import contracts

    show(contracts.change(Global.config, contract, action, file=file, is_dry=is_dry), printing.change_text)


@app.command("amend")
def contracts_amend(contract: str, file: Path, *, dry_run: Dry = False) -> None:
    """Amend a contract as a file says: items with add, set, delta or remove, and prices the contract does not know."""
    _changed(contract, {"do": "amend"}, file=file, is_dry=dry_run)


@app.command("cancel")
def contracts_cancel(
    contract: str,
    *,
    when: Annotated[str, typer.Option(help="now, period_end, term_end or a date.")],
    prorate: Annotated[bool | None, typer.Option(help="Whether unused time is credited; said unless it ends a period or term.")] = None,
    invoice_now: Annotated[bool | None, typer.Option(help="Whether a final invoice is made at once; said likewise.")] = None,
    item: Items = None,
    dry_run: Dry = False,
) -> None:
    """Cancel a contract, or some items of it."""
    _changed(contract, {"do": "cancel", "when": when, "prorate": prorate, "invoice_now": invoice_now, "prices": item}, is_dry=dry_run)


@app.command("pause")
def contracts_pause(
    contract: str,
    *,
    behavior: Annotated[str, typer.Option(help="credit (service stops, unused time credited), void or mark_uncollectible.")] = "credit",
    effective: Effective = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="The day it goes on by itself.")] = None,
    dry_run: Dry = False,
) -> None:
    """Pause a contract until it is resumed."""
    _changed(contract, {"do": "pause", "behavior": behavior, "effective": effective, "until": until}, is_dry=dry_run)


@app.command("resume")
def contracts_resume(contract: str, *, effective: Effective = None, proration_behavior: Behavior = None, dry_run: Dry = False) -> None:
    """Let a paused contract go on."""
    _changed(contract, {"do": "resume", "effective": effective, "proration_behavior": proration_behavior}, is_dry=dry_run)


@app.command("renew")
def contracts_renew(
    contract: str,
    *,
    file: Annotated[Path | None, typer.Option(help="Other items for the new term, as in a scenario.")] = None,
    months: Annotated[int | None, typer.Option(min=1, help="Length of the new term; default the same again.")] = None,
    uplift: Annotated[str | None, typer.Option(metavar="PERCENT", help="So much dearer.")] = None,
    effective: Annotated[str | None, typer.Option(metavar="DATE", help="First day of the new term; default the end of this one.")] = None,
    dry_run: Dry = False,
) -> None:
    """Give a contract its next term."""
    length = None if months is None else {"interval": "month", "interval_count": months}
    _changed(contract, {"do": "renew", "duration": length, "uplift_percent": uplift, "effective": effective}, file=file, is_dry=dry_run)
