"""`connector customers`: who is billed, their balances, how their invoices are put together."""

from __future__ import annotations

from typing import Annotated

import typer

from connector.commands.shared import Global, show

app = typer.Typer(no_args_is_help=True, help="The customers in the books; ID is a customer's id, CRM account id or name.")


@app.command("list")
def customers_list(*, limit: Annotated[int, typer.Option(help="At most so many.")] = 200) -> None:
    """List the customers, with what is open and their balances."""
    from connector import printing
    from connector.asking import customers

    show(customers.listed(Global.config, limit=limit), printing.customers_text)


@app.command("show")
def customers_show(customer: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show one customer: who it is, balances and their history, contracts, open invoices."""
    from connector import printing
    from connector.asking import customers

    show(customers.shown(Global.config, customer), printing.customer_text)


@app.command("adjust-balance", context_settings={"ignore_unknown_options": True})
def customers_adjust_balance(
    customer: Annotated[str, typer.Argument(metavar="ID")],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="In major units; -50.00 gives 50.00 of credit, 50.00 takes it.")],
    *,
    reason: Annotated[str, typer.Option(help="Why, for whoever reads it later.")],
    currency: Annotated[str | None, typer.Option(help="Such as EUR; may be left out where the customer has only one.")] = None,
) -> None:
    """Change a customer's balance; the next invoice in that currency uses what is there."""
    from connector import printing
    from connector.asking import customers

    show(customers.adjust(Global.config, customer, amount, currency=currency, reason=reason), printing.plain)


@app.command("set")
def customers_set(
    customer: Annotated[str, typer.Argument(metavar="ID")],
    *,
    consolidate: Annotated[
        bool | None, typer.Option("--consolidate/--no-consolidate", help="One invoice for all contracts of a billing run, or one each.")
    ] = None,
    follow_crm: Annotated[bool, typer.Option("--follow-crm", help="As the account says in the CRM, from now on.")] = False,
) -> None:
    """Say how a customer's invoices are put together, whatever the account says in the CRM."""
    from connector import printing
    from connector.asking import customers

    show(customers.settle(Global.config, customer, consolidate=consolidate, follows_crm=follow_crm), printing.plain)


@app.command("discount")
def customers_discount(
    customer: Annotated[str, typer.Argument(metavar="ID")],
    *,
    coupons: Annotated[str, typer.Option(metavar="A,B", help='Codes in order of application; "" ends all of them.')],
    since: Annotated[str | None, typer.Option(metavar="DATE", help="For periods that begin on this day or later; default today.")] = None,
) -> None:
    """Give a customer coupons, which its contracts without discounts of their own inherit."""
    from connector import printing
    from connector.asking import customers

    show(customers.discount(Global.config, customer, coupons=coupons, since=since), printing.plain)


@app.command("portal-link")
def customers_portal_link(
    customer: Annotated[str, typer.Argument(metavar="ID")],
    *,
    new: Annotated[bool, typer.Option("--new", help="Make a new link; the old one leads nowhere from now on.")] = False,
) -> None:
    """Show a customer's portal link, or replace one that fell into wrong hands; the CRM is told."""
    from connector import printing
    from connector.asking import customers

    show(customers.portal_link(Global.config, customer, is_new=new), printing.plain)


@app.command("payment-method")
def customers_payment_method(
    customer: Annotated[str, typer.Argument(metavar="ID")],
    *,
    wanted: Annotated[str | None, typer.Option("--set", metavar="METHOD:NAME", help="Such as test:ok, a test card that pays.")] = None,
    is_removed: Annotated[bool, typer.Option("--remove", help="Charge nothing by itself any more.")] = False,
) -> None:
    """Show, store or remove how a customer is charged automatically."""
    from connector import printing
    from connector.asking import payment_methods

    show(payment_methods.payment_method(Global.config, customer, wanted=wanted, is_removed=is_removed), printing.plain)
