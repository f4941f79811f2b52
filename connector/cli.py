"""The command line: a verb parses its arguments, calls one function of `verbs`, prints, and returns the exit status.

Exit status: 0 done; 1 done, but some records need attention; 2 bad config, mapping or arguments; 3 cannot run now; 70 a bug of
ours. `--json`, `-v` and `-c FILE` may stand before or after the verb; with `--json` stdout holds the result and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from connector.commands import (
    contracts,
    crm,
    customers,
    deals,
    events,
    imports,
    invoices,
    prices,
    quotes,
    usage,
    webhooks,
)
from connector.commands.shared import Global, show
from connector.errors import ConfigError, HaltError, InvariantError, Problem, RejectedError, RetryableError

EXIT_ATTENTION, EXIT_BAD, EXIT_CANNOT, EXIT_BUG = 1, 2, 3, 70

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From closed deals in the CRM to correct bills, and back. Global: -c/--config FILE, --json, -v.",
)
mapping_app = typer.Typer(no_args_is_help=True, help="The mapping files.")
app.add_typer(deals.app, name="deals")
app.add_typer(invoices.app, name="invoices")
app.add_typer(contracts.app, name="contracts")
app.add_typer(customers.app, name="customers")
app.add_typer(imports.app, name="import")
app.add_typer(prices.app, name="prices")
app.add_typer(usage.app, name="usage")
app.add_typer(quotes.app, name="quotes")
app.add_typer(events.app, name="events")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(mapping_app, name="mapping")
app.add_typer(crm.app, name="crm")


def _problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        sys.stderr.write(problem.text() + "\n\n")


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path()) -> None:
    """Write config.yaml and mappings/ to edit; existing files are never overwritten."""
    from connector import printing, verbs

    show(verbs.init(folder), printing.init_text)


@app.command()
def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="Play the story, print the summary, exit.")] = False,
    port: Annotated[int, typer.Option(help="Port of the web pages; 0 chooses a free one.")] = 8080,
    crm_port: Annotated[int, typer.Option(help="Port of the demo CRM; 0 chooses a free one.")] = 8081,
    backend: Annotated[Literal["internal", "stripe"], typer.Option(help="Who bills: our own engine, or a small look-alike of Stripe.")] = "internal",
    stripe_port: Annotated[int, typer.Option(help="Port of the look-alike of Stripe; 0 chooses a free one.")] = 8082,
) -> None:
    """Start the whole product on embedded defaults and play a sales story through it."""
    from connector import demo as story

    raise typer.Exit(story.run(once=once, port=port, crm_port=crm_port, is_json=Global.is_json, backend=backend, stripe_port=stripe_port))


@app.command()
def run() -> None:
    """Run the daemon: scheduler, passes, web pages."""
    from connector import operate

    raise typer.Exit(operate.run(Global.config))


@app.command()
def sync(
    *,
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    record: Annotated[str | None, typer.Option(help="Only this CRM record.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything again and compare it, also what was deleted for good.")] = False,
) -> None:
    """Run rounds of all passes until nothing is due, then print a summary."""
    from connector import printing, verbs

    result = verbs.sync(Global.config, source=source, record=record, is_full=full)
    show(result, printing.sync_text)
    raise typer.Exit(verbs.exit_of(result))


@app.command()
def bill(as_of: Annotated[str | None, typer.Option(help="Date or instant; default now.")] = None) -> None:
    """Bill everything that is due, then tell the CRM; running it twice adds nothing."""
    from connector import printing, verbs

    result = verbs.bill(Global.config, as_of=as_of)
    show(result, printing.bill_text)
    raise typer.Exit(verbs.exit_of(result))


@app.command()
def plan(
    *,
    record: Annotated[str, typer.Option(help="The CRM record's id.")] = "",
    changed_by_mapping: Annotated[
        tuple[str, str], typer.Option(metavar="OLD NEW", help="Two mapping files or revisions: which records they read otherwise.")
    ] = ("", ""),
) -> None:
    """Show what one CRM record would do, or what another mapping would make of all. Writes nothing anywhere."""
    from connector import printing, verbs
    from connector.asking import mappings

    if any(changed_by_mapping):
        show(mappings.changed_by(Global.config, *changed_by_mapping), printing.compared_text)
        return
    if not record:
        raise typer.BadParameter("Say --record ID, or --changed-by-mapping OLD NEW.")
    result = verbs.plan(Global.config, record)
    show(result, printing.plan_text)
    raise typer.Exit(EXIT_ATTENTION if result["problems"] else 0)


@app.command()
def simulate(file: Annotated[Path, typer.Argument(exists=False)]) -> None:
    """Play a scenario file and show its invoices. Touches no database."""
    from connector import simulate as scenario

    raise typer.Exit(scenario.run(str(file), Global.is_json))


@app.command()
def check() -> None:
    """Look at everything a run needs and say all that is wrong, each with its fix. Writes nothing anywhere."""
    from connector import printing, verbs

    result = verbs.check(Global.config)
    show(result, printing.check_table if sys.stdout.isatty() else printing.check_lines)
    raise typer.Exit(result["exit_status"])


@app.command("demo-crm")
def demo_crm(
    *,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8081,
    seed: Annotated[Path | None, typer.Option(help="YAML file of records; default: the demo company.")] = None,
    file: Annotated[Path | None, typer.Option(help="Keep the records in this SQLite file.")] = None,
    org: Annotated[list[str] | None, typer.Option(metavar="NAME[=VALUE]", help="A setting of a new org, such as multi_currency or currency=USD.")] = None,
) -> None:
    """Run the demo CRM alone."""
    from connector import demo as story

    raise typer.Exit(story.serve_crm(port=port, seed_file=seed, file=file, words=org or []))


@app.command("demo-stripe")
def demo_stripe(
    *,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8082,
    country: Annotated[str, typer.Option(help="The account's country.")] = "FR",
    currency: Annotated[str, typer.Option(help="The account's usual currency.")] = "EUR",
) -> None:
    """Run the Stripe look-alike alone."""
    from connector import demo_stripe as story

    raise typer.Exit(story.serve_stripe(port=port, country=country, currency=currency))


@mapping_app.command("check")
def mapping_check(
    files: Annotated[list[Path] | None, typer.Argument()] = None,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the CRM which fields exist.")] = False,
) -> None:
    """Check mapping files: every problem at once, each with file, line and column."""
    from connector import printing, verbs

    result = verbs.mapping_check(Global.config, files or [], is_offline=offline)
    show(result, printing.mapping_text)
    raise typer.Exit(EXIT_ATTENTION if result["problems"] else 0)


@mapping_app.command("fields")
def mapping_fields(object_name: Annotated[str, typer.Argument(metavar="OBJECT")]) -> None:
    """List the fields of a CRM object that can be mapped."""
    from connector import printing, verbs

    show(verbs.mapping_fields(Global.config, object_name), printing.fields_text)


@mapping_app.command("adopt")
def mapping_adopt(
    *,
    where: Annotated[str, typer.Option(metavar="EXPR", help="Only records that fulfil this condition, as in a mapping's `when`.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would follow; write nothing.")] = False,
) -> None:
    """Move billed records to the newest revision of their mapping."""
    from connector import printing
    from connector.asking import mappings

    result = mappings.adopt(Global.config, where, is_dry=dry_run)
    show(result, printing.adopted_text)
    raise typer.Exit(EXIT_ATTENTION if any(r["message"] for r in result["rows"]) else 0)


@mapping_app.command("schema")
def mapping_schema() -> None:
    """Print the JSON Schema of mapping files, for editors."""
    from connector import printing
    from connector.mapping.schema import schema

    sys.stdout.write(printing.json_text(schema()) + "\n")


# ---------------------------------------------------------------- the door


def _take_globals(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without the global options, which are noted in `Global`; they may stand anywhere before `--`."""
    Global.config, Global.is_json, Global.is_verbose = Path("config.yaml"), False, False
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--json":
            Global.is_json = True
        elif argument in ("-v", "--verbose"):
            Global.is_verbose = True
        elif argument in ("-c", "--config"):
            Global.config = Path(next(waiting, "config.yaml"))
        elif argument.startswith("--config="):
            Global.config = Path(argument.partition("=")[2])
        elif argument == "--":
            return [*rest, argument, *waiting]
        else:
            rest.append(argument)
    return rest


def _failed(code: str, problems: Sequence[Problem], status: int) -> int:
    """Print problems where they belong and return *status*."""
    if Global.is_json:
        from connector import printing

        sys.stdout.write(printing.json_text({"error": code, "problems": problems}) + "\n")
    else:
        _problems(problems)
    return status


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the documented status."""
    given = _take_globals(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_guarded(given))


def _guarded(given: list[str]) -> int:
    try:
        result = app(args=given, standalone_mode=False, prog_name="connector")
        return result if isinstance(result, int) else 0
    except ConfigError as error:
        return _failed("bad-config", error.problems, EXIT_BAD)
    except RejectedError as error:
        return _failed(error.problem.code, [error.problem], EXIT_ATTENTION)
    except HaltError as error:
        return _failed(error.code, [Problem(code=error.code, message=str(error), hint=error.hint)], EXIT_CANNOT)
    except RetryableError as error:
        return _failed("unreachable", [Problem(code="unreachable", message=str(error), hint=error.hint)], EXIT_CANNOT)
    except InvariantError as error:
        problem = Problem(code="internal-error", message=f"A bug of ours: {error}.", hint="Please report it with the log.")
        return _failed("internal-error", [problem], EXIT_BUG)
    except (typer.Exit, typer.Abort) as ending:
        return int(getattr(ending, "exit_code", 130))
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the last net: usage errors of click, and bugs as exit 70
        return _usage_or_bug(error)


def _usage_or_bug(error: Exception) -> int:
    """Return 2 for arguments that click refuses, 70 for anything unforeseen (its traceback goes to stderr)."""
    show = getattr(error, "show", None)
    if callable(show):
        show()
        return EXIT_BAD
    import traceback

    traceback.print_exc()
    problem = Problem(code="internal-error", message=f"A bug of ours: {type(error).__name__}: {error}.", hint="Please report it.")
    return _failed("internal-error", [problem], EXIT_BUG)
