"""`connector crm`: what the connector adds to a Salesforce org, as a project to keep or sent to the org."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

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
    from connector.asking import crm_package as asking

    result = asking.package(Global.config, folder, asking.Wanted(has_history=history, has_quotes=not no_quotes, has_cpq=cpq))
    show(result, _package_text)
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
    from connector.asking import crm_package as asking

    target = asking.Target(url=url, token_variable=token_env, folder=package, is_check=check_only, has_french=french, wait_s=wait * 60.0)
    result = asking.deploy(Global.config, asking.Wanted(has_history=history, has_quotes=not no_quotes, has_cpq=cpq), target)
    show(result, _deploy_text)
    raise typer.Exit(0 if result["ok"] else 1)


@app.command("rebind")
def crm_rebind(*, yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, what would follow is shown.")] = False) -> None:
    """Confirm that another org than before is meant, such as a refreshed sandbox."""
    from connector.asking import crm_rebind as asking

    result = asking.rebind(Global.config, is_meant=yes)
    show(result, _rebind_text)
    raise typer.Exit(0 if result["done"] or result["is_same"] else 1)


# ---------------------------------------------------------------- what is printed


def _package_text(result: Mapping[str, Any]) -> str:
    """Return what `crm package` wrote, what it left alone, and what to do next."""
    lines = [f"kept  {name} (you changed it)" for name in result["kept"]]
    lines += [f"left  {name} (no part of the package any more; delete it if you do not need it)" for name in result["left_over"]]
    lines += _not_granted(result)
    counts = (("written", len(result["written"])), ("renewed", len(result["renewed"])), ("the same already", result["same"]), ("kept", len(result["kept"])))
    lines.append(f"{result['folder']}: " + ", ".join(f"{n} files {what}" for what, n in counts if n) + ".")
    lines.append(f"Rights of the integration user follow from {', '.join(result['mappings'])}.")
    if result["kept"]:
        lines.append("To compare, write the package into an empty folder.")
    lines.append(f"Next: `connector crm deploy --package {result['folder']} --check-only`.")
    return "\n".join(lines)


def _rebind_text(result: Mapping[str, Any]) -> str:
    """Return between which orgs a ledger moves, what follows, and what was done."""

    def named(org: Mapping[str, Any]) -> str:
        kind = "sandbox" if org["is_sandbox"] else "production"
        return f"{org['id']}  {org['name'] or '(name not kept)'}, {kind}"

    if result["is_same"]:
        return f"The ledger belongs to this org already: {named(result['new'])}. Nothing to do."
    lines = [f"old org  {named(result['old'])}", f"new org  {named(result['new'])}", ""]
    lines.append(f"Records of the ledger that the new org has: {result['kept']:,}. Their contracts go on, and are told to it again.")
    if result["lost"]:
        lines.append(f"Records that it has not: {len(result['lost']):,}. What is billed goes on, and nothing is told to the CRM about them.")
    if result["fresh"]:
        lines.append(f"Records that the ledger does not know: {result['fresh']:,}. The next sync reads them, and bills what is won. Among them:")
        lines += [f"  {one}" for one in result["examples"]]
        lines.append("If they are copies of deals that are billed elsewhere, move `start_from` of the mapping first.")
    if result["new"]["is_sandbox"] and not result["old"]["is_sandbox"]:
        lines.append("The ledger of a production org would go to a sandbox: mails are held there, and test cards count as payments.")
    if result["config_org_id"]:
        lines.append(f"crm.org_id in the configuration still says {result['config_org_id']}: write {result['new']['id']}, or null.")
    lines.append("")
    lines.append("Done: the ledger and the books belong to the new org." if result["done"] else "Nothing was changed. If this is meant: `connector crm rebind --yes`.")
    return "\n".join(lines)


def _not_granted(result: Mapping[str, Any]) -> list[str]:
    text = "a mapping reads it over a lookup that the package does not know; give the integration user this right yourself."
    return [f"not granted: {path}: {text}" for path in result["not_granted"]]


def _deploy_text(result: Mapping[str, Any]) -> str:
    """Return what the org made of the package: a line a problem with its fix, or what to do next."""
    kind = "sandbox " if result["is_sandbox"] else ""
    lines = []
    for title, rows in (("refused", result["errors"]), ("warning", result["warnings"])):
        for row in rows:
            place = f" ({row['file']}:{row['line']}:{row['column']})" if row["line"] else f" ({row['file']})" if row["file"] else ""
            lines += [f"{title} {row['component']}{place}: {row['problem']}", f"        {row['hint']}"]
    lines += [f"{p.message} {p.hint}" for p in result["problems"] if not result["errors"]]
    lines += _not_granted(result)
    if result["left_out"]:
        lines.append(f"Everybody who sees the object has these in this org, so no right was set for them: {', '.join(result['left_out'])}.")
    if not result["ok"]:
        count = len(result["errors"])
        lines.append(f"Nothing was changed in {kind}{result['org']}: {count or 'no'} {'component was' if count == 1 else 'components were'} refused.")
    elif result["check_only"]:
        lines.append(f"{result['components']} components would be accepted by {kind}{result['org']}. Nothing was changed; leave out --check-only to deploy.")
    else:
        lines.append(f"{result['components']} components were deployed to {kind}{result['org']}.")
        lines.append("Next: give Billing Connector Integration to the integration user and Billing Connector Rep to people who sell; then `connector check`.")
    return "\n".join(lines)
