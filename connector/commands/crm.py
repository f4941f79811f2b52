"""`connector crm`: what the connector adds to a Salesforce org, as a project to keep or sent to the org."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="What the connector adds to a Salesforce org: fields, invoices, permission sets, card.")

_History = Annotated[bool, typer.Option("--history", help="Keep the field history of Billing Status on opportunities and quotes.")]
_NoQuotes = Annotated[bool, typer.Option("--no-quotes", help="For orgs in which quotes are switched off.")]

_Cpq = Annotated[bool, typer.Option("--cpq", help="Also the fields of orders, for Salesforce CPQ.")]


@app.command("package")
def crm_package(
    folder: Annotated[Path, typer.Argument(metavar="DIR")], *, history: _History = False, no_quotes: _NoQuotes = False, cpq: _Cpq = False
) -> None:  # fmt: skip
    """Write everything as an SFDX project; files that you changed are left alone and named."""
    from connector import printing
    from connector.asking import crm_package as asking

    result = asking.package(Global.config, folder, asking.Wanted(has_history=history, has_quotes=not no_quotes, has_cpq=cpq))
    show(result, printing.package_text)
    raise typer.Exit(1 if result["kept"] else 0)


@app.command("deploy")
def crm_deploy(  # noqa: PLR0913 - each is an option of the command line
    *,
    check_only: Annotated[bool, typer.Option("--check-only", help="Let the org check everything and change nothing.")] = False,
    package: Annotated[Path | None, typer.Option("--package", metavar="DIR", help="Send this SFDX project, with your own changes.")] = None,
    url: Annotated[str, typer.Option(help="The org's address; default crm.url.")] = "",
    token_env: Annotated[str, typer.Option(metavar="NAME", help="The environment variable with an administrator's token.")] = "SF_ADMIN_TOKEN",  # noqa: S107 - the name of a variable
    history: _History = False,
    no_quotes: _NoQuotes = False,
    cpq: _Cpq = False,
    french: Annotated[bool, typer.Option("--french", help="Also the French labels; needs the Translation Workbench.")] = False,
    wait: Annotated[int, typer.Option(min=1, metavar="MINUTES", help="How long to wait for the org.")] = 30,
) -> None:
    """Send everything to the org by the Metadata API; the administrator's token is used once and kept nowhere."""
    from connector import printing
    from connector.asking import crm_package as asking

    target = asking.Target(url=url, token_variable=token_env, folder=package, is_check=check_only, has_french=french, wait_s=wait * 60.0)
    result = asking.deploy(Global.config, asking.Wanted(has_history=history, has_quotes=not no_quotes, has_cpq=cpq), target)
    show(result, printing.deploy_text)
    raise typer.Exit(0 if result["ok"] else 1)


@app.command("rebind")
def crm_rebind(*, yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, what would follow is shown.")] = False) -> None:
    """Confirm that another org than before is meant, such as a refreshed sandbox."""
    from connector import printing
    from connector.asking import crm_rebind as asking

    result = asking.rebind(Global.config, is_meant=yes)
    show(result, printing.rebind_text)
    raise typer.Exit(0 if result["done"] or result["is_same"] else 1)
