"""The pages that customers see: the portal, a hosted invoice. Tiny, and only what there is to see or do."""

from __future__ import annotations

from collections.abc import Callable

from connector.lookalike.stripe.account import Account, Data, Refused, catch_up
from connector.lookalike.stripe.currencies import amount_text
from connector.lookalike.stripe.wire import Reply, Request

Page = Callable[[Account, list[str], Request], str]

_SHOWN = 50

PAGES: dict[str, Page] = {}
"""First part of a path -> (account, the other parts, request) -> HTML. Raises Refused for a page that says no."""


class Pages:
    """Answers whatever is neither API nor control."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def answer(self, request: Request) -> Reply:
        """Answer one request with a page."""
        first, *rest = request.path.strip("/").split("/")
        page = PAGES.get(first, front_page if request.path == "/" else None)
        try:
            if page is None:
                raise Refused("There is nothing here.", status=404)
            with self._account.lock:
                catch_up(self._account)
                body = page(self._account, rest, request)
            return Reply(body=body, media="text/html; charset=utf-8")
        except Refused as refused:
            return Reply(
                status=refused.status,
                body=framed("Not possible", f"<p>{escaped(refused.message)}</p>"),
                media="text/html; charset=utf-8",
            )


def front_page(account: Account, parts: list[str], request: Request) -> str:
    """Say what this is, and list what there is: the newest customers, subscriptions and invoices, these with their hosted pages."""
    del parts, request
    customers = account.kind("customer")
    names = {c["id"]: c.get("name") or c.get("email") or c["id"] for c in customers.values()}
    subscriptions, invoices = account.kind("subscription"), account.kind("invoice")
    return framed(
        "A look-alike of Stripe",
        f"<p>It stands in for Stripe in demos and tests, on this machine; no money moves. The account is {escaped(account.id)}, in "
        f"{'live' if account.is_live else 'test'} mode. Programs ask it at /v1/; this page is for people.</p>"
        + _list("Invoices", [_invoice_row(i, names) for i in _newest(invoices)], len(invoices))
        + _list("Subscriptions", [f"{escaped(s['id'])}: {escaped(names.get(s['customer'], s['customer']))}, {escaped(s['status'])}" for s in _newest(subscriptions)], len(subscriptions))
        + _list("Customers", [f"{escaped(c['id'])}: {escaped(names[c['id']])}" for c in _newest(customers)], len(customers)),
    )


def _newest(found: dict[str, Data]) -> list[Data]:
    """Return the last objects of a kind, the newest first."""
    return list(found.values())[: -_SHOWN - 1 : -1]


def _invoice_row(invoice: Data, names: dict[str, str]) -> str:
    name, page = escaped(invoice["number"] or invoice["id"]), invoice["hosted_invoice_url"]
    linked = f'<a href="{escaped(page)}">{name}</a>' if page else name
    total = amount_text(invoice["total"], invoice["currency"])
    return f"{linked}: {escaped(names.get(invoice['customer'], invoice['customer']))}, {escaped(total)}, {escaped(invoice['status'])}"


def _list(title: str, rows: list[str], count: int) -> str:
    """Return a heading and a list of *rows*, which are HTML, of *count* in all."""
    more = f"<p>The newest {len(rows)} of {count}.</p>" if count > len(rows) else ""
    return f"<h2>{title}</h2>{more}" + (f"<ul>{''.join(f'<li>{row}</li>' for row in rows)}</ul>" if rows else "<p>None yet.</p>")


def framed(title: str, inside: str) -> str:
    """Return a whole page around some HTML."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escaped(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head>'
        f"<body><main><h1>{escaped(title)}</h1>{inside}</main></body></html>"
    )


def escaped(text: object) -> str:
    """Return text as HTML shows it."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
