"""What happens at Stripe reaches the books and the CRM: paid, failed, credited, refunded, disputed, voided, changed by hand, deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stripe_world import StripeWorld, stripe_world
from world import at

from connector import app
from connector.billing.stripe_backend.reading import webhooks
from connector.lookalike.stripe.account import ENDPOINTS, catch_up
from connector.lookalike.stripe.controls import CONTROLS

DAY = "2026-03-20"


def deed(made: StripeWorld, name: str, **body: Any) -> Any:
    """Let somebody do something at Stripe beside the API."""
    with made.stripe.lock:
        catch_up(made.stripe)
        return CONTROLS[name](made.stripe, body)


def started(made: StripeWorld, **fields: Any) -> dict[str, Any]:
    """Win a deal over 2 x 60.00 a month from today on and return Stripe's first invoice of it."""
    made.account("harbor")
    made.deal("harbor_deal", {"UnitPrice": "60.00", "Quantity": 2}, account="harbor", **({"CloseDate": DAY, "Contract_Start_Date__c": DAY} | fields))
    made.win("harbor_deal")
    made.sync()
    return next(i for i in made.objects("invoice") if i["status"] != "draft")


def books(made: StripeWorld, columns: str = "status, amount_paid, credited") -> list[tuple[Any, ...]]:
    """Return columns of every invoice of the books."""
    return made.query(f"SELECT {columns} FROM invoice ORDER BY id")


def log(made: StripeWorld, *but: str) -> list[str]:
    """Return the names of what Stripe caused, in order."""
    return [row[0] for row in made.query("SELECT name FROM event WHERE actor = 'stripe' ORDER BY seq") if row[0] not in but]


def payments(made: StripeWorld) -> list[tuple[Any, ...]]:
    """Return (amount, method, day) of every payment."""
    return made.query("SELECT amount, method, paid_on FROM payment ORDER BY made_at, id")


def replay(made: StripeWorld) -> None:
    """Have every event that was seen read once more."""
    with_books = made.query("SELECT COUNT(*) FROM stripe_event")
    assert with_books[0][0]
    with app.writing_house(made.config, "sync", clock=made.clock) as house, house.database.transaction() as unit:
        unit.execute("DELETE FROM stripe_event")
    made.sync()


def test_a_payment_through_stripe_is_booked_once(tmp_path: Path) -> None:
    """The customer pays on the hosted page: one payment with the charge's id, the invoice is paid, and a replay of all events changes nothing."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        assert "is open" in made.said("harbor_deal")[1]
        deed(made, "pay", invoice=invoice["id"])
        made.sync()
        assert books(made) == [("paid", 12000, 0)]
        assert payments(made) == [(12000, "stripe", DAY)]
        assert "is paid" in made.said("harbor_deal")[1]
        assert made.query("SELECT charge FROM stripe_invoice")[0][0].startswith("ch_")
        before = made.query("SELECT COUNT(*) FROM event")
        replay(made)
        assert made.query("SELECT COUNT(*) FROM event") == before
        assert payments(made) == [(12000, "stripe", DAY)]


def test_an_idle_account_costs_two_calls(tmp_path: Path) -> None:
    """A round without news asks for events, of which Stripe takes at most 20 names at once, and for nothing else."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        made.sync()
        made.stripe_server.faults.log.clear()
        made.sync()
        asked = [(entry.method, entry.path) for entry in made.stripe_server.faults.log if entry.path != "/v1/account"]
        assert asked == [("GET", "/v1/events")] * 2


def test_what_others_do_in_the_account_is_no_reason_to_look_again(tmp_path: Path) -> None:
    """A shop that sells in the same account all day keeps no round going: its events are listed once and cost no other call."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        made.sync()
        made.stripe_server.faults.log.clear()
        for number in range(150):
            made.stripe.emit("invoice.paid", {"id": f"in_shop_{number}", "object": "invoice", "customer": "cus_shop"})
        made.sync()
        asked = [(entry.method, entry.path) for entry in made.stripe_server.faults.log if entry.path != "/v1/account"]
        assert asked == [("GET", "/v1/events")] * 3  # two pages of the one list, one of the other


def test_a_declined_card_is_a_payment_status(tmp_path: Path) -> None:
    """A failed try is told in plain words with the day of the next one; nothing of ours counts as failed."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        deed(made, "pay", invoice=invoice["id"], last4="9995")
        tally = made.sync()
        assert tally.problems == []
        assert made.query("SELECT state, message FROM charge") == [("failed", "The card has not enough funds.")]
        assert "The card has not enough funds." in made.said("harbor_deal")[1]
        assert made.said("harbor_deal")[0] == "Past due"
        deed(made, "pay", invoice=invoice["id"])
        made.sync()
        assert made.said("harbor_deal")[0] == "Active"
        assert log(made, "contract.status_changed") == ["invoice.finalized", "payment.failed", "payment.recorded"]


def test_a_refund_in_the_dashboard_is_money_that_went_back(tmp_path: Path) -> None:
    """A refund without a credit note is a payment below zero; what is counted as paid is less by it."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        deed(made, "pay", invoice=invoice["id"])
        made.sync()
        deed(made, "refund", invoice=invoice["id"], amount=2000)
        made.sync()
        assert payments(made) == [(12000, "stripe", DAY), (-2000, "stripe", DAY)]
        assert books(made) == [("paid", 10000, 0)]
        replay(made)
        assert books(made) == [("paid", 10000, 0)]


def test_a_credit_note_of_stripe_is_one_of_the_books(tmp_path: Path) -> None:
    """A note on an open invoice reduces what is due under Stripe's number; voided, it takes nothing any more."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        line = invoice["lines"]["data"][0]["id"]
        note = call(made, "POST", "/v1/credit_notes", {"invoice": invoice["id"], "lines": [{"type": "invoice_line_item", "invoice_line_item": line, "amount": 3000}], "memo": "Late delivery"})
        made.sync()
        assert made.query("SELECT number, total, reduced, reason FROM credit_note") == [(note["number"], 3000, 3000, "Late delivery")]
        assert made.query("SELECT amount FROM credit_note_line") == [(3000,)]
        assert books(made) == [("open", 0, 3000)]
        (row,) = [r for r in made.invoices() if r["Type__c"] == "Credit note"]
        assert row["Total__c"] == -30
        replay(made)
        assert books(made) == [("open", 0, 3000)]
        call(made, "POST", "/v1/credit_notes/{id}/void", {}, id=note["id"])
        made.sync()
        assert books(made) == [("open", 0, 0)]
        assert log(made)[-1] == "credit_note.voided"


def test_a_credit_note_to_the_balance_moves_it_once(tmp_path: Path) -> None:
    """What a note on a paid invoice puts on the customer's balance is there once, and the next invoice uses it."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        deed(made, "pay", invoice=invoice["id"])
        made.sync()
        call(made, "POST", "/v1/credit_notes", {"invoice": invoice["id"], "amount": 5000, "credit_amount": 5000})
        made.sync()
        assert made.query("SELECT balances FROM customer") == [('{"eur":-5000}',)]
        replay(made)
        assert made.query("SELECT balances FROM customer") == [('{"eur":-5000}',)]
        made.clock.move_to(made.clock.now().replace(month=4, day=20, hour=22))
        made.bill()
        made.sync()
        assert made.query("SELECT amount_due, starting_balance FROM invoice ORDER BY id")[-1] == (7000, -5000)
        assert made.query("SELECT balances FROM customer") == [("{}",)]


def test_a_dispute_is_told_on_the_deal_until_it_is_won(tmp_path: Path) -> None:
    """The rep reads that the customer's bank took the money back, and nothing of it any more once it was won."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        deed(made, "pay", invoice=invoice["id"])
        made.sync()
        dispute = deed(made, "dispute", invoice=invoice["id"])
        made.sync()
        status, message = made.said("harbor_deal")
        assert status == "Needs attention"
        assert message.startswith("A payment of this contract is disputed")
        deed(made, "dispute-closed", dispute=dispute["id"], won=True)
        made.sync()
        assert made.said("harbor_deal")[0] == "Active"
        assert [n for n in log(made) if n.startswith("contract.notice")] == ["contract.noticed", "contract.notice_over"]


def test_given_up_in_the_dashboard(tmp_path: Path) -> None:
    """An invoice that somebody marks as uncollectible reaches the CRM as such."""
    with stripe_world(tmp_path, day=DAY) as made:
        deed(made, "uncollectible", invoice=started(made)["id"])
        made.sync()
        assert "given up" in made.said("harbor_deal")[1]
        assert log(made)[-1:] == ["invoice.given_up"]


def test_voided_in_the_dashboard(tmp_path: Path) -> None:
    """A voided invoice reaches the CRM as such; what was voided can be credited by no change any more."""
    with stripe_world(tmp_path, day=DAY) as made:
        deed(made, "void", invoice=started(made)["id"])
        made.sync()
        assert "was voided" in made.said("harbor_deal")[1]
        assert made.query("SELECT amount FROM credit_note_line") == [(12000,)]
        assert log(made)[-1:] == ["invoice.voided"]


def test_a_subscription_changed_by_hand_is_told(tmp_path: Path) -> None:
    """Another quantity made in the dashboard is told on the deal in plain words, and goes when it was set back."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        (subscription,) = made.objects("subscription")
        item = subscription["items"]["data"][0]["id"]
        for quantity in (5, 2):
            deed(made, "subscription", subscription=subscription["id"], change={"items": [{"id": item, "quantity": quantity}], "proration_behavior": "none"})
            made.sync()
            status, message = made.said("harbor_deal")
            if quantity == 5:
                assert status == "Needs attention"
                assert message.startswith("Somebody changed the running contract where it is billed")
                assert "5 there, 2 here" in message
            else:
                assert status == "Active"


def test_a_change_by_a_deal_is_no_change_by_hand(tmp_path: Path) -> None:
    """A deal makes it 5 in mid-period: Stripe shows 5 from that day on, and nobody reads that somebody changed it there."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        for day, more in (("2026-04-02", 3), ("2026-04-05", -1)):
            made.clock.move_to(at(day))
            ref = f"from_{day}"
            made.deal(ref, {"UnitPrice": "60.00", "Quantity": more}, account="harbor", CloseDate=day, Billing_Action__c="Amend", Amends_Opportunity__c="@harbor_deal")
            made.win(ref)
            made.sync()
            assert (made.said("harbor_deal")[0], made.said(ref)[0]) == ("Active", "Active"), day
        assert [i["quantity"] for i in made.objects("subscription_item")] == [4]
        assert made.query("SELECT COUNT(*) FROM stripe_notice") == [(0,)]


def test_a_subscription_canceled_by_hand_is_told(tmp_path: Path) -> None:
    """Who reads the deal sees that nothing more is billed there."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        (subscription,) = made.objects("subscription")
        deed(made, "subscription", subscription=subscription["id"], cancel={})
        made.sync()
        assert made.said("harbor_deal")[1].startswith("The running contract was ended where it is billed")


def test_a_deleted_customer_is_told(tmp_path: Path) -> None:
    """Deleting the customer at Stripe ends its subscriptions; the deal says why nothing is billed."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        (customer,) = made.objects("customer")
        call(made, "DELETE", "/v1/customers/{id}", {}, id=customer["id"])
        made.sync()
        assert "where it is billed" in made.said("harbor_deal")[1]
        assert made.said("harbor_deal")[0] == "Needs attention"


def test_an_invoice_made_by_hand_for_our_customer_is_mirrored(tmp_path: Path) -> None:
    """It belongs to no contract; the CRM has a row of it, and it is paid there like any other."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        (customer,) = made.objects("customer")
        invoice = deed(made, "invoice", customer=customer["id"], amount=4200, currency="eur", description="Training")
        made.sync()
        assert books(made, "contract_id, total, status")[-1] == ("", 4200, "open")
        assert {r["Total__c"] for r in made.invoices()} == {120, 42}
        deed(made, "pay", invoice=invoice["id"])
        made.sync()
        assert books(made, "status")[-1] == ("paid",)


def test_what_stripe_billed_otherwise_is_said(tmp_path: Path) -> None:
    """A line that somebody added to a draft is in the books with Stripe's amount, and the event log says that it was not expected."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        (subscription,) = made.objects("subscription")
        call(made, "POST", "/v1/invoiceitems", {"customer": subscription["customer"], "subscription": subscription["id"], "amount": 1, "currency": "eur", "description": "Rounding"})
        made.clock.move_to(made.clock.now().replace(month=4, day=20, hour=22))
        made.bill()
        made.sync()
        assert books(made, "total")[-1] == (12001,)
        (event,) = made.query("SELECT data FROM event WHERE name = 'invoice.differs'")
        assert "Rounding: Stripe billed 0.01 EUR, expected 0.00 EUR" in event[0]


def call(made: StripeWorld, method: str, path: str, params: dict[str, Any], **ids: str) -> Any:
    """Carry out a call of somebody else's in the account."""
    with made.stripe.lock:
        catch_up(made.stripe)
        return ENDPOINTS[method, path][0](made.stripe, ids, params)


def test_a_schedule_that_begins_after_the_ledger_moved_to_another_org(tmp_path: Path) -> None:
    """A refreshed sandbox is another org: what was scheduled under the former one's id is read back all the same."""
    with stripe_world(tmp_path, day=DAY) as made:
        made.account("harbor")
        made.deal("harbor_deal", {"UnitPrice": "60.00"}, account="harbor", CloseDate=DAY, Contract_Start_Date__c="2026-04-01", StageName="Closed Won")
        made.sync()
        (schedule,) = made.objects("subscription_schedule")
        for where in (schedule, *schedule["phases"]):
            where["metadata"]["connector_org"] = "00DFORMER000000AAA"
        for hour in (13, 22):
            made.clock.move_to(at("2026-04-01").replace(hour=hour))
            made.sync()
        assert books(made) == [("open", 0, 0)]
        assert made.said("harbor_deal")[0] == "Active"


def test_an_invoice_of_another_orgs_connector_is_not_read(tmp_path: Path) -> None:
    """Two orgs bill one customer of the account: what the other's connector invoices stands in its own books alone."""
    with stripe_world(tmp_path, day=DAY) as made:
        customer = started(made)["customer"]
        about = {"customer": customer, "collection_method": "send_invoice", "days_until_due": 30, "auto_advance": False}
        for metadata in ({"connector_org": "00DOTHER0000000AAA", "connector_contract": "ct_theirs"}, {"note": "by hand"}):
            invoice = call(made, "POST", "/v1/invoices", about | {"metadata": metadata})
            call(made, "POST", "/v1/invoiceitems", {"customer": customer, "invoice": invoice["id"], "amount": 500, "currency": "eur"})
            call(made, "POST", "/v1/invoices/{id}/finalize", {}, id=invoice["id"])
        made.sync()
        assert [total for (total,) in books(made, "total")] == [12000, 500]
        made.sweep()
        assert [total for (total,) in books(made, "total")] == [12000, 500]


def test_a_missed_event_is_swept(tmp_path: Path) -> None:
    """What no event told (a payment, a note, a refund, a dispute, a change by hand) is found by the nightly comparison, once."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        known = len(made.stripe.events)
        deed(made, "pay", invoice=invoice["id"])
        call(made, "POST", "/v1/credit_notes", {"invoice": invoice["id"], "amount": 3000, "refund_amount": 3000})
        deed(made, "refund", invoice=invoice["id"], amount=1000)
        (subscription,) = made.objects("subscription")
        item = subscription["items"]["data"][0]["id"]
        deed(made, "subscription", subscription=subscription["id"], change={"items": [{"id": item, "quantity": 5}], "proration_behavior": "none"})
        del made.stripe.events[known:]
        made.sync()
        assert books(made) == [("open", 0, 0)]
        tally = made.sweep()
        assert books(made) == [("paid", 11000, 3000)]
        assert sorted(row[0] for row in payments(made)) == [-3000, -1000, 12000]
        assert tally.compared is not None
        assert (tally.compared.invoices, tally.compared.subscriptions, tally.compared.drift) == (1, 1, 1)
        assert tally.compared.missed >= 1
        assert made.said("harbor_deal")[0] == "Needs attention"
        again = made.sweep()
        assert again.compared is not None
        assert (again.compared.missed, again.compared.text()) == (0, "1 invoices, 1 subscriptions; 1 changed there by hand")


def test_events_late_doubled_and_out_of_order(tmp_path: Path) -> None:
    """Whatever order events come in, and however often, the books end the same; the newest state of each object is what counts."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        known = len(made.stripe.events)
        deed(made, "pay", invoice=invoice["id"], last4="0341")
        deed(made, "pay", invoice=invoice["id"])
        fresh = made.stripe.events[known:]
        made.stripe.events[known:] = [*reversed(fresh)]
        made.sync()
        assert books(made) == [("paid", 12000, 0)]
        assert payments(made) == [(12000, "stripe", DAY)]
        made.stripe.events += [{**event, "id": event["id"] + "_again"} for event in fresh]
        before = made.query("SELECT COUNT(*) FROM event")
        made.sync()
        assert made.query("SELECT COUNT(*) FROM event") == before


def test_a_poll_that_is_cut_off_begins_again_where_it_was(tmp_path: Path) -> None:
    """Stripe goes away in the middle of reading: nothing is lost, what was listed waits, and the next round ends as if undisturbed."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        deed(made, "pay", invoice=invoice["id"])
        made.stripe_server.faults.add("error_before", path="/v1/invoices", times=50)
        tally = made.sync()
        assert tally.away is not None
        assert books(made) == [("open", 0, 0)]
        assert made.query("SELECT COUNT(*) FROM stripe_event WHERE state = 'new'")[0][0] > 0
        made.stripe_server.faults.clear()
        made.sync()
        assert books(made) == [("paid", 12000, 0)]
        assert made.query("SELECT COUNT(*) FROM stripe_event WHERE state = 'new'") == [(0,)]


def test_others_invoices_are_left_alone(tmp_path: Path) -> None:
    """A customer that is not ours pays and is credited there: nothing of it is read, nothing reaches the books."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        customer = call(made, "POST", "/v1/customers", {"name": "Somebody else"})
        other = deed(made, "invoice", customer=customer["id"], amount=999, currency="eur", description="Not ours")
        deed(made, "pay", invoice=other["id"])
        made.stripe_server.faults.log.clear()
        made.sync()
        assert len(books(made)) == 1
        assert not [entry for entry in made.stripe_server.faults.log if other["id"] in entry.path]
        assert made.sweep().compared is not None
        assert len(books(made)) == 1


def test_old_events_are_forgotten(tmp_path: Path) -> None:
    """After thirty days the queue keeps only how far the poll came; that nobody had looked for longer, until a comparison went as far back."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made, Billing_Frequency__c="Annual")
        made.clock.move_to(made.clock.now().replace(month=6))
        made.sync()
        made.sync()
        assert sorted(row[0] for row in made.query("SELECT state FROM stripe_event")) == ["gap", "poll"]
        made.sweep()
        assert [row[0] for row in made.query("SELECT state FROM stripe_event")] == ["poll"]


def test_a_webhook_and_the_poll_feed_one_queue(tmp_path: Path) -> None:
    """An event that was delivered is worked off with the next round, and the poll, which lists it later, has nothing left to do."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made)
        known = len(made.stripe.events)
        deed(made, "pay", invoice=invoice["id"])
        fresh = made.stripe.events[known:]
        del made.stripe.events[known:]
        with app.writing_house(made.config, "sync", clock=made.clock) as house, house.database.transaction() as unit:
            for event in [*fresh, *fresh]:
                webhooks.kept(unit, event, made.clock.now())
        made.sync()
        assert books(made) == [("paid", 12000, 0)]
        made.stripe.events += fresh
        before = made.query("SELECT COUNT(*) FROM event")
        made.sync()
        assert made.query("SELECT COUNT(*) FROM event") == before
        assert made.query("SELECT COUNT(*) FROM stripe_event WHERE state NOT IN ('done', 'poll')") == [(0,)]
