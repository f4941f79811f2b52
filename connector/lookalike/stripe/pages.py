"""The pages that customers see: the portal, a hosted invoice. Tiny, and only what there is to see or do."""

from __future__ import annotations

from collections.abc import Callable

from connector.lookalike.stripe.account import Account, Refused, catch_up
from connector.lookalike.stripe.wire import Reply, Request

Page = Callable[[Account, list[str], Request], str]

PAGES: dict[str, Page] = {}
"""First part of a path -> (account, the other parts, request) -> HTML. Raises Refused for a page that says no."""


class Pages:
    """Answers whatever is neither API nor control."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def answer(self, request: Request) -> Reply:
        """Answer one request with a page."""
        first, *rest = request.path.strip("/").split("/")
        page = PAGES.get(first)
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
