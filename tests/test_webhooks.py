"""Webhooks out, against a real HTTP server on loopback that takes, refuses, hangs and recovers as it is told."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import postgres
import pytest
from books_world import Books, at, open_books, terms
from log_lines import logged

from connector.billing.internal import InternalBilling
from connector.config import load_config
from connector.errors import ConfigError
from connector.kit.db import Database
from connector.webhooks import queue, sending
from connector.webhooks.courier import Courier, Round
from connector.webhooks.endpoint import NOUNS, Endpoint
from connector.webhooks.sending import Send

SECRET = "0123456789abcdef0123456789abcdef"


class Receiver(ThreadingHTTPServer):
    """Keeps what it is sent; answers with the next of *answers* (a status, or seconds to hang as a float), then with 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int | float] = []

    @property
    def url(self) -> str:
        """Where it listens; the path is what a log must not show."""
        return f"http://127.0.0.1:{self.server_address[1]}/hidden-path"

    def types(self) -> list[str]:
        """Return the names of the events that came, in order."""
        return [json.loads(body)["type"] for _, body in self.got]

    def ids(self) -> list[str]:
        """Return the ids of the events that came, in order."""
        return [json.loads(body)["id"] for _, body in self.got]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answers.pop(0) if self.server.answers else 200
        self.server.got.append((dict(self.headers), body))
        if isinstance(answer, float):
            time.sleep(answer)
            answer = 200
        self.send_response(answer)
        if answer == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Give a receiver that listens."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give a receiver for one test."""
    with receiving() as server:
        yield server


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Give books on disk."""
    made = open_books(tmp_path)
    yield made
    made.database.close()


class Hour:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 2, 9, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the instant."""
        return self.at

    def wait(self, **more: float) -> None:
        """Move on."""
        self.at += timedelta(**more)


def passed(books: Books, endpoint: Endpoint, hour: Hour, send: Send = sending.send) -> Round:
    """Deliver once what is due."""
    return Round(store=books.database, endpoint=endpoint, now=hour.now, stop=threading.Event(), send=send).deliver()


def ready(books: Books, url: str, *events: str) -> tuple[Endpoint, Hour]:
    """Return an endpoint that is known already, so that it hears of what happens from now on."""
    endpoint, hour = Endpoint(url=url, secret=SECRET, events=events or ("*",)), Hour()
    assert passed(books, endpoint, hour).taken == 0
    return endpoint, hour


def states(books: Books) -> list[tuple[Any, ...]]:
    """Return (state, tries, error) of all deliveries in order."""
    return books.rows("SELECT state, attempts, error FROM webhook_delivery ORDER BY event_seq")


def test_what_happens_is_told_signed_and_in_order(books: Books, receiver: Receiver) -> None:
    """A new contract's three events arrive once each, in order; the receiver can check the signature and knows a repeat by the id."""
    books.create("D0", "2026-01-01", terms())
    endpoint, hour = ready(books, receiver.url)
    contract_id = books.create("D1", "2026-01-02", terms(), account="001B")
    done = passed(books, endpoint, hour)
    assert (done.taken, done.failed) == (3, 0)
    assert receiver.types() == ["customer.made", "invoice.finalized", "contract.made"]
    headers, body = receiver.got[1]
    stamp, _, signed = headers["Connector-Signature"].partition(",v1=")
    assert stamp == f"t={int(hour.at.timestamp())}"
    assert signed == hmac.new(SECRET.encode(), stamp[2:].encode() + b"." + body, hashlib.sha256).hexdigest()
    told = json.loads(body)
    assert headers["Connector-Event-Id"] == told["id"] == books.rows("SELECT id FROM event WHERE seq = ?", told["seq"])[0][0]
    assert (told["data"]["contract"], told["data"]["number"], told["data"]["currency"]) == (contract_id, "INV-0002", "eur")
    assert (told["data"]["after"]["status"], told["data"]["after"]["total"]) == ("open", 3000)
    assert passed(books, endpoint, hour).taken == 0
    assert len(receiver.got) == 3


def test_only_the_chosen_events_are_told(books: Books, receiver: Receiver) -> None:
    """An address that wants invoice.* and contract.made hears nothing of customers."""
    endpoint, hour = ready(books, receiver.url, "invoice.*", "contract.made")
    books.create("D1", "2026-01-02", terms())
    passed(books, endpoint, hour)
    assert receiver.types() == ["invoice.finalized", "contract.made"]


def test_a_failure_holds_back_what_comes_after_and_is_tried_again(books: Books, receiver: Receiver) -> None:
    """500, then a redirect, then success: waits of 10 and 20 s, nothing overtakes, every try has the same body and id."""
    endpoint, hour = ready(books, receiver.url)
    books.create("D1", "2026-01-02", terms())
    receiver.answers += [200, 500, 302]
    first = passed(books, endpoint, hour)
    assert (first.taken, first.failed) == (1, 1)
    assert states(books) == [("delivered", 0, ""), ("pending", 1, "answered 500"), ("pending", 0, "")]
    hour.wait(seconds=9)
    assert passed(books, endpoint, hour).failed == 0
    hour.wait(seconds=1)
    assert passed(books, endpoint, hour).failed == 1
    assert states(books)[1] == ("pending", 2, "answered 302")
    hour.wait(seconds=19)
    assert passed(books, endpoint, hour).taken == 0
    hour.wait(seconds=1)
    assert passed(books, endpoint, hour).taken == 2
    ids = receiver.ids()
    assert ids == [ids[0], ids[1], ids[1], ids[1], ids[4]]
    assert len({body for _, body in receiver.got}) == 3


def test_an_answer_that_does_not_come_is_a_failure(books: Books, receiver: Receiver) -> None:
    """A receiver that hangs beyond the time limit is tried again, and so is an address where nobody listens."""
    endpoint, hour = ready(books, receiver.url)
    books.create("D1", "2026-01-02", terms())
    receiver.answers.append(1.0)
    assert passed(books, endpoint, hour, partial(sending.send, read_s=0.3)).failed == 1
    assert states(books)[0] == ("pending", 1, "no answer within 0.3 s")
    hour.wait(seconds=10)
    assert passed(books, endpoint, hour).taken == 3
    with receiving() as gone:
        url = gone.url
    other, hour = ready(books, url)
    books.create("D2", "2026-01-03", terms(), account="001B")
    assert passed(books, other, hour).failed == 1
    rows = books.rows("SELECT error FROM webhook_delivery WHERE endpoint_id = ? ORDER BY event_seq", other.id)
    assert rows[0] == ("cannot be reached",)


def test_what_is_given_up_is_kept_and_can_be_tried_again(books: Books, receiver: Receiver) -> None:
    """After 15 tries within about a day an event is given up and the next one goes out; a person's retry sends it at last."""
    endpoint, hour = ready(books, receiver.url, "invoice.finalized", "contract.made")
    books.create("D1", "2026-01-02", terms())
    receiver.answers += [410] * queue.TRIES
    begun = hour.at
    tries = 0
    while states(books)[:1] != [("dead", queue.TRIES, "answered 410")]:
        tries += passed(books, endpoint, hour).failed
        hour.wait(hours=6)
    assert tries == queue.TRIES
    assert receiver.types() == ["invoice.finalized"] * queue.TRIES + ["contract.made"]
    assert hour.at - begun < timedelta(days=4)
    with books.reading() as unit:
        ((endpoint_id, event, tried, error),) = queue.dead(unit, 10)
        (line,) = queue.lines(unit)
    assert (endpoint_id, event.name, tried, error) == (endpoint.id, "invoice.finalized", 15, "answered 410")
    assert (line.pending, line.dead, line.delivered) == (0, 1, 1)
    with books.database.transaction() as unit:
        assert queue.retry(unit, hour.now(), endpoint_id=None, event_id=event.id) == 1
    assert passed(books, endpoint, hour).taken == 1
    assert receiver.types()[-1] == "invoice.finalized"


def test_the_waits_add_up_to_about_a_day(books: Books, receiver: Receiver) -> None:
    """An address that is down for good: 15 tries, each wait twice the one before, at most 6 h; given up after 23 h 22 min."""
    endpoint, hour = ready(books, receiver.url, "invoice.finalized")
    books.create("D1", "2026-01-02", terms())
    receiver.answers += [500] * queue.TRIES
    begun = last = hour.at
    passed(books, endpoint, hour)
    hour.at = datetime.fromisoformat(books.rows("SELECT next_try_at FROM webhook_delivery")[0][0])
    while states(books)[0][0] == "pending":
        passed(books, endpoint, hour)
        last, hour.at = hour.at, datetime.fromisoformat(books.rows("SELECT next_try_at FROM webhook_delivery")[0][0])
    assert last - begun == timedelta(seconds=10 * (2**12 - 1) + 2 * 21_600)


def test_a_crash_between_sending_and_noting_sends_again(books: Books, receiver: Receiver) -> None:
    """What was sent and never noted goes out once more with the same id: at least once, and never lost."""
    endpoint, hour = ready(books, receiver.url, "invoice.finalized")
    books.create("D1", "2026-01-02", terms())

    class PowerCutError(BaseException):
        """Ends the process in the test's place."""

    def sent_then_dead(to: Endpoint, event: Any, now: datetime) -> str:
        assert sending.send(to, event, now) == ""
        raise PowerCutError

    with pytest.raises(PowerCutError):
        Round(store=books.database, endpoint=endpoint, now=hour.now, stop=threading.Event(), send=sent_then_dead).deliver()
    assert passed(books, endpoint, hour).taken == 1
    assert receiver.ids() == [receiver.ids()[0]] * 2


def test_the_courier_tells_each_address_by_itself(books: Books) -> None:
    """Beside the daemon: one address that hangs does not keep another from hearing at once; no log shows a path or a secret."""
    with receiving() as quick, receiving() as slow:
        endpoints = [Endpoint(url=quick.url, secret=SECRET), Endpoint(url=slow.url, secret=SECRET)]
        slow.answers += [500, 2.0]
        courier = Courier(books.database, lambda: endpoints, lambda: datetime.now(UTC))
        for endpoint in endpoints:
            with books.database.transaction() as unit:
                queue.take_news(unit, endpoint, datetime.now(UTC))
        with logged() as events:
            courier.start()
            books.create("D1", "2026-01-02", terms())
            until = time.monotonic() + 20
            while len(quick.got) < 3 and time.monotonic() < until:
                time.sleep(0.05)
            courier.stop()
        assert quick.types() == ["customer.made", "invoice.finalized", "contract.made"]
        assert len(slow.got) <= 2
        shown = repr(events) + repr(endpoints)
        assert "webhook.failed" in shown
        assert SECRET not in shown
        assert "hidden-path" not in shown


def test_events_of_writers_at_once_are_all_told_on_postgresql(receiver: Receiver) -> None:
    """On PostgreSQL the cursor never passes an event that another transaction has written and not committed yet."""
    books = Books(database=Database(postgres.new_database()), billing=InternalBilling(org="00Dorg", timezone="UTC"))
    with closing(books.database):
        endpoint, hour = ready(books, receiver.url, "contract.made")
        other = Books(database=Database(books.database.engine.url.render_as_string(hide_password=False).replace("+psycopg", "")),
                      billing=books.billing)  # fmt: skip
        with closing(other.database), other.database.transaction() as unit:
            other.billing.apply([other.command("create", "D1", terms=terms())], unit, at("2026-01-02"), hold=True)
            books.apply("2026-01-02", books.command("create", "D2", terms=terms(), account="001B"), hold=True)  # later, and committed first
            looking = threading.Thread(target=passed, args=(books, endpoint, hour))
            looking.start()
            looking.join(timeout=1)
            assert looking.is_alive()
        looking.join(timeout=20)
        passed(books, endpoint, hour)
        assert len(set(receiver.ids())) == 2


def test_every_event_of_the_books_is_about_a_known_noun(books: Books) -> None:
    """What the configuration accepts as the first half of an event's name is what events are about."""
    books.create("D1", "2026-01-02", terms())
    books.bill("2026-03-01")
    names = {name for (name,) in books.rows("SELECT DISTINCT name FROM event")}
    assert {name.partition(".")[0] for name in names} <= set(NOUNS)


BASE = """
crm: {url: "http://127.0.0.1:1", client_id: x, client_secret: "${SECRET}"}
tax: {kind: none}
sources: [{name: a, mapping: a.yaml}]
webhooks:
"""


def configured(folder: Path, lines: str) -> tuple[Endpoint, ...]:
    """Return the endpoints of a configuration with these lines."""
    (folder / "config.yaml").write_text(BASE + lines)
    return load_config(folder / "config.yaml", {"SECRET": SECRET}).webhooks


def test_the_configuration_of_webhooks(tmp_path: Path) -> None:
    """Https anywhere and http on this machine are taken; events default to all; the secret comes from the environment."""
    good = '  - {url: "https://example.com/x", secret: "${SECRET}", events: [invoice.*]}\n  - {url: "http://localhost:9/y", secret: "${SECRET}"}\n'
    first, second = configured(tmp_path, good)
    assert (first.url, first.secret, first.events, second.events) == ("https://example.com/x", SECRET, ("invoice.*",), ("*",))
    assert (first.wants("invoice.finalized"), first.wants("payment.recorded"), second.wants("payment.recorded")) == (True, False, True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{url: "http://example.com/x", secret: "${SECRET}"}', "is not https"),
        ('{url: "ftp://example.com/x", secret: "${SECRET}"}', "is no address"),
        ('{url: "https://ann:pw@example.com/x", secret: "${SECRET}"}', "holds a user name"),
        ('{url: "https://example.com/x"}', "has a `url` and a `secret`"),
        ('{url: "https://example.com/x", secret: plain-text-secret-here}', "is a secret"),
        ('{url: "https://example.com/x", secret: "${SHORT:-short}"}', "shorter than 16"),
        ('{url: "https://example.com/x", secret: "${SECRET}", events: [invoces.paid]}', "no events about 'invoces'"),
        ('{url: "https://example.com/x", secret: "${SECRET}", events: [Invoice]}', "is no name of events"),
        ('{url: "https://example.com/x", secret: "${SECRET}", retries: 3}', "no key `retries`"),
    ],
)
def test_a_wrong_webhook_is_refused_with_what_to_do(tmp_path: Path, line: str, message: str) -> None:
    """Each mistake names its place in the file; nothing of the secret is repeated."""
    with pytest.raises(ConfigError) as refused:
        configured(tmp_path, f"  - {line}\n")
    texts = [p.text() for p in refused.value.problems]
    assert any(message in text for text in texts)
    assert all(p.where.line == 6 for p in refused.value.problems)
    assert SECRET not in "".join(texts)
