"""The customer portal from the link in the CRM: what a customer sees, what it may ask for, and what the rep reads of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from world import World, world

from connector import app, service
from connector.billing.portal import MOST_CHARACTERS, merged
from connector.config.collecting import PaymentsConfig
from connector.config.portal import PortalConfig
from connector.portal import MOST_WAITING
from connector.ports import Address, CustomerDetails

ALL = PortalConfig(allow=("pay", "download", "details", "payment_method", "quantity", "cancel"))


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[World]:
    """A world whose portal allows everything, with one deal of a year over 4 seats at 100.00 a month, billed."""
    with world(tmp_path, portal=ALL) as made:
        made.account("vega", Billing_Language__c="en")
        made.deal("seats", {"Quantity": 4}, account="vega", Contract_Term_Months__c=12, StageName="Closed Won")
        made.sync()
        yield made


@contextmanager
def served(made: World) -> Iterator[str]:
    """Serve the pages; give the address of the customer's portal on this machine."""
    path = str(made.record("vega", "Account")["Portal_URL__c"]).rpartition("/portal/")[2]
    with app.writing_house(made.config, "test", clock=made.clock) as house, service.pages(house) as url:
        yield f"{url}/portal/{path}"


def seen(address: str) -> str:
    """Return the text of a page, without tags, spaces made plain."""
    answer = requests.get(address, timeout=20)
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]*>", " ", answer.text).replace("\xa0", " ").split())


def send(address: str, what: str, **values: str) -> requests.Response:
    """Send a form of the portal; redirects are not followed."""
    return requests.post(f"{address}/{what}", data=values, timeout=20, allow_redirects=False)


def contract_of(made: World) -> str:
    """Return the id of the customer's contract."""
    return str(made.record("seats")["Billing_Contract_Id__c"])


def test_the_link_on_the_account_shows_invoices_and_contracts(demo: World) -> None:
    """The account's link opens a page with what is open, the invoice and its PDF, and the contract with its items."""
    with served(demo) as address:
        text, html = seen(address), requests.get(address, timeout=20).text
        pdf = requests.get(re.sub("/portal/.*", re.search(r'href="(/i/[^"]*\.pdf)"', html)[1], address), timeout=20)  # type: ignore[index]
        wrong = requests.get(address[:-1] + ("0" if address[-1] != "0" else "1"), timeout=20)
    assert "To be paid €400.00" in text
    assert "INV-0001 1 Jan 2026" in text
    assert "Seats Active since 1 Jan 2026" in text
    assert pdf.content.startswith(b"%PDF-")
    assert wrong.status_code == 404


def test_a_customer_adds_seats_after_seeing_the_price(demo: World) -> None:
    """Six instead of four from the 16th: the page says what is due now, nothing happens before the customer agrees, then it is invoiced."""
    demo.clock.move_to(demo.clock.now().replace(day=16))
    form = {"contract": contract_of(demo), "item": "1", "quantity": "6"}
    with served(demo) as address:
        asked = send(address, "quantity", **form)
        assert asked.status_code == 200
        assert "An invoice of €103.23 is issued now." in asked.text  # 2 x 100.00 x 16/31
    demo.sync()
    assert len(demo.invoices()) == 1
    with served(demo) as address:
        kept = send(address, "quantity", **form, agreed="yes")
        assert (kept.status_code, kept.headers["location"].endswith("#requests")) == (303, True)
        assert "Change of a contract · Received, will be carried out shortly" in seen(address)
    demo.sync()
    assert [str(i["Total__c"]) for i in demo.invoices()] == ["400.00", "103.23"]
    with served(demo) as address:
        assert "Change of a contract · Done" in seen(address)
        same = send(address, "quantity", **form)
    assert same.status_code == 400
    assert "the quantity you have already" in same.text


def test_a_customer_cancels_at_the_end_of_its_period(demo: World) -> None:
    """The contract ends with the paid month; the rep reads it on the record, and no invoice follows."""
    with served(demo) as address:
        asked = send(address, "cancel", contract=contract_of(demo))
        assert "No further invoice follows." in asked.text
        assert send(address, "cancel", contract=contract_of(demo), agreed="yes").status_code == 303
    demo.sync()
    demo.clock.move_to(demo.clock.now().replace(month=3))
    demo.sync()
    demo.bill()
    assert len(demo.invoices()) == 1
    assert demo.said("seats")[0] == "Canceled"


def test_details_hold_until_the_crm_says_something_new(demo: World) -> None:
    """What the customer writes counts for its next invoice, survives a sync of the deal, and gives way to a rep's correction."""
    with served(demo) as address:
        page = requests.get(address, timeout=20).text
        fields = dict(re.findall(r'<input id="f_\w+" name="(\w+)" value="([^"]*)"', page))
        assert send(address, "details", **(fields | {"email": "ap@vega.example", "city": "Nice <b>", "language": "fr"})).status_code == 303
    demo.sync()
    demo.edit("seats", PO_Number__c="PO-77")
    demo.sync()
    assert demo.query("SELECT email, city, language FROM customer WHERE name = 'Vega'") == [("ap@vega.example", "Nice <b>", "fr")]
    with served(demo) as address:
        html = requests.get(address, timeout=20).text
    assert "Nice &lt;b&gt;" in html
    assert "Votre compte" in html
    demo.edit("vega", "Account", Billing_Email__c="new@vega.example")
    demo.sync()
    assert demo.query("SELECT email, city FROM customer WHERE name = 'Vega'") == [("new@vega.example", "Nice <b>")]


def test_a_customer_stores_a_method_and_pays(tmp_path: Path) -> None:
    """Without a method there is no button; with a card the open invoice is charged once, and the rep reads that it is paid."""
    with world(tmp_path, portal=ALL, payments=PaymentsConfig(methods=("manual", "test"))) as made:
        made.account("vega")
        made.deal("seats", {"Quantity": 4}, account="vega", Contract_Term_Months__c=12, StageName="Closed Won")
        made.sync()
        with served(made) as address:
            assert "Pay now" not in requests.get(address, timeout=20).text
            assert send(address, "pay", invoice="INV-0001").status_code == 400
            assert send(address, "payment_method", method="test:gold").status_code == 400
            assert send(address, "payment_method", method="test:ok").status_code == 303
        made.sync()
        with served(made) as address:
            page = requests.get(address, timeout=20).text
            assert "Pay now" in page
            chosen = re.findall(r"<option[^>]*selected[^>]*>([^<]*)", page.partition('id="method" name="method" required')[2].partition("</select>")[0])
            assert chosen == ["Choose"]  # who saves without a choice does not remove the method
            assert [send(address, "pay", invoice="INV-0001").status_code for _ in range(2)] == [303, 303]
            assert send(address, "pay", invoice="INV-0009").status_code == 400
        made.sync()
        made.bill()
        with served(made) as address:
            text = seen(address)
        assert made.query("SELECT amount, method FROM payment") == [(40_000, "test")]
        assert made.record("seats")["Last_Invoice_Status__c"] == "Paid"
    assert "Everything is paid." in text
    assert "Payment · Done" in text
    assert "is being charged already" in text


def test_nobody_reaches_into_another_customers_contract(demo: World) -> None:
    """A contract of somebody else, an unknown one, a wrong number or quantity are refused, and nothing is kept."""
    demo.account("mira")
    demo.deal("other", {"Quantity": 1}, account="mira", StageName="Closed Won")
    demo.sync()
    other = str(demo.record("other")["Billing_Contract_Id__c"])
    with served(demo) as address:
        answers = [
            send(address, "cancel", contract=other, agreed="yes"),
            send(address, "cancel", contract="ct_nothing", agreed="yes"),
            send(address, "quantity", contract=contract_of(demo), item="9", quantity="3", agreed="yes"),
            send(address, "quantity", contract=contract_of(demo), item="1", quantity="-3", agreed="yes"),
            send(address, "quantity", contract=contract_of(demo), item="1", quantity="NaN", agreed="yes"),
            send(address, "details", name="", email="x"),
            send(address, "details", name="N" * (MOST_CHARACTERS * 3), email="a@b.example"),
            send(address, "payday", contract=other),
        ]
    assert [a.status_code for a in answers] == [400, 400, 400, 400, 400, 400, 400, 404]
    assert not any("connector " in a.text for a in answers[:2])
    assert demo.query("SELECT COUNT(*) FROM intent") == [(0,)]


def test_what_the_configuration_does_not_allow_is_not_there(tmp_path: Path) -> None:
    """With an empty list the page shows no form, and a form that is sent anyway is refused."""
    with world(tmp_path, portal=PortalConfig(allow=())) as made:
        made.account("vega")
        made.deal("seats", {}, account="vega", StageName="Closed Won")
        made.sync()
        with served(made) as address:
            html = requests.get(address, timeout=20).text
            answer = send(address, "cancel", contract=contract_of(made), agreed="yes")
    assert "<form" not in html
    assert ".pdf" not in html
    assert answer.status_code == 400


def test_requests_of_one_customer_are_bounded(demo: World) -> None:
    """The twenty-first request that waits is refused with a word."""
    with served(demo) as address:
        codes = [send(address, "details", name=f"Vega {n}", email="a@vega.example").status_code for n in range(MOST_WAITING + 1)]
    assert codes == [303] * MOST_WAITING + [400]


def test_a_field_said_again_keeps_what_the_crm_said_first() -> None:
    """Merging is per field: only where the CRM still says what it said then."""
    details = CustomerDetails(account="001A", name="Vega", email="old@vega.example", address=Address(city="Lyon"))
    answers = {"email": ("old@vega.example", "mine@vega.example"), "city": ("Paris", "Nice")}
    assert merged(details, answers).email == "mine@vega.example"
    assert merged(details, answers).address.city == "Lyon"
    assert merged(details, None) is details
