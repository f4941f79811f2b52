"""What a broken network means at the door to Stripe: whether the request can have arrived decides; over real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from connector.billing.stripe_backend.client import StripeCalls
from connector.billing.stripe_backend.refusals import Unanswered
from connector.errors import RetryableError

Talk = Callable[[socket.socket], None]
OK = b'{"id": "in_1", "object": "invoice"}'


def whole_request(peer: socket.socket) -> bytes:
    """Read a request to its end."""
    peer.settimeout(5)
    got = b""
    while b"\r\n\r\n" not in got:
        got += peer.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
    while len(body) < length:
        body += peer.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(peer: socket.socket) -> None:
    whole_request(peer)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(OK) + OK)


def cut(peer: socket.socket) -> None:
    whole_request(peer)


def half(peer: socket.socket) -> None:
    whole_request(peer)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(OK) + OK[:7])


def reset(peer: socket.socket) -> None:
    whole_request(peer)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


@contextlib.contextmanager
def listening(*talks: Talk) -> Iterator[str]:
    """Serve one connection after the other as told, on a loopback port."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(10)

    def serve() -> None:
        for talk in talks:
            with contextlib.suppress(OSError):
                peer, _ = server.accept()
                with peer:
                    talk(peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()
        thread.join(timeout=10)


def calls_to(url: str, timeout_s: float = 5) -> StripeCalls:
    return StripeCalls("rk_test_1234567890", api_base=url, timeout_s=timeout_s)


def pay(calls: StripeCalls) -> None:
    calls.do("invoices.pay", {}, target="in_1", key="k")


def test_a_refused_connection_was_not_sent() -> None:
    """Where nobody listens nothing was sent: try again later, under the same key."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(RetryableError) as caught:
        pay(calls_to(f"http://127.0.0.1:{port}"))
    assert not isinstance(caught.value, Unanswered)
    assert str(caught.value) == "Stripe cannot be reached: no connection."


@pytest.mark.parametrize("talk", [cut, half, reset])
def test_a_connection_lost_after_sending_is_unanswered(talk: Talk) -> None:
    """Cut off before, or in the middle of, the answer: nobody knows whether it was carried out."""
    with listening(talk) as url, pytest.raises(Unanswered) as caught:
        pay(calls_to(url))
    assert (caught.value.status, caught.value.is_stored) == (0, False)
    assert str(caught.value) == "Stripe did not answer invoices.pay: the connection was lost."


def test_no_answer_in_time_is_unanswered() -> None:
    """After the time-out the call is given up, and nobody knows whether it was carried out."""
    released = threading.Event()

    def silent(peer: socket.socket) -> None:
        whole_request(peer)
        released.wait(10)

    with listening(silent) as url:
        with pytest.raises(Unanswered, match="no answer in time"):
            pay(calls_to(url, timeout_s=0.3))
        released.set()


def test_a_read_that_was_cut_off_is_simply_repeated() -> None:
    """Of a read nothing can have happened."""
    with listening(cut) as url, pytest.raises(RetryableError) as caught:
        calls_to(url).do("invoices.retrieve", {}, target="in_1")
    assert not isinstance(caught.value, Unanswered)


def test_a_stranger_without_tls_gets_no_key() -> None:
    """Where https was meant and something else answers, the request never left, and the key with it."""
    heard: list[bytes] = []

    def stranger(peer: socket.socket) -> None:
        peer.settimeout(5)
        heard.append(peer.recv(65536))
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(stranger) as url, pytest.raises(RetryableError):
        pay(calls_to(url.replace("http:", "https:")))
    assert heard
    assert b"rk_test" not in b"".join(heard)


def test_a_proxy_of_the_environment_has_no_business_with_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-alike on this machine is spoken to directly, whatever proxy the environment names."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with listening(answer) as url:
        assert calls_to(url).do("invoices.pay", {}, target="in_1", key="k")["id"] == "in_1"


def test_nothing_is_repeated_by_the_sdk() -> None:
    """One call is one request: the second connection is never asked for."""
    asked: list[bytes] = []

    def failing(peer: socket.socket) -> None:
        asked.append(whole_request(peer))
        peer.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 44\r\nConnection: close\r\n\r\n" + b'{"error":{"type":"api_error","message":"x"}}')

    with listening(failing) as url:
        with pytest.raises(Unanswered) as caught:
            pay(calls_to(url))
        assert caught.value.is_stored
    assert len(asked) == 1


def test_nothing_is_written_into_the_home_folder(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    """The SDK's telemetry is off: no file in the home folder, and no word about this machine in the request."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    heard: list[bytes] = []

    def noting(peer: socket.socket) -> None:
        heard.append(whole_request(peer))
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(OK) + OK)

    with listening(noting) as url:
        pay(calls_to(url))
    assert not list(tmp_path.iterdir())
    assert b"telemetry" not in heard[0].lower()
    assert b"platform" not in heard[0].lower()
