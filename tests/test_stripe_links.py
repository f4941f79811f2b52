"""Links to what Stripe has issued: the CRM's lead to its page there, kept alive while something is to be paid, to ours afterwards."""

from __future__ import annotations

from pathlib import Path

from stripe_world import StripeWorld, stripe_world
from world import at

from connector import app, shown
from connector.billing.stripe_backend.reading import links
from connector.lookalike.stripe.account import catch_up
from connector.lookalike.stripe.controls import CONTROLS
from connector.sync import ledger
from connector.web.views import Hosted


def refreshed(here: StripeWorld) -> int:
    """Fetch links anew as a round does."""
    with app.writing_house(here.config, "test", clock=here.clock) as house:
        return links.refreshed(house.database, house.billing.calls, here.clock.now(), ledger.tell_crm)  # type: ignore[attr-defined]


def behind(here: StripeWorld, token: str) -> object:
    with app.writing_house(here.config, "test", clock=here.clock) as house:
        return shown.page(house, token)


def test_a_link_leads_to_stripe_while_it_holds_and_to_the_books_afterwards(tmp_path: Path) -> None:
    """Record, row and our own link lead to Stripe's page; near its end an open invoice's is fetched anew, a paid one's makes way for ours."""
    with stripe_world(tmp_path) as here:
        here.deal("one", {"UnitPrice": "1200.00"}, Billing_Frequency__c="Annual")
        here.win("one")
        here.sync()
        ((invoice_id, token, url, until),) = here.query(
            "SELECT i.id, i.token, s.url, s.url_until FROM invoice i JOIN stripe_invoice s ON s.invoice_id = i.id"
        )
        assert url.startswith(here.stripe_server.url)
        assert here.record("one")["Last_Invoice_URL__c"] == url
        assert [row["URL__c"] for row in here.invoices()] == [url]
        assert behind(here, token) == Hosted(url=url)
        assert until.startswith("2026-03-02")  # 30 days behind 31 January
        assert refreshed(here) == 0

        here.clock.move_to(at("2026-02-28"))
        assert refreshed(here) == 1
        ((later, again),) = here.query("SELECT url_until, url FROM stripe_invoice")
        assert later.startswith("2026-03-10")
        assert again
        here.sync()
        assert here.record("one")["Last_Invoice_URL__c"] == again

        here.clock.move_to(at("2026-03-09"))
        with here.stripe.lock:
            catch_up(here.stripe)
            CONTROLS["pay"](here.stripe, {"invoice": here.query("SELECT stripe_id FROM stripe_invoice")[0][0]})
        here.sync()
        assert here.invoices()[0]["Status__c"] == "Paid"
        here.clock.move_to(at("2026-04-20"))
        refreshed(here)
        here.sync()
        ours = f"{here.config.web.public_url}/i/{token}"
        assert here.record("one")["Last_Invoice_URL__c"] == ours
        assert [row["URL__c"] for row in here.invoices()] == [ours]
        page = behind(here, token)
        assert not isinstance(page, Hosted)
        assert page is not None
        assert refreshed(here) == 0
        assert invoice_id


def test_an_invoice_that_is_gone_keeps_no_round_from_going_on(tmp_path: Path) -> None:
    """The test data of the account were deleted: of an invoice that Stripe no longer has the link is dropped, and rounds go on."""
    with stripe_world(tmp_path) as here:
        here.deal("one", {"UnitPrice": "1200.00"}, Billing_Frequency__c="Annual", StageName="Closed Won")
        here.sync()
        with here.stripe.lock:
            here.stripe.kind("invoice").clear()
        here.clock.move_to(at("2026-02-28"))
        here.sync()
        assert here.query("SELECT url, url_until FROM stripe_invoice") == [("", None)]
        assert here.sync().problems == []
