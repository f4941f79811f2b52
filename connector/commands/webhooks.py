"""`connector webhooks`: what is on its way to the addresses of the configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="What is on its way to the addresses of the configuration.")


@app.command("list")
def webhooks_list(*, limit: Annotated[int, typer.Option(min=1, help="At most so many events that were given up.")] = 100) -> None:
    """List the addresses with what waits, and the events that were given up."""
    from connector import printing
    from connector.asking import webhooks

    show(webhooks.listed(Global.config, limit=limit), printing.webhooks_text)


@app.command("retry")
def webhooks_retry(
    *,
    endpoint: Annotated[str | None, typer.Option(metavar="ID", help="Only this address, by its id (wh_...).")] = None,
    event: Annotated[str | None, typer.Option(metavar="ID", help="Only this event (ev_...).")] = None,
) -> None:
    """Make due at once what was given up, and what waits for its next try."""
    from connector import printing
    from connector.asking import webhooks

    show(webhooks.retry(Global.config, endpoint=endpoint, event=event), printing.plain)


@app.command("deliver")
def webhooks_deliver() -> None:
    """Deliver what is due now and end; for machines where no daemon runs."""
    from connector import printing
    from connector.asking import webhooks

    result = webhooks.deliver(Global.config)
    show(result, printing.plain)
    if result["failed"]:
        raise typer.Exit(1)
