"""What every reply carries and every request must respect, whatever page it is for.

Headers follow the OWASP secure headers project. There is no robots.txt: a crawler must be able to read X-Robots-Tag, else it
may list an address that it was only told not to open. Written as a plain function over ASGI, which awaits for us.
"""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 64 * 1024
MAX_EVENT_BYTES = 1024 * 1024  # an event of Stripe holds a whole object
YEAR_S = 31_536_000

_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("X-Robots-Tag", "noindex, nofollow, noarchive"),
    ("Referrer-Policy", "no-referrer"),  # the address holds the token
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)


class Shield:
    """Adds the headers above to each reply and refuses bodies that no form of ours can have."""

    def __init__(self, app: ASGIApp, *, is_https: bool) -> None:
        self._app = app
        self._is_https = is_https

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass one request on, or refuse it."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)

        def send_shielded(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(
                    headers_for(scope["path"], message["status"], is_https=self._is_https)
                )
            return send(message)

        refusal = _refusal(scope)
        if refusal is not None:
            return refusal(scope, receive, send_shielded)
        return self._app(scope, receive, send_shielded)


def headers_for(path: str, status: int, *, is_https: bool) -> dict[str, str]:
    """Return the headers of a reply; the stylesheet may be cached, nothing else."""
    is_asset = path.startswith("/static/") and status in {200, 304}
    headers = dict(_HEADERS)
    headers["Cache-Control"] = "public, max-age=86400" if is_asset else "no-store"
    if is_https:
        headers["Strict-Transport-Security"] = f"max-age={YEAR_S}"
    return headers


def _refusal(scope: Scope) -> PlainTextResponse | None:
    headers = Headers(scope=scope)
    if "transfer-encoding" in headers:  # of unknown length; browsers send forms with one
        return PlainTextResponse("Length required", status_code=411)
    length = headers.get("content-length", "0")
    limit = MAX_EVENT_BYTES if scope["path"].startswith("/webhooks/") else MAX_BODY_BYTES
    if not length.isascii() or not length.isdigit() or int(length[:20]) > limit:
        return PlainTextResponse("Content too large", status_code=413)
    return None
