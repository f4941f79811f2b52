"""The demo CRM on a port: Starlette on uvicorn. The event loop only carries bytes; every request is one synchronous call."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from connector.lookalike.crm.front import Front
from connector.lookalike.crm.gate import Logins
from connector.lookalike.crm.org import Org
from connector.lookalike.crm.pages import routes as page_routes
from connector.lookalike.crm.refusal import Refusal
from connector.lookalike.crm.wire import Reply, Request, decoded, encoded

_METHODS = ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"]
_START_TIMEOUT_S = 10
_STOP_TIMEOUT_S = 10
_DRAIN_TIMEOUT_S = 2
_BACKLOG = 256


def application(front: Front) -> ASGIApp:
    """Return the ASGI application over *front*: its API and its pages."""

    async def api(http: HttpRequest) -> Response:
        if front.org.faults.latency_ms:
            await asyncio.sleep(front.org.faults.latency_ms / 1000)
        raw = await http.body()
        try:
            reply = front.answer(_request(http, raw))
        except Refusal as refusal:
            reply = Reply(status=refusal.status, body=refusal.body())
        if reply.is_dropped:
            http.scope["demo.cut"]()
        return _response(reply)

    app = Starlette(
        routes=[Route("/demo", api, methods=_METHODS), *page_routes(front), Route("/{path:path}", api, methods=_METHODS)],
        exception_handlers={500: _broken, 405: _broken},
    )
    return _Cuttable(app)


class _Cuttable:
    """Lets an endpoint cut the connection without an answer, as a network does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            transport: Any = getattr(getattr(send, "__self__", None), "transport", None)
            scope["demo.cut"] = transport.abort if transport is not None else lambda: None
        await self._app(scope, receive, send)


def _request(http: HttpRequest, raw: bytes) -> Request:
    path = http.scope["path"]
    is_json = "json" in http.headers.get("content-type", "json")
    is_text = path.startswith("/services/") and not (path.startswith("/services/data/") and is_json)
    body: Any = (raw.decode(errors="replace") or None) if is_text else decoded(raw)
    return Request(
        method=http.method,
        path=http.scope["raw_path"].decode("ascii", "replace").partition("?")[0],
        query=dict(parse_qsl(http.scope["query_string"].decode("ascii", "replace"), keep_blank_values=True)),
        headers={key.decode("latin-1"): value.decode("latin-1") for key, value in http.scope["headers"]},
        body=body,
    )


def _response(reply: Reply) -> Response:
    if reply.body is None:
        return Response(status_code=reply.status, headers=reply.headers)
    content = (
        reply.body
        if isinstance(reply.body, str) and not reply.media_type.startswith("application/json")
        else encoded(reply.body)
    )
    return Response(content, status_code=reply.status, headers=reply.headers, media_type=reply.media_type)


def _broken(_http: HttpRequest, _error: Exception) -> Response:
    body = [{"message": "An unexpected error occurred.", "errorCode": "UNKNOWN_EXCEPTION"}]
    return Response(encoded(body), status_code=500, media_type="application/json;charset=UTF-8")


def _config(front: Front, host: str, port: int) -> uvicorn.Config:
    # the Date header is the org's clock, so uvicorn must not add its own
    return uvicorn.Config(
        application(front), host=host, port=port, http="httptools", loop="auto", ws="none", lifespan="off", log_config=None,
        access_log=False, proxy_headers=False, server_header=False, date_header=False, timeout_keep_alive=75,
        timeout_graceful_shutdown=_DRAIN_TIMEOUT_S,
    )  # fmt: skip


class CrmServer:
    """The demo CRM in a thread: `start()` returns when it listens, `url` says where, `stop()` ends it and closes no org.

    front - of a server that runs already: the org answers on both ports, and logins lead to this one from now on.
    """

    def __init__(
        self,
        org: Org,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        logins: Logins | None = None,
        front: Front | None = None,
    ) -> None:
        self.org = org
        self.front = front or Front(org, logins)
        self._host, self._port = host, port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def start(self) -> Self:
        """Listen; return self. Raises: OSError if the port is taken, TimeoutError if the server does not come up."""
        listener, self.url = _listening(self.front, self._host, self._port)
        server = uvicorn.Server(_config(self.front, self._host, self._port))
        self._server = server
        self._thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="demo-crm", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise TimeoutError(f"the demo CRM did not start on {self.url}")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Stop listening and wait for the thread."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(
    org: Org,
    host: str = "127.0.0.1",
    port: int = 8090,
    *,
    logins: Logins | None = None,
    on_ready: Callable[[str], None] = lambda _url: None,
) -> None:
    """Run the demo CRM in the foreground until SIGINT or SIGTERM, then return; *on_ready* gets its URL.

    Raises: OSError if the port is taken. Call it from the main thread.
    """
    front = Front(org, logins)
    listener, url = _listening(front, host, port)
    on_ready(url)
    # uvicorn stops on a signal and then raises it again for whoever was listening before: that is nobody
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        uvicorn.Server(_config(front, host, port)).run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listening(front: Front, host: str, port: int) -> tuple[socket.socket, str]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    url = f"http://{host}:{listener.getsockname()[1]}"
    front.gate.base_url = url
    return listener, url
