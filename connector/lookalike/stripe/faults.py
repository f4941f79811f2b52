"""What goes wrong on purpose, and a log of what was asked.

A fault waits for requests that fit (method, path) and hits the next *times* of them, after letting *after* pass:
`Fault(kind="error_after", method="POST", path="/v1/invoices", times=1)` answers one invoice that was made with a 500.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from connector.lookalike.stripe.account import Data, Refused

KINDS: dict[str, str] = {
    "rate_limit": "429 before anything is done, nothing is stored under the key",
    "lock_timeout": "429 with code lock_timeout, nothing is done or stored",
    "error_before": "500 before anything is done; stored under the key",
    "error_after": "500 after the work was done; stored under the key",
    "cut_before": "the connection breaks before anything is done",
    "cut_after": "the connection breaks after the work was done; its answer is stored under the key",
    "delay": "the request waits delay_s seconds before the work, its key in use",
    "late": "the answer comes delay_s seconds after the work",
    "refuse": "an answer of your own: status, type, code, message, decline_code; stored under the key, nothing is done",
}
_MOST_LOGGED = 20_000
_LONGEST_DELAY_S = 120


@dataclass(slots=True, kw_only=True)
class Fault:
    """A fault; *path* is a regular expression that must be found in the path. seen, hits - fitting requests so far, and those hit."""

    kind: str
    method: str = "*"
    path: str = ""
    after: int = 0
    times: int = 1
    delay_s: float = 0.0
    status: int = 400
    type: str = "invalid_request_error"
    code: str = ""
    message: str = "Refused by a fault."
    decline_code: str = ""
    seen: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise Refused(f"kind: {self.kind!r} is no fault; there are {', '.join(KINDS)}", param="kind")
        if not 0 <= self.delay_s <= _LONGEST_DELAY_S:
            raise Refused(f"delay_s: 0 to {_LONGEST_DELAY_S} seconds", param="delay_s")
        try:
            re.compile(self.path)
        except re.error as error:
            raise Refused(f"path: no regular expression: {error}", param="path") from error

    def hit(self, method: str, path: str) -> bool:
        """Count a request, and say whether this fault strikes it."""
        if self.method not in ("*", method) or not re.search(self.path, path):
            return False
        self.seen += 1
        if self.seen <= self.after or self.hits >= self.times:
            return False
        self.hits += 1
        return True

    def refusal(self) -> Refused:
        """Return the answer of a fault that answers by itself."""
        if self.kind == "rate_limit":
            return Refused(
                "Too many requests in a period of time. Please try again later.",
                status=429, kind="invalid_request_error", code="rate_limit",
            )  # fmt: skip
        if self.kind == "lock_timeout":
            return Refused(
                "This object cannot be accessed right now because another API request or Stripe process is currently accessing it. "
                "If you see this error intermittently, retry the request.",
                status=429, code="lock_timeout",
            )  # fmt: skip
        if self.kind == "refuse":
            more = {"decline_code": self.decline_code} if self.decline_code else {}
            return Refused(self.message, status=self.status, kind=self.type, code=self.code, **more)
        return Refused("An unknown error occurred", status=500, kind="api_error")


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request as the log keeps it; *params* nested as sent, *key* its idempotency key, *fault* what struck it."""

    at: int
    method: str
    path: str
    params: Data
    key: str = ""
    version: str = ""
    status: int = 0
    code: str = ""
    message: str = ""
    request_id: str = ""
    is_replayed: bool = False
    fault: str = ""


@dataclass(slots=True)
class Faults:
    """The faults that wait, and the log."""

    waiting: list[Fault] = field(default_factory=list)
    log: deque[Entry] = field(default_factory=lambda: deque(maxlen=_MOST_LOGGED))

    def add(self, kind: str, **knobs: Any) -> Fault:
        """Let a fault wait. Raises: Refused for a knob or kind that does not exist."""
        try:
            fault = Fault(kind=kind, **knobs)
        except TypeError as error:
            named = ", ".join(one.name for one in fields(Fault) if one.name not in ("seen", "hits"))
            raise Refused(f"{error}; a fault has {named}") from error
        self.waiting.append(fault)
        return fault

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self.waiting.clear()

    def striking(self, method: str, path: str) -> Fault | None:
        """Return the first fault that strikes a request, None where all goes well."""
        return next((fault for fault in self.waiting if fault.hit(method, path)), None)

    def asked(self, method: str = "*", path: str = "") -> list[Entry]:
        """Return the log's entries that fit, in order."""
        return [one for one in self.log if method in ("*", one.method) and re.search(path, one.path)]


_KNOBS: dict[str, type] = {
    **dict.fromkeys(("method", "path", "type", "code", "message", "decline_code"), str),
    **dict.fromkeys(("after", "times", "status"), int),
}


def fault_from(body: Mapping[str, Any], faults: Faults) -> Fault:
    """Let a fault wait as a control request describes it. Raises: Refused."""
    knobs = dict(body)
    kind = knobs.pop("kind", None)
    if not isinstance(kind, str):
        raise Refused(f"kind: one of {', '.join(KINDS)}", param="kind")
    for name, value in knobs.items():
        fits = _KNOBS.get(name, object)
        if isinstance(value, bool) or not isinstance(value, fits):
            raise Refused(f"{name}: {'a text' if fits is str else 'a number'} is required", param=name)
    return faults.add(kind, **knobs)
