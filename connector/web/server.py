"""Runs the web application in a thread of its own, beside the daemon's jobs."""

from __future__ import annotations

import socket
import threading
import time

import uvicorn
from starlette.types import ASGIApp

from connector.errors import HaltError, InvariantError

START_S = 10
STOP_S = 5
BACKLOG = 128
CONNECTIONS = 200


class WebServer:
    """Serves *app* on host and port (0: any free one) until stopped.

    Whoever sits in front may speak for no other client: forwarded headers change nothing here.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="critical",  # a page that fails logs its own event
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=STOP_S,
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Return the address to open, with the port that was really taken."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """Start to listen and return once requests are answered.

        Raises: HaltError where the address cannot be taken.
        """
        listener = self._listener()
        self._port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="web", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise InvariantError(f"the web server did not start within {START_S} s")
            time.sleep(0.01)

    def _listener(self) -> socket.socket:
        try:
            family = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0][0]
            return socket.create_server((self._host, self._port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise HaltError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror or error}",
                hint="Stop the other program that listens there, or change web.listen in config.yaml.",
                code="address-taken",
            ) from error

    def stop(self) -> None:
        """Finish the requests under way, for 5 seconds at most, and stop."""
        if self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(timeout=STOP_S + 5)
        self._thread = None
