"""The portal link where Stripe bills: our link for ever, a fresh session of Stripe's portal at each visit, a plain page where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from stripe_world import StripeWorld, stripe_world

from connector import app, service
from connector.billing.stripe_backend.portal import features
from connector.config.portal import PORTAL
from connector.portal import VISITS


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[StripeWorld]:
    """A world with one customer whose contract is at Stripe."""
    with stripe_world(tmp_path) as made:
        made.account("vega", Billing_Language__c="fr")
        made.deal("seats", {"Quantity": 4}, account="vega", Contract_Term_Months__c=12, StageName="Closed Won")
        made.sync()
        yield made


@contextmanager
def served(made: StripeWorld) -> Iterator[str]:
    """Serve the pages; give the address of the customer's portal link on this machine."""
    path = str(made.record("vega", "Account")["Portal_URL__c"]).rpartition("/portal/")[2]
    with app.writing_house(made.config, "test", clock=made.clock) as house, service.pages(house) as url:
        yield f"{url}/portal/{path}"


def visit(address: str) -> requests.Response:
    """Follow the link as far as our own answer."""
    return requests.get(address, timeout=20, allow_redirects=False, headers={"Accept-Language": "fr"})


def test_each_visit_opens_a_fresh_session_in_one_configuration(demo: StripeWorld) -> None:
    """Two visits are two sessions of the same customer, in the customer's language, by a configuration that was made once."""
    with served(demo) as address:
        first, second = visit(address), visit(address)
    assert (first.status_code, second.status_code) == (303, 303)
    assert first.headers["Location"] != second.headers["Location"]
    assert first.headers["Cache-Control"] == "no-store"
    sessions, configurations = demo.objects("billing_portal.session"), demo.objects("billing_portal.configuration")
    (customer,) = demo.objects("customer")
    assert {(s["customer"], s["locale"]) for s in sessions} == {(customer["id"], "fr")}
    assert [s["url"] for s in sessions] == [first.headers["Location"], second.headers["Location"]]
    assert len(configurations) == 1
    assert configurations[0]["features"]["subscription_cancel"]["enabled"] is False
    assert configurations[0]["features"]["invoice_history"]["enabled"] is True


def test_the_configuration_is_found_again_by_a_ledger_that_forgot_it(demo: StripeWorld) -> None:
    """Its metadata names it, so that no second one is made; another `portal.allow` is another configuration."""
    with served(demo) as address:
        assert visit(address).status_code == 303
    with app.writing_house(demo.config, "test", clock=demo.clock) as house, house.database.transaction() as unit:
        unit.execute("DELETE FROM stripe_object WHERE kind = 'portal'")
    with served(demo) as address:
        assert visit(address).status_code == 303
    assert len(demo.objects("billing_portal.configuration")) == 1
    demo.config = replace(demo.config, portal=replace(demo.config.portal, allow=("download",)))
    with served(demo) as address:
        assert visit(address).status_code == 303
    assert len(demo.objects("billing_portal.configuration")) == 2


def test_when_stripe_is_down_the_customer_reads_so(demo: StripeWorld) -> None:
    """A failure of Stripe's is a plain page in the customer's language, 503, and the next visit is let in."""
    with served(demo) as address:
        demo.stripe_server.faults.add("error_before", method="POST", path="/v1/billing_portal", times=1)
        closed = visit(address)
        assert closed.status_code == 503
        assert "Le service de paiement ne répond pas." in closed.text
        assert "Stripe" not in closed.text
        assert visit(address).status_code == 303


def test_a_link_opens_so_many_sessions_a_minute(demo: StripeWorld) -> None:
    """Somebody who reloads without end is told to wait, and nothing is asked of Stripe; a minute later the link opens again."""
    with served(demo) as address:
        assert [visit(address).status_code for _ in range(VISITS)] == [303] * VISITS
        late = visit(address)
        assert (late.status_code, late.headers["Retry-After"]) == (429, "60")
        assert len(demo.objects("billing_portal.session")) == VISITS
        demo.clock.move_to(demo.clock.now() + timedelta(minutes=1, seconds=5))
        assert visit(address).status_code == 303


def test_a_link_of_nobody_and_one_of_a_customer_who_is_not_there_yet(demo: StripeWorld) -> None:
    """A wrong token is the page of every dead link; a customer whom Stripe does not know yet is told that it opens later."""
    with app.writing_house(demo.config, "test", clock=demo.clock) as house, house.database.transaction() as unit:
        unit.execute("DELETE FROM stripe_object WHERE kind = 'customer'")
    with served(demo) as address:
        assert visit(f"{address[:-4]}0000").status_code == 404
        early = visit(address)
        assert early.status_code == 404
        assert "Il s’ouvre avec votre premier contrat" in early.text
    assert demo.objects("billing_portal.session") == []


def test_forms_of_our_own_page_do_nothing_there(demo: StripeWorld) -> None:
    """Whatever is posted to the link by hand is refused: the contract is not changed past Stripe."""
    contract = demo.contracts()[0]
    with served(demo) as address:
        answer = requests.post(f"{address}/cancel", data={"contract": contract[0], "agreed": "yes"}, timeout=20, allow_redirects=False)
    assert answer.status_code == 400
    assert demo.query("SELECT COUNT(*) FROM intent") == [(0,)]


def test_what_changes_a_contract_is_never_opened_there() -> None:
    """Whatever `portal.allow` says, Stripe's portal neither cancels nor changes a subscription."""
    everything = features(PORTAL)
    assert [everything[n]["enabled"] for n in ("subscription_cancel", "subscription_update")] == [False, False]
    assert [f["enabled"] for f in features(()).values()] == [False] * 5
    assert everything["customer_update"]["allowed_updates"] == ["email", "name", "address", "tax_id"]
