"""Replies that a call may get instead of being carried out: each is one that the real service is known to give.

`FailNext` of `{"as": "unavailable_html", "times": 2, "kind": "query"}` answers the next two first pages of queries with 503 and a
page of HTML. `kind` is the name under which the call is counted; `composite:query` is a query inside a composite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from connector.lookalike.crm.wire import Reply

FOR_EVER = -1
_HTML = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_NO_ENTRY = "This session is not valid for use with the REST API"


def _page(status: int, text: str) -> tuple[int, Any]:
    return status, _HTML.format(text)


def _error(status: int, code: str, message: str) -> tuple[int, Any]:
    return status, [{"message": message, "errorCode": code}]


NAMED: dict[str, tuple[int, Any]] = {
    "query_timeout": _error(400, "QUERY_TIMEOUT", "Your query request was running for too long."),
    "invalid_grant": (400, {"error": "invalid_grant", "error_description": "expired access/refresh token"}),
    "session_expired": _error(401, "INVALID_SESSION_ID", "Session expired or invalid"),
    "session_not_for_rest": _error(401, "INVALID_SESSION_ID", _NO_ENTRY),
    "app_not_attached": _error(401, "INVALID_SESSION_ID", "Connected app is not attached to Agent"),
    "session_html": _page(401, "Unauthorized"),
    "limit_total": _error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    "limit_concurrent": _error(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."),
    "api_disabled": _error(403, "API_DISABLED_FOR_ORG", "API is not enabled for this Organization or Partner"),
    "not_acceptable": _page(406, "Not Acceptable"),
    "version_gone": _error(410, "UNSUPPORTED_API_VERSION", "The requested API version is retired. Use a supported version."),
    "setting_up": _page(420, "We are setting things up"),
    "too_many": _error(429, "REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."),
    "server_error": _error(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred."),
    "bad_gateway": _page(502, "Bad Gateway"),
    "unavailable": _error(503, "SERVER_UNAVAILABLE", "The server is temporarily unavailable."),
    "unavailable_html": _page(503, "We are down for maintenance"),
    "gateway_timeout": _page(504, "Gateway Timeout"),
}  # fmt: skip
"""Name -> (status, body). A text is sent as HTML, anything else as JSON."""

_BY_STATUS = {
    400: "query_timeout", 401: "session_expired", 403: "limit_total", 406: "not_acceptable", 410: "version_gone", 420: "setting_up",
    429: "too_many", 500: "server_error", 502: "bad_gateway", 503: "unavailable", 504: "gateway_timeout",
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class FailNext:
    """The next *times* calls of *kind* (any if empty) get *reply* without being carried out; *after* calls go through first.

    times - FOR_EVER until the knobs are reset.
    """

    status: int
    body: Any
    times: int = 1
    kind: str = ""
    after: int = 0
    headers: tuple[tuple[str, str], ...] = ()

    def takes(self, kind: str) -> bool:
        """Say whether a call of *kind* must fail by this one, and count it."""
        if self.times == 0 or self.kind not in ("", kind):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times != FOR_EVER:
            self.times -= 1
        return True

    def reply(self) -> Reply:
        """Return the reply that the call gets."""
        headers = dict(self.headers)
        if isinstance(self.body, str):
            return Reply(status=self.status, body=self.body, media_type="text/html", headers=headers)
        return Reply(status=self.status, body=self.body, headers=headers)


def fail_next(spec: dict[str, Any]) -> FailNext:
    """Return the failure that *spec* asks for: `as` a name of NAMED, or `status` with `html`, `code`, `message` or `body`.

    Raises: ValueError with what is wrong.
    """
    unknown = sorted(
        set(spec) - {"as", "status", "times", "kind", "after", "html", "code", "message", "body", "headers"}
    )
    if unknown:
        raise ValueError(f"`fail` has no {', '.join(unknown)}")
    name = spec.get("as") or _BY_STATUS.get(spec.get("status", 0), "server_error")
    if name not in NAMED:
        raise ValueError(f"`as` is one of {', '.join(NAMED)}")
    status, body = NAMED[name]
    status = spec.get("status", status)
    if not isinstance(status, int) or not 300 <= status <= 599:
        raise ValueError("`status` is a number from 300 to 599")
    if "body" in spec:
        body = spec["body"]
    elif spec.get("html"):
        body = body if isinstance(body, str) else _HTML.format("We are down for maintenance")
    elif {"code", "message"} & set(spec):
        known = body[0] if isinstance(body, list) else {"message": f"status {status}", "errorCode": "UNKNOWN_EXCEPTION"}
        body = [{"message": spec.get("message", known["message"]), "errorCode": spec.get("code", known["errorCode"])}]
    return FailNext(
        status=status, body=body, times=_times(spec.get("times", 1)), kind=str(spec.get("kind", "")), after=_count(spec, "after"),
        headers=tuple((str(key), str(value)) for key, value in spec.get("headers", {}).items()),
    )  # fmt: skip


def _times(value: Any) -> int:
    if value == "for_ever":
        return FOR_EVER
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError('`times` is a whole number, or "for_ever"')
    return value


def _count(spec: dict[str, Any], name: str) -> int:
    value = spec.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"`{name}` is a whole number")
    return value
