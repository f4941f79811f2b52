"""A signed-in caller of the demo CRM without a socket, on a clock that a test sets: what the tests of the demo CRM share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from connector.lookalike.crm.front import Front
from connector.lookalike.crm.gate import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.wire import Reply, Request

BASE = "/services/data/v62.0"
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


class Clock:
    """A clock that a test sets."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, seconds: int) -> None:
        self.at += timedelta(seconds=seconds)


class Caller:
    """Calls a front as a signed-in client."""

    def __init__(self, org: Org, clock: Clock | None = None) -> None:
        self.org = org
        self.clock = clock or Clock()
        self.front = Front(org)
        self.sign_in()

    def sign_in(self) -> dict[str, Any]:
        form = {"grant_type": "client_credentials", "client_id": DEMO_CLIENT_ID, "client_secret": DEMO_CLIENT_SECRET}
        reply = self.front.answer(Request(method="POST", path="/services/oauth2/token", body=urlencode(form)))
        self.token = reply.body.get("access_token", "") if isinstance(reply.body, dict) else ""
        return dict(reply.body)

    def __call__(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **query: str) -> Reply:
        full = path if path.startswith("/") else f"{BASE}/{path}"
        sent = {"authorization": f"Bearer {self.token}", **(headers or {})}
        return self.front.answer(Request(method=method, path=full, query=query, headers=sent, body=body))

    def soql(self, text: str, path: str = "query") -> Any:
        return self("GET", path, q=text).body

    def ids(self, text: str, path: str = "query") -> list[str]:
        return [row["Id"] for row in self.soql(text, path)["records"]]

    def faults(self, **knobs: Any) -> None:
        reply = self("POST", "/demo/faults", knobs)
        assert reply.status == 204, reply.body

    def demo(self, deed: str, **body: Any) -> Any:
        reply = self("POST", f"/demo/{deed}", body)
        assert reply.status in (200, 204), reply.body
        return reply.body


def caller(**settings: Any) -> Caller:
    """Return a caller of a new org on a clock of its own."""
    clock = Clock()
    return Caller(Org(clock=clock, **settings), clock)


def error(reply: Reply) -> tuple[int, str]:
    """Return status and error code of a refused call."""
    return reply.status, reply.body[0]["errorCode"]
