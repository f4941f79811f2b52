"""Idempotency keys: the answer of the first request is given again to every later one with the same key.

Failures are stored, too, also a 500; not stored is what was refused before the endpoint began (parameters, keys, rate limits). Other
parameters under the same key are an error. Keys are forgotten after 24 hours.
Source: docs.stripe.com/api/idempotent_requests, docs.stripe.com/error-low-level.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from connector.lookalike.stripe.account import Refused

_KEPT_S = 24 * 3600
_LONGEST = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a key stands for; *status* 0: its request is not answered yet."""

    at: int
    method: str
    path: str
    pairs: tuple[tuple[str, str], ...]
    status: int = 0
    body: bytes = b""
    request_id: str = ""


class Replays:
    """The keys of an account, each with the answer that was given."""

    def __init__(self) -> None:
        self._stored: dict[str, Stored] = {}
        self._lock = threading.Lock()

    def begin(self, key: str, asked: Stored) -> Stored | None:
        """Take a key for a request; return the answer to replay where it was used before. Raises: Refused (400, 409)."""
        if len(key) > _LONGEST:
            raise Refused(f"Idempotency keys can have up to {_LONGEST} characters.", kind="idempotency_error")
        with self._lock:
            self._forget(asked.at)
            found = self._stored.get(key)
            if found is None:
                self._stored[key] = asked
                return None
        if (found.method, found.path) != (asked.method, asked.path):
            raise Refused(
                f"Keys for idempotent requests can only be used for the same endpoint they were first used for ('{found.path}' vs "
                f"'{asked.path}'). Try using a key other than '{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )
        if sorted(found.pairs) != sorted(asked.pairs):
            raise Refused(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. Try using a key "
                f"other than '{key}' if you meant to execute a different request.",
                kind="idempotency_error",
            )
        if found.status == 0:
            raise Refused(
                "There is currently another in-progress request using this Idempotent Key (that probably means you submitted twice, "
                f"and the other request is still going through): {key}. Try again later.",
                status=409, kind="idempotency_error", code="idempotency_key_in_use",
            )  # fmt: skip
        return found

    def finish(self, key: str, answered: Stored) -> None:
        """Store the answer of the request that took a key."""
        with self._lock:
            self._stored[key] = answered

    def give_back(self, key: str) -> None:
        """Forget a key whose request was refused before it began."""
        with self._lock:
            self._stored.pop(key, None)

    def _forget(self, now: int) -> None:
        """Drop what is too old; keys stand in order of time."""
        while self._stored:
            key, oldest = next(iter(self._stored.items()))
            if now - oldest.at < _KEPT_S or oldest.status == 0:
                return
            del self._stored[key]
