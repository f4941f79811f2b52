"""The look-alike on a port: Starlette on uvicorn in a thread. Every request is one synchronous call in a thread of its own.

`with StripeServer(Account(clock=clock.now)) as server: StripeClient("sk_test_demo", base_addresses={"api": server.url})`.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from connector.lookalike.stripe.account import Account, Refused
from connector.lookalike.stripe.control import ROOT, Control
from connector.lookalike.stripe.faults import Faults
from connector.lookalike.stripe.front import Front
from connector.lookalike.stripe.pages import Pages
from connector.lookalike.stripe.webhooks import KIND as WEBHOOKS
from connector.lookalike.stripe.webhooks import deliveries
from connector.lookalike.stripe.wire import Reply, Request, encoded, json_of, pairs_of

_METHODS = ["GET", "HEAD", "POST", "DELETE", "PATCH", "PUT"]
_START_TIMEOUT_S = 10
_STOP_TIMEOUT_S = 10
_DRAIN_TIMEOUT_S = 2
_BACKLOG = 256


def application(front: Front) -> ASGIApp:
    """Return the ASGI application over *front*: the API, the control endpoints, the pages."""
    doors: tuple[tuple[str, Callable[[Request], Reply]], ...] = (
        ("/v1/", front.answer),
        (ROOT, Control(front).answer),
        ("/", Pages(front.account).answer),
    )

    async def answer(http: HttpRequest) -> Response:
        raw = await http.body()
        request = _request(http, raw)
        if isinstance(request, Reply):
            return _response(request)
        door = next(door for start, door in doors if request.path.startswith(start))
        reply = await run_in_threadpool(door, request)
        if reply.is_cut:
            http.scope["demo.cut"]()
        return _response(reply)

    app = Starlette(
        routes=[Route("/{path:path}", answer, methods=_METHODS)], exception_handlers={500: _broken, 405: _broken}
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


def _request(http: HttpRequest, raw: bytes) -> Request | Reply:
    """Return the request as a value; a body that cannot be read is answered at once."""
    path = http.scope["raw_path"].decode("ascii", "replace").partition("?")[0]
    is_json = path.startswith(ROOT)
    try:
        query = pairs_of(http.scope["query_string"].decode("ascii", "replace"))
        return Request(
            method=http.method,
            path=path,
            headers={key.decode("latin-1"): value.decode("latin-1") for key, value in http.scope["headers"]},
            pairs=query if is_json else (*query, *pairs_of(raw.decode("utf-8", "replace"))),
            body=json_of(raw) if is_json else None,
        )
    except Refused as refused:
        return Reply(status=400, body={"error": {"message": refused.message, "type": "invalid_request_error"}})


def _response(reply: Reply) -> Response:
    if reply.body is None:
        return Response(status_code=reply.status, headers=reply.headers)
    if isinstance(reply.body, bytes | str):
        return Response(reply.body, status_code=reply.status, headers=reply.headers, media_type=reply.media)
    return Response(encoded(reply.body), status_code=reply.status, headers=reply.headers, media_type=reply.media)


def _broken(_http: HttpRequest, _error: Exception) -> Response:
    body = {"error": {"message": "An unknown error occurred", "type": "api_error"}}
    return Response(encoded(body), status_code=500, media_type="application/json")


class StripeServer:
    """The look-alike in a thread: `start()` returns when it listens, `url` says where, `stop()` ends it; the account stays."""

    def __init__(self, account: Account, host: str = "127.0.0.1", port: int = 0) -> None:
        self.account = account
        self.front = Front(account)
        self.url = ""
        self._host, self._port = host, port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def faults(self) -> Faults:
        """What goes wrong on purpose, and the log of requests."""
        return self.front.faults

    def start(self) -> Self:
        """Listen; return self. Raises: OSError if the port is taken, TimeoutError if the server does not come up."""
        listener, self.url = _listening(self._host, self._port)
        self.account.machine["page"] = self.url
        if self.account.kind(WEBHOOKS):
            deliveries(self.account).begin()
        config = uvicorn.Config(
            application(self.front), host=self._host, port=self._port, http="httptools", loop="auto", ws="none", lifespan="off",
            log_config=None, access_log=False, proxy_headers=False, server_header=False, timeout_keep_alive=75,
            timeout_graceful_shutdown=_DRAIN_TIMEOUT_S,
        )  # fmt: skip
        server = uvicorn.Server(config)
        self._server = server
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="demo-stripe", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise TimeoutError(f"the Stripe look-alike did not start on {self.url}")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """Stop listening and wait for the thread; deliveries of webhooks end, too."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_STOP_TIMEOUT_S)
        deliveries(self.account).end()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def serve(account: Account, host: str = "127.0.0.1", port: int = 8082, *, on_ready: Callable[[str], None] = lambda _: None) -> None:
    """Run the look-alike in the foreground until SIGINT or SIGTERM, then return; *on_ready* gets its URL.

    Raises: OSError if the port is taken. Call it from the main thread.
    """
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with StripeServer(account, host, port) as server:
            on_ready(server.url)
            stopped.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listening(host: str, port: int) -> tuple[socket.socket, str]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener, f"http://{host}:{listener.getsockname()[1]}"
