"""The console's invoices over real HTTP: the list with its pages and search, one invoice whole, payments recorded there (D-152)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from world import World, world

from connector import app, cashier, service
from connector.sync import rounds
from connector.sync.seam import Tally


@pytest.fixture
def billed(tmp_path: Path) -> Iterator[World]:
    """A world with one open invoice of 290.00, issued on 1 January and due on 31 January; today is 15 January."""
    with world(tmp_path, day="2026-01-15") as made:
        made.account("acme")
        made.deal("licences", {"Quantity": 1, "UnitPrice": "290.00"}, account="acme", Payment_Terms__c="Net 30")
        made.win("licences")
        made.sync()
        yield made


@contextmanager
def console(made: World) -> Iterator[tuple[app.House, requests.Session, str]]:
    """Serve the pages without a password, as on the machine they run on; give the house, a browser and the address."""
    with app.writing_house(made.config, "test", clock=made.clock) as house, service.pages(house) as url, requests.Session() as browser:
        yield house, browser, f"{url}/console/invoices"


def words(html: str) -> str:
    """Return the text of a page, without tags, spaces made plain."""
    return " ".join(re.sub(r"<[^>]*>", " ", html).replace("\xa0", " ").split())


def hidden(html: str) -> dict[str, str]:
    """Return what the form carries besides what a person types."""
    form = html[html.index('id="record"') :]
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))


def test_an_operator_records_a_payment_on_the_page_of_the_invoice(billed: World) -> None:
    """The form keeps a request, however often it is sent; the next round records it once, and the page and the CRM show it."""
    with console(billed) as (house, browser, url):
        page = browser.get(f"{url}/INV-0001", timeout=20)
        assert page.status_code == 200
        for text in ("Invoice INV-0001", "Acme", "Total €290.00", "Open €290.00", "Team Seat", "Record a payment"):
            assert text in words(page.text), text
        typed = hidden(page.text) | {"amount": "100,00", "on": "2026-01-14", "method": "cheque", "reference": " No.  4711 "}
        for _ in range(2):
            answer = browser.post(f"{url}/INV-0001", data=typed, timeout=20, allow_redirects=False)
            assert (answer.status_code, answer.headers["Location"]) == (303, "/console/invoices/INV-0001#payments")
        waiting = browser.get(f"{url}/INV-0001", timeout=20)
        assert "It is recorded at the next round." in words(waiting.text)
        assert 'id="record"' not in waiting.text
        assert waiting.headers["Refresh"] == "5"
        with house.database.read() as unit:
            assert unit.query("SELECT COUNT(*) FROM payment") == [(0,)], "the web never books"
        rounds.read_all(house.seam, Tally())
        with house.database.read() as unit:
            assert unit.query("SELECT amount, paid_on, method, reference FROM payment") == [(10000, "2026-01-14", "cheque", "No. 4711")]
            assert unit.query("SELECT actor FROM event WHERE name = 'payment.recorded'") == [("console",)]
        after = browser.get(f"{url}/INV-0001", timeout=20)
        for text in ("Paid €100.00", "Open €190.00", "Cheque No. 4711 14 Jan 2026 €100.00", "Record a payment"):
            assert text in words(after.text), text
        assert "Refresh" not in after.headers
    assert str(billed.record("licences")["Amount_Due__c"]) == "190.00"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"amount": "290.01"}, "290.01 EUR is more than the 290.00 EUR that are open. Record what is open;"),
        ({"amount": "1,080"}, "“1,080” is not an amount in EUR. Write it like 290.00."),
        ({"amount": "<b>"}, "is not an amount in EUR."),
        ({"amount": "0"}, "A payment is more than zero."),
        ({"on": "2026-01-16"}, "The day is in the future."),
        ({"on": "tomorrow"}, "Choose the day on which the money arrived."),
        ({"method": "barter"}, "This form was too old."),
        ({"form_token": "guess"}, "This form was too old."),
        ({"entry": "../x"}, "This form was too old."),
    ],
)
def test_what_cannot_be_recorded_is_said_beside_what_was_typed(billed: World, changed: dict[str, str], says: str) -> None:
    """A bad amount, day or form is told at once; what was typed stays in the form, and nothing is kept."""
    with console(billed) as (house, browser, url):
        good = hidden(browser.get(f"{url}/INV-0001", timeout=20).text) | {"amount": "10", "on": "2026-01-14", "method": "cash", "reference": "R7"}
        answer = browser.post(f"{url}/INV-0001", data=good | changed, timeout=20, allow_redirects=False)
        assert answer.status_code == 400
        assert says in words(answer.text)
        assert 'value="R7"' in answer.text
        assert "<b>" not in answer.text
        with house.database.read() as unit:
            assert unit.query("SELECT COUNT(*) FROM intent") == [(0,)]


def test_a_request_that_came_too_late_says_why(billed: World) -> None:
    """Paid otherwise before the round came: the request is refused, and the page of the invoice says so."""
    with console(billed) as (house, browser, url):
        typed = hidden(browser.get(f"{url}/INV-0001", timeout=20).text) | {"amount": "290", "on": "2026-01-14", "method": "cash"}
        browser.post(f"{url}/INV-0001", data=typed, timeout=20)
        with house.database.transaction() as unit:
            house.billing.carry_out("invoice.pay", {"invoice": "INV-0001"}, unit, house.clock.now(), key="it_first", actor="cli")
        rounds.read_all(house.seam, Tally())
        said = words(browser.get(f"{url}/INV-0001", timeout=20).text)
        assert "INV-0001 is paid; only an open invoice takes a payment." in said
        assert "Record a payment" not in said


def test_the_list_has_pages_and_finds_by_number_and_customer(billed: World) -> None:
    """Open invoices newest first, as many as a page holds; a number leads to its invoice, a name to the customer's, else it is said."""
    billed.bill("2026-02-01")
    billed.bill("2026-03-01")
    billed.clock.move_to(billed.clock.now() + timedelta(hours=1))
    with console(billed) as (house, browser, url):
        first = cashier.listed(house, "open", "", "", limit=2)
        assert [(i.number, i.status) for i in first.invoices] == [("INV-0003", "open"), ("INV-0002", "open")]
        second = browser.get(url, params={"status": "open", "before": first.following}, timeout=20).text
        assert re.findall(r">(INV-\d+)<", second) == ["INV-0001"]
        assert ("past due" in second, "Older invoices" in second) == (True, False)
        assert cashier.listed(house, "open", "", first.following, limit=2).following == ""
        found = browser.get(url, params={"search": " INV-0002 "}, timeout=20, allow_redirects=False)
        assert (found.status_code, found.headers["Location"]) == (303, "/console/invoices/INV-0002")
        assert "INV-0003" in browser.get(url, params={"search": "acme", "status": "all"}, timeout=20).text
        assert "There is no invoice and no customer Nobody &amp; Sons." in browser.get(url, params={"search": "Nobody & Sons"}, timeout=20).text
        assert browser.get(f"{url}/INV-9999", timeout=20).status_code == 404


def test_strangers_see_no_invoice(billed: World) -> None:
    """Behind a proxy, and without a password, the pages stay closed; so does the form."""
    with console(billed) as (_, browser, url):
        for answer in (
            browser.get(url, headers={"Via": "proxy"}, timeout=20),
            browser.get(f"{url}/INV-0001", headers={"Via": "proxy"}, timeout=20),
            browser.post(f"{url}/INV-0001", data={"amount": "1"}, headers={"Via": "proxy"}, timeout=20),
        ):
            assert answer.status_code == 403
            assert "290" not in answer.text
