"""The server thread: a free port, a taken port, a clean end; and the pages in a real browser."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_samples import TOKEN, an_invoice, some_services

from connector.errors import HaltError
from connector.web.factory import create_app
from connector.web.server import WebServer
from connector.web.views import Access

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


@pytest.fixture
def server() -> Iterator[WebServer]:
    """The pages on a free port, without a password."""
    pages = {TOKEN: an_invoice(), "f" * 22: an_invoice("fr")}
    running = WebServer(create_app(some_services(access=Access(), invoice_by_token=pages.get)), "127.0.0.1", 0)
    running.start()
    yield running
    running.stop()


def get(server: WebServer, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_server_serves_and_stops(server: WebServer) -> None:
    """It answers on the port it names, says nothing of what it is made of, and leaves neither thread nor port behind."""
    answer = get(server, f"/i/{TOKEN}")
    assert answer.status == 200
    assert answer.getheader("server") is None
    server.stop()
    server.stop()
    assert all(thread.name != "web" for thread in threading.enumerate())
    with pytest.raises(ConnectionRefusedError):
        get(server, "/healthz")


def test_forwarded_headers_make_nobody_local(server: WebServer) -> None:
    """A proxy's word about its client opens no console."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=5)
    connection.request("GET", "/console", headers={"X-Forwarded-For": "127.0.0.1"})
    assert connection.getresponse().status == 403
    connection.close()


def test_taken_port_is_told() -> None:
    """A port that another program holds stops the start, with the fix."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = WebServer(create_app(some_services()), "127.0.0.1", other.getsockname()[1])
        with pytest.raises(HaltError, match="cannot listen on 127") as caught:
            server.start()
    assert "web.listen" in caught.value.hint
    server.stop()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs the system's Chromium")
@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"/i/{TOKEN}", ("INV-0007", "€1,948.50", "How to pay")),
        ("/i/" + "f" * 22, ("Facture", "Reste à payer")),
        ("/console", ("Parked and waiting deals", "Acme 2026")),
        ("/i/nothing", ("There is nothing here",)),
    ],
)
def test_browser_applies_the_stylesheet(server: WebServer, tmp_path: Path, path: str, words: tuple[str, ...]) -> None:
    """A real browser shows the page and lets the policy load its stylesheet: the picture is not the bare page's."""
    assert CHROMIUM is not None
    flags = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000", "--enable-logging=stderr",
    ]  # fmt: skip
    shot = tmp_path / "page.png"
    done = subprocess.run(
        [*flags, "--window-size=900,900", f"--screenshot={shot}", server.url + path],
        timeout=60,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shot.read_bytes().startswith(b"\x89PNG"), done.stderr
    assert "Content Security Policy" not in done.stderr
    dumped = subprocess.run(
        [*flags, "--dump-dom", server.url + path], timeout=60, capture_output=True, text=True, check=False
    )
    for word in words:
        assert word in dumped.stdout, word
