"""Who may open the console: a session cookie behind one password, or, without a password, clients on this machine only.

The cookie is signed by itsdangerous (through Starlette's session), lasts 8 hours and is lost when the password or the secret
changes. Each form carries a random token that the session knows too. Failed attempts are counted for each address.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict, deque
from datetime import datetime, timedelta
from threading import Lock

from fastapi import Request

from connector.web.views import Access

SESSION_COOKIE = "connector_session"
SESSION_S = 8 * 3600
FAILURES_ALLOWED = 10
FAILURES_WITHIN = timedelta(minutes=1)
ADDRESSES_REMEMBERED = 1024
PASSWORD_CHARACTERS = 200

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def session_key(access: Access) -> str:
    """Return the key that signs sessions; it changes with the password, so that a new one ends them all."""
    secret = access.secret or secrets.token_hex(32)
    return hmac.new(secret.encode(), access.password.encode(), hashlib.sha256).hexdigest()


def is_this_machine(request: Request) -> bool:
    """Whether the request comes straight from this machine, for a name of this machine.

    A proxy in front would make strangers look local, and a hostile page may give its own name our address; both show in the
    headers.
    """
    if any(name in request.headers for name in _FORWARDED):
        return False
    return request.client is not None and _is_loopback(request.client.host) and _is_loopback(request.url.hostname or "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_signed_in(request: Request) -> bool:
    """Whether the request carries a session that went through the form."""
    return request.session.get("is_admin") is True


def sign_in(request: Request) -> None:
    """Start a fresh session, so that nothing from before the sign-in stays valid."""
    request.session.clear()
    request.session["is_admin"] = True
    form_token(request)


def form_token(request: Request) -> str:
    """Return the session's token for forms; made where there is none yet."""
    token = request.session.get("form")
    if not isinstance(token, str):
        token = secrets.token_urlsafe(24)
        request.session["form"] = token
    return token


def is_own_form(request: Request, token: str) -> bool:
    """Whether a posted form was made for this very session."""
    known = request.session.get("form")
    return isinstance(known, str) and is_same(known, token)


def is_same(known: str, given: str) -> bool:
    """Compare two secrets in a time that does not depend on where they differ, or on their lengths."""
    return hmac.compare_digest(hashlib.sha256(known.encode()).digest(), hashlib.sha256(given.encode()).digest())


class Throttle:
    """Counts failed sign-ins for each address: 10 a minute, for the 1,024 addresses seen last."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[datetime]] = OrderedDict()
        self._lock = Lock()

    def is_open(self, address: str, now: datetime) -> bool:
        """Whether *address* may try again."""
        with self._lock:
            failures = self._failures.get(address)
            if failures is None:
                return True
            while failures and now - failures[0] >= FAILURES_WITHIN:
                failures.popleft()
            return len(failures) < FAILURES_ALLOWED

    def failed(self, address: str, now: datetime) -> None:
        """Remember one failure."""
        with self._lock:
            failures = self._failures.setdefault(address, deque(maxlen=FAILURES_ALLOWED))
            failures.append(now)
            self._failures.move_to_end(address)
            while len(self._failures) > ADDRESSES_REMEMBERED:
                self._failures.popitem(last=False)
