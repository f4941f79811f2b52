"""The whole HTTP surface as one function: faults, gate, budget, one transaction, counters, headers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from email.utils import format_datetime
from typing import Any

from connector.lookalike.crm.bulk import Bulk
from connector.lookalike.crm.composite import Collections, Composite
from connector.lookalike.crm.control import Control
from connector.lookalike.crm.gate import Gate, Logins
from connector.lookalike.crm.metadata import PATH as METADATA
from connector.lookalike.crm.metadata import Metadata
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.refusal import Refusal, not_found
from connector.lookalike.crm.replication import Replication
from connector.lookalike.crm.rest import Rest, versions
from connector.lookalike.crm.trees import Trees
from connector.lookalike.crm.wire import Reply, Request, versioned

_MAX_REQUEST_BYTES = 16_384
_SOAP = re.compile(r"/services/Soap/u/([^/]+)(?:/.*)?")
_IDENTITY = re.compile(r"/id/([0-9A-Za-z]{15,18})/([0-9A-Za-z]{15,18})/?")
_USERINFO = "/services/oauth2/userinfo"
_REVOKE = "/services/oauth2/revoke"
_FREE = ("token", "revoke", "soap", "versions", "identity", "demo")
_HOURS = 24
_OWN_KINDS = (
    (re.compile(r"/demo(?:/.*)?"), "demo"),
    (re.compile(r"/services/oauth2/token/?"), "token"),
    (re.compile(_REVOKE + "/?"), "revoke"),
    (re.compile(r"/services/Soap/u/.*"), "soap"),
    (METADATA, "metadata"),
    (re.compile(rf"/id/.*|{_USERINFO}/?"), "identity"),
    (re.compile(r"/services/data/?"), "versions"),
)


class Front:
    """Answers every request to the demo CRM except its pages."""

    def __init__(self, org: Org, logins: Logins | None = None) -> None:
        self.org = org
        self.gate = Gate(org, logins or Logins())
        self.rest = Rest(org)
        self._metadata = Metadata(org, self.gate)
        self.move_clock: Callable[[date], None] | None = None
        """Moves the org's time to the morning of a day, where whoever runs it lets people do so."""
        self._composite = Composite(self.rest)
        Collections(self.rest)
        Trees(self.rest)
        Bulk(self.rest)
        Replication(self.rest)
        self._calls: Counter[str] = Counter()
        self._hours: Counter[int] = Counter()
        self.clients: Counter[str] = Counter()
        self._control = Control(org, revoke=self.gate.revoke, forget=self.rest.cursors.forget)
        self.rest.allowance = lambda: (self.limit, max(0, self.limit - self.used))

    @property
    def used(self) -> int:
        """API calls of the last 24 hours that count against the org's allocation, and those that a knob says others made."""
        now = self._hour()
        for hour in [one for one in self._hours if not now - _HOURS < one <= now]:
            del self._hours[hour]
        return self._hours.total() + (self.org.faults.limit_used or 0)

    @property
    def limit(self) -> int:
        """API calls that the org allows in 24 hours."""
        found = self.org.faults.limit_max
        return self.org.daily_limit if found is None else found

    def _hour(self) -> int:
        return int(self.org.now().timestamp() // 3600)

    def _count(self, kind: str, times: int = 1) -> None:
        self._calls[kind] += times
        if kind not in _FREE:
            self._hours[self._hour()] += times

    def counters(self) -> dict[str, Any]:
        """Return calls so far: `total` against the allocation, `by_kind`, inside composites, and records written."""
        return {
            "total": sum(count for kind, count in self._calls.items() if kind not in _FREE),
            "by_kind": dict(self._calls),
            "subrequests": dict(self._composite.subrequests),
            "records_written": self.rest.written,
        }

    def reset_counters(self) -> None:
        """Start counting anew."""
        self._calls.clear()
        self._hours.clear()
        self.clients.clear()
        self.rest.asked.clear()
        self._composite.subrequests.clear()
        self.rest.written = 0

    def answer(self, request: Request) -> Reply:
        """Answer one request; a Refusal becomes its error body."""
        with self.org.lock:
            kind = kind_of(request)
            try:
                reply = self._answered(request, kind)
            except Refusal as refusal:
                reply = Reply(status=refusal.status, body=refusal.body())
            now = self.org.now() + timedelta(seconds=self.org.faults.clock_skew_s)
            reply.headers["Date"] = format_datetime(now, usegmt=True)
            if kind not in _FREE:
                reply.headers["Sforce-Limit-Info"] = f"api-usage={self.used}/{self.limit}{self.org.faults.limit_suffix}"
            if self._drops("after", kind, request):
                reply.is_dropped = True
            return reply

    def _drops(self, when: str, kind: str, request: Request) -> bool:
        is_write = kind not in _FREE and request.method not in ("GET", "HEAD")
        return kind != "demo" and self.org.faults.drops_reply(when, kind, is_write=is_write)

    def _answered(self, request: Request, kind: str) -> Reply:
        if kind == "demo":
            return self._demo(request)
        self._count(kind)
        if kind not in _FREE:
            self.clients[request.headers.get("sforce-call-options", "")] += 1
        if self._drops("before", kind, request):
            return Reply(status=500, is_dropped=True)
        failure = self.org.faults.failing(kind)
        if failure is not None:
            return failure.reply()
        _check_length(request)
        if kind in _FREE:
            return self._open_to_all(request, kind)
        if kind == "metadata":
            return self._metadata.answer(request)
        return self._data(request, kind)

    def _data(self, request: Request, kind: str) -> Reply:
        if versioned(request.path) is None:
            raise not_found()
        user = self.gate.user_of(request.headers.get("authorization", ""))
        if user is None:
            raise Refusal("INVALID_SESSION_ID", "Session expired or invalid", status=401)
        if self.org.faults.limit_reached or self.used > self.limit:
            raise Refusal("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", status=403)
        _check_type(request)
        with self.org.transaction(user=user):
            before = self._composite.subrequests.total()
            reply = self.rest.answer(request)
            if kind == "composite/batch":
                # a batch counts every request in it, a composite counts once
                self._count(kind, self._composite.subrequests.total() - before - 1)
            return reply

    def _open_to_all(self, request: Request, kind: str) -> Reply:
        if kind == "versions":
            return Reply(body=versions(self.org.faults.retired_below))
        if kind == "revoke":
            return self.gate.end(request)
        sent = request.headers.get("authorization", "") or f"Bearer {request.query.get('oauth_token', '')}"
        if request.path.rstrip("/") == _USERINFO:
            user = self.gate.user_of(sent)
            return Reply(body=self.gate.userinfo(user)) if user else _bad_token()
        if kind == "identity":
            found = _IDENTITY.fullmatch(request.path)
            if found is None or found[1][:15] != self.org.org_id[:15]:
                raise not_found()
            if self.gate.user_of(sent) is None:
                return _bad_token()
            return Reply(body=self.gate.identity(found[2]))
        if request.method != "POST":
            raise Refusal(
                "METHOD_NOT_ALLOWED", f"HTTP Method '{request.method}' not allowed. Allowed are POST", status=405
            )
        if kind == "token":
            return self.gate.token(request)
        found = _SOAP.fullmatch(request.path)
        return self.gate.soap(found[1] if found else "", request.body or "")

    def _demo(self, request: Request) -> Reply:
        if request.path.rstrip("/") == "/demo/counters":
            if request.method == "DELETE":
                self.reset_counters()
            return Reply(body=self.counters())
        return self._control.answer(request)


def kind_of(request: Request) -> str:
    """Return under which name a call is counted: `query`, `query_more`, `composite`, `sobjects`, `describe`, `token` and so on."""
    return next((kind for pattern, kind in _OWN_KINDS if pattern.fullmatch(request.path)), None) or _data_kind(request.path)


def _data_kind(path: str) -> str:
    parts = versioned(path)
    segments = parts[1] if parts else []
    head = segments[0] if segments else "other"
    if head in ("query", "queryAll"):
        return "query_more" if len(segments) > 1 else head
    if head == "composite" and len(segments) > 1:
        return f"composite/{segments[1]}"
    if head == "jobs":
        return "/".join(segments[:2])
    if head == "sobjects":
        return "describe" if len(segments) == 1 or segments[-1] == "describe" else "sobjects"
    return head


def _bad_token() -> Reply:
    return Reply(status=403, body="Bad_OAuth_Token", media_type="text/plain")


def _check_type(request: Request) -> None:
    """Raise the Refusal of a body in a format that the resource does not read."""
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = "text/csv" if request.path.rstrip("/").endswith("/batches") else "application/json"
    if sent and request.body is not None and request.method in ("POST", "PATCH", "PUT") and sent != wanted:
        raise Refusal("UNSUPPORTED_MEDIA_TYPE", f"Unsupported media type {sent}. The resource reads {wanted}", status=415)


def _check_length(request: Request) -> None:
    uri = len(request.path) + sum(len(key) + len(value) + 2 for key, value in request.query.items())
    if uri > _MAX_REQUEST_BYTES:
        raise Refusal("URI_TOO_LONG", "The URI exceeds the maximum allowed length", status=414)
    if uri + sum(len(key) + len(value) + 4 for key, value in request.headers.items()) > _MAX_REQUEST_BYTES:
        raise Refusal(
            "REQUEST_HEADER_FIELDS_TOO_LARGE", "URI and headers exceed the maximum allowed length", status=431
        )
