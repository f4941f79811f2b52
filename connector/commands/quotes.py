"""`connector quotes`: Offers with a number, priced as they will be billed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="Offers with a number, priced as they will be billed.")

Dry = Annotated[bool, typer.Option("--dry-run", help="Show what would come of it; write nothing.")]
Reason = Annotated[str, typer.Option(help="Why, for whoever reads it later.")]


@app.command("list")
def quotes_list(
    *,
    status: Annotated[str | None, typer.Option(help="draft, open, accepted, canceled, expired, outdated")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 200,
) -> None:
    """List the quotes, newest first."""
    from connector import printing
    from connector.asking import quotes

    show(quotes.listed(Global.config, status=status, limit=limit), printing.quotes_text)


@app.command("show")
def quotes_show(quote: str) -> None:
    """Show one quote by its number, id or CRM record: lines, what is due at first and for good, revisions."""
    from connector import printing
    from connector.asking import quotes

    show(quotes.show(Global.config, quote), printing.quote_text)


@app.command("create")
def quotes_create(file: Path, *, dry_run: Dry = False) -> None:
    """Make a draft from a file: customer, currency, prices and quote, in the vocabulary of scenarios."""
    from connector import printing
    from connector.asking import quotes

    show(quotes.create(Global.config, file, is_dry=dry_run), printing.quote_text)


@app.command("send")
def quotes_send(quote: str) -> None:
    """Open a draft: it gets its number and can be accepted until it expires."""
    from connector import printing
    from connector.asking import quotes

    show(quotes.send(Global.config, quote), printing.plain)


@app.command("accept")
def quotes_accept(
    quote: str,
    *,
    name: Annotated[str, typer.Option(help="Who accepted it.")],
    title: Annotated[str, typer.Option(help="As what, such as CFO.")] = "",
    dry_run: Dry = False,
) -> None:
    """Record that the customer accepted an open quote; what it offers is carried out."""
    from connector import printing
    from connector.asking import quotes

    show(quotes.accept(Global.config, quote, by=name, title=title, is_dry=dry_run), printing.quote_done_text)


@app.command("decline")
def quotes_decline(quote: str, *, reason: Reason = "") -> None:
    """Record that the customer declined an open quote."""
    from connector import printing
    from connector.asking import quotes

    show(quotes.decline(Global.config, quote, reason=reason), printing.plain)


@app.command("cancel")
def quotes_cancel(quote: str, *, reason: Reason = "") -> None:
    """Take back a quote that nobody accepted yet."""
    from connector import printing
    from connector.asking import quotes

    show(quotes.cancel(Global.config, quote, reason=reason), printing.plain)
