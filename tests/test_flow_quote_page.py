"""The quote behind its link: what a customer reads, its PDF, its answer, and the contract that follows an acceptance."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pypdf
import pytest
import requests
from world import World, world

from connector import app, service
from connector.core.terms import ContractTerms, Coupon, Interval, Item, Phase, Price, Settings, terms_to_data
from connector.sync import intents

MONTH = Interval(unit="month")


def offered() -> ContractTerms:
    """Half a year of 2 seats at 10.00 and half a year of 5, less 10 %, with a setup fee of 500.00 at once."""
    seat = Price(id="seat", product="seat", description="Seat", unit_amount=Decimal(1000), interval=MONTH)
    setup = Item(id="setup", price=Price(id="setup", product="setup", description="Set-up", unit_amount=Decimal(50_000)))
    days = [datetime(2026, 1, 1), datetime(2026, 7, 1), datetime(2027, 1, 1)]
    return ContractTerms(
        currency="eur", timezone="UTC", settings=Settings(proration="day", tax_rounding="line"), start=days[0], end_behavior="cancel",
        collection_method="send_invoice", days_until_due=30, discounts=(Coupon(id="ten", percent_off=Decimal(10)),),
        phases=(
            Phase(start=days[0], end=days[1], items=(Item(id="seat", price=seat, quantity=Decimal(2)),), add_invoice_items=(setup,)),
            Phase(start=days[1], end=days[2], items=(Item(id="seat", price=seat, quantity=Decimal(5)),)),
        ),
    )  # fmt: skip


def asked(demo: World, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the books for something, have it carried out, and return what it led to."""
    with app.writing_house(demo.config, "test", clock=demo.clock) as house, house.database.transaction() as unit:
        intent_id = intents.submit(unit, kind, data, actor="test", now=demo.clock.now())
    demo.sync()
    with app.writing_house(demo.config, "test", clock=demo.clock) as house, house.database.read() as unit:
        found = intents.found(unit, intent_id)
    assert found is not None
    assert found.state == "done", found.result
    return dict(found.result)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    """A world with an empty ledger that is set up."""
    with world(tmp_path) as made:
        for row in made.org.rows("Quote"):
            made.delete(row["Id"], "Quote")
        made.sync()
        yield made


def sent(demo: World, language: str = "en") -> dict[str, Any]:
    """Make a quote and send it; return what the books say of it."""
    who = {"account": "acme", "name": "Acme & Söhne", "email": "ap@acme.example", "address": {"city": "Lyon", "country": "FR"}, "language": language}
    data = {"label": "Acme", "customer": who, "kind": "new", "how": {"days_until_due": 30}, "terms": terms_to_data(offered())}
    made = asked(demo, "quote.create", data)
    return asked(demo, "quote.send", {"quote": made["quote"]})


@contextmanager
def served(demo: World, quote: Mapping[str, Any]) -> Iterator[str]:
    """Serve the pages; give the quote's address."""
    with app.writing_house(demo.config, "test", clock=demo.clock) as house, service.pages(house) as url:
        yield f"{url}/q/{quote['token']}"


def text_of(html: str) -> str:
    """Return the text of a page, spaces made plain."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).replace("\xa0", " ").replace("&#39;", "'").split())


def send(address: str, what: str, **values: str) -> requests.Response:
    """Send an answer; redirects are not followed."""
    return requests.post(f"{address}/{what}", data=values, timeout=20, allow_redirects=False)


def test_the_page_shows_what_is_due_now_and_later(demo: World) -> None:
    """First invoice, both stages with their sums, the value of the term; the PDF says the same; a wrong link shows nothing."""
    quote = sent(demo)
    with served(demo, quote) as address:
        html = requests.get(address, timeout=20).text
        pdf = requests.get(f"{address}.pdf", timeout=20)
        wrong = requests.get(address[:-1] + ("0" if address[-1] != "0" else "1"), timeout=20)
    text = text_of(html)
    for words in (
        "Quote Q-00001", "Open", "Valid until 31 Jan 2026", "First invoice, 1 Jan 2026 Seat 1 – 31 Jan 2026 2 €10.00", "1 Jan – 30 Jun 2026 Seat", "1 Jul – 31 Dec 2026 Seat", "Due when accepted €468.00",
        "Per month, from 1 Jan 2026 €18.00", "Per month, from 1 Jul 2026 €45.00", "Whole term, before tax €828.00", "Acme &amp; Söhne",
    ):  # fmt: skip
        assert words in text, words
    assert pdf.headers["content-disposition"] == 'inline; filename="Q-00001.pdf"'
    printed = " ".join(" ".join(p.extract_text().split()) for p in pypdf.PdfReader(io.BytesIO(pdf.content)).pages)
    assert "Due when accepted €468.00" in printed
    assert wrong.status_code == 404


def test_an_acceptance_makes_the_contract_and_its_first_invoice(demo: World) -> None:
    """Name, title, time and address are recorded; the page waits, then thanks; accepting again changes nothing."""
    quote = sent(demo)
    signed = {"revision": "1", "name": "  Ann   Bell ", "title": "CFO", "agreed": "yes"}
    with served(demo, quote) as address:
        assert send(address, "accept", revision="1", name="Ann", agreed="").status_code == 400
        assert send(address, "accept", revision="1", name=" ", agreed="yes").status_code == 400
        assert send(address, "accept", **signed).status_code == 303
        waiting = text_of(requests.get(address, timeout=20).text)
        assert send(address, "accept", **signed).status_code == 303
    assert "has been received and is being processed" in waiting
    assert "Accept this quote" not in waiting
    assert demo.query("SELECT COUNT(*) FROM invoice") == [(0,)]
    demo.sync()
    assert demo.query("SELECT total, subtotal FROM invoice") == [(46_800, 52_000)]
    recorded = demo.query("SELECT status, accepted_by, accepted_title, accepted_from, accepted_via, SUBSTR(accepted_at, 1, 16) FROM quote")
    assert recorded == [("accepted", "Ann Bell", "CFO", "127.0.0.1", "page", "2026-01-01T09:00")]
    with served(demo, quote) as address:
        assert "Accepted by Ann Bell on 1 Jan 2026." in text_of(requests.get(address, timeout=20).text)
    demo.sync()
    assert demo.query("SELECT COUNT(*) FROM invoice") == [(1,)]


def test_nobody_accepts_what_changed_meanwhile(demo: World) -> None:
    """An answer to another revision is refused with a word, and the quote stays open."""
    quote = sent(demo)
    with served(demo, quote) as address:
        answer = send(address, "accept", revision="7", name="Ann", agreed="yes")
    assert answer.status_code == 400
    assert "was changed while you were reading it" in answer.text
    assert demo.query("SELECT status FROM quote") == [("open",)]


def test_a_declined_and_an_expired_quote_say_so(demo: World) -> None:
    """The reason is recorded; after its last day a quote cannot be accepted, before any round as after it."""
    declined, late = sent(demo), sent(demo, "fr")
    with served(demo, declined) as address:
        assert send(address, "decline", revision="1", reason="Too dear").status_code == 303
    demo.sync()
    assert demo.query("SELECT status, reason FROM quote WHERE number = 'Q-00001'") == [("canceled", "Too dear")]
    demo.clock.move_to(demo.clock.now().replace(month=3))
    with served(demo, late) as address:
        page = text_of(requests.get(address, timeout=20).text)
        assert send(address, "accept", revision="1", name="Ann", agreed="yes").status_code == 303
    assert "Ce devis a expiré." in page
    assert demo.query("SELECT COUNT(*) FROM intent WHERE kind = 'quote.accept'") == [(0,)]
    with served(demo, declined) as address:
        assert "This quote was declined or withdrawn." in text_of(requests.get(address, timeout=20).text)
