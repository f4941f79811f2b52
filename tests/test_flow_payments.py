"""Charging by itself and following up what is not paid, as the rep sees it; the CRM is the demo's, time is the test clock's."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest
from books_world import at, open_books, terms
from world import World, world

from connector import app
from connector.charging import Charge, ChargeResult
from connector.config.collecting import DunningConfig, PaymentsConfig
from connector.errors import RetryableError
from connector.payments.cards import TestCards
from connector.ports import HowBilled
from connector.sync import collect, intents, rounds

CARDS = PaymentsConfig(methods=("manual", "test"))


def ask(here: World, kind: str, **data: object) -> dict[str, object]:
    """Ask the books for something as the command line does, and return what it led to."""
    with app.writing_house(here.config, "test", clock=here.clock) as house:
        with house.database.transaction() as unit:
            key = intents.submit(unit, kind, data, actor="cli", now=here.clock.now())
        intents.carry_out(house.database, house.billing, here.clock.now())
        with house.database.read() as unit:
            found = intents.found(unit, key)
    assert found is not None
    assert found.state == "done", found.result
    return dict(found.result)


def customer(here: World, account: str = "acme") -> str:
    """Return the customer of an account."""
    return str(here.query("SELECT id FROM customer WHERE account = ?", here.ids[account])[0][0])


def won(here: World, terms: str, day: str = "2026-01-01", **fields: object) -> None:
    """Win a monthly deal of 200.00 of a new customer, with these payment terms."""
    here.account("acme")
    here.deal("licences", {"Quantity": 2}, account="acme", Payment_Terms__c=terms, CloseDate=day, **fields)
    here.win("licences")
    here.sync()


def charges(here: World) -> list[tuple[object, ...]]:
    """Return (number, state, amount, day) of every try to charge."""
    rows = here.query("SELECT number, state, amount, made_at FROM charge ORDER BY made_at, id")
    return [(r[0], r[1], r[2], r[3][:10]) for r in rows]


def test_a_stored_card_pays_the_open_invoice_and_every_later_one(tmp_path: Path) -> None:
    """An invoice charged automatically waits for a card; once it is stored the next run charges it, and next month's at once."""
    with world(tmp_path, payments=CARDS) as here:
        won(here, "Charge automatically")
        assert "is open" in here.said("licences")[1]
        ask(here, "customer.payment_method", customer=here.ids["acme"], method="test:ok")
        billed, _ = here.bill("2026-01-02")
        assert (billed.paid, billed.failed) == (1, 0)
        status, message = here.said("licences")
        assert (status, "INV-0001, 200.00 EUR, is paid." in message) == ("Active", True)
        assert here.record("licences")["Amount_Paid__c"] == Decimal(200)
        here.bill("2026-02-01")
        assert charges(here) == [(1, "succeeded", 20000, "2026-01-02"), (1, "succeeded", 20000, "2026-02-01")]
        rows = here.query("SELECT amount, method, reference FROM payment ORDER BY id")
        assert [(a, m) for a, m, _ in rows] == [(20000, "test"), (20000, "test")]
        assert all(reference.startswith("test_in_") for _, _, reference in rows)
        here.assert_quiet()


def test_a_declined_card_is_tried_again_and_then_the_contract_is_unpaid(tmp_path: Path) -> None:
    """Declined on 1 January, tried again 3, 5 and 7 days after the try before, unpaid the day after 15 days; each said to the rep."""
    dunning = DunningConfig(after="unpaid")
    with world(tmp_path, payments=CARDS, dunning=dunning) as here:
        here.account("acme")
        here.deal("first", account="acme", CloseDate="2025-12-01", Contract_Start_Date__c="2025-12-01", Contract_Term_Months__c=1)
        here.line("first_line", "first", Quantity=1, UnitPrice="10.00")
        here.win("first")
        here.sync()
        ask(here, "customer.payment_method", customer=customer(here), method="test:declined")
        here.deal("licences", {"Quantity": 2}, account="acme", Payment_Terms__c="Charge automatically")
        here.win("licences")
        here.sync()
        status, message = here.said("licences")
        assert status == "Past due"
        assert "The charge of INV-0002, 200.00 EUR, failed on 1 Jan: The card was declined. It is tried again on 4 Jan." in message
        here.bill("2026-01-03")
        assert len(charges(here)) == 1
        for day in ("2026-01-04", "2026-01-09", "2026-01-16"):
            here.bill(day)
        assert charges(here) == [
            (1, "failed", 20000, "2026-01-01"), (2, "failed", 20000, "2026-01-04"), (3, "failed", 20000, "2026-01-09"),
            (4, "failed", 20000, "2026-01-16"),
        ]  # fmt: skip
        status, message = here.said("licences")
        assert (status, "It is not tried again by itself" in message) == ("Past due", True)
        here.bill("2026-01-17")
        status, message = here.said("licences")
        assert status == "Unpaid"
        assert "Unpaid: INV-0002, 200.00 EUR, was due 1 Jan; no charge went through." in message
        ask(here, "customer.payment_method", customer=customer(here), method="test:ok")
        here.bill("2026-01-18")
        assert here.said("licences")[0] == "Active"
        assert charges(here)[-1] == (5, "succeeded", 20000, "2026-01-18")
        here.assert_quiet()


@pytest.mark.parametrize(("card", "says"), [("expired", "The card has expired."), ("requires_action", "The bank asks the customer")])
def test_a_useless_card_is_not_tried_again(tmp_path: Path, card: str, says: str) -> None:
    """A card that can never pay is tried once; the message asks for another method."""
    with world(tmp_path, payments=CARDS) as here:
        won(here, "Charge automatically")
        ask(here, "customer.payment_method", customer=customer(here), method=f"test:{card}")
        here.bill("2026-01-02")
        here.bill("2026-02-20")
        assert [c[:2] for c in charges(here) if c[3] == "2026-01-02"] == [(1, "failed")]
        assert len(here.query("SELECT 1 FROM charge WHERE invoice_id = (SELECT id FROM invoice WHERE number = 'INV-0001')")) == 1
        assert says in here.said("licences")[1]
        assert "needs another payment method" in here.said("licences")[1]


def test_a_removed_method_charges_nothing(tmp_path: Path) -> None:
    """Without its method a customer's invoices stay open and nothing is tried."""
    with world(tmp_path, payments=CARDS) as here:
        won(here, "Charge automatically")
        ask(here, "customer.payment_method", customer=customer(here), method="test:ok")
        ask(here, "customer.payment_method", customer=customer(here), method="")
        here.bill("2026-01-02")
        assert charges(here) == []
        assert here.query("SELECT COUNT(*) FROM payment_method") == [(0,)]


def test_in_french(tmp_path: Path) -> None:
    """A rep who reads French reads why a charge failed in French."""
    with world(tmp_path, payments=CARDS) as here:
        from dataclasses import replace

        here.config = replace(here.config, crm=replace(here.config.crm, language="fr"))
        won(here, "Charge automatically")
        ask(here, "customer.payment_method", customer=customer(here), method="test:declined")
        here.bill("2026-01-02")
        message = here.said("licences")[1]
        assert "Le prélèvement de INV-0001, 200,00 EUR, a échoué le 2 janv." in message
        assert "La carte a été refusée. Nouvel essai le 5 janv." in message


def test_after_the_last_step_the_contract_is_canceled(tmp_path: Path) -> None:
    """`after: cancel` ends the contract without credit the day after the last step; what was billed stays owed, nothing more is billed."""
    with world(tmp_path, dunning=DunningConfig(remind=(1, 7), after="cancel")) as here:
        won(here, "Net 15")
        here.bill("2026-01-17")
        here.bill("2026-01-23")
        assert here.said("licences")[0] == "Past due"
        here.bill("2026-01-24")
        status, message = here.said("licences")
        assert status == "Canceled"
        assert "Past due: INV-0001, 200.00 EUR, was due 16 Jan." in message
        assert here.record("licences")["Amount_Due__c"] == Decimal(200)
        billed, _ = here.bill("2026-03-01")
        assert (billed.invoices, billed.steps) == (0, 0)
        here.assert_quiet()


def test_payment_and_credit_stop_the_steps(tmp_path: Path) -> None:
    """An invoice that is paid, and one that is credited in full, take no further step; one that is half paid goes on."""
    with world(tmp_path, dunning=DunningConfig(remind=(1,), after="unpaid")) as here:
        here.account("acme")
        for name in ("paid", "credited", "half"):
            here.deal(name, {"Quantity": 2}, account="acme", Payment_Terms__c="Net 15", Contract_Term_Months__c=1)
            here.win(name)
        here.sync()
        number = {name: here.query("SELECT number FROM invoice WHERE deal = ?", here.ids[name])[0][0] for name in ("paid", "credited", "half")}
        ask(here, "invoice.pay", invoice=number["paid"])
        ask(here, "invoice.credit", invoice=number["credited"], reason="wrong")
        ask(here, "invoice.pay", invoice=number["half"], amount=5000)
        billed, _ = here.bill("2026-01-17")
        assert billed.steps == 0  # without mails nobody hears of the reminder's day
        billed, _ = here.bill("2026-01-18")
        assert billed.steps == 1
        assert {name: here.said(name)[0] for name in number} == {"paid": "Active", "credited": "Active", "half": "Unpaid"}
        assert "150.00 EUR, was due 16 Jan" in here.said("half")[1]


# ---------------------------------------------------------------- whoever charges, and kills in between


@dataclass
class Till:
    """A payment provider that remembers what it was asked, answers a key once, and fails when told to."""

    taken: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    trouble: list[Exception] = field(default_factory=list)
    loses_answers: bool = False

    def token(self, name: str) -> str:
        """Return the name."""
        return name

    def label(self, token: str) -> str:
        """Return the token."""
        return token

    def charge(self, charge: Charge) -> ChargeResult:
        """Take the money once a key."""
        self.asked.append(charge.key)
        if self.trouble and not self.loses_answers:
            raise self.trouble.pop()
        self.taken.setdefault(charge.key, charge.amount)
        if self.trouble:
            raise self.trouble.pop()
        return ChargeResult(is_paid=True, reference=f"till_{charge.key}")


class KilledError(BaseException):
    """The process ends here."""


def run_with(here: World, till: Till) -> collect.Collected:
    """Run the collecting pass with another provider behind `test`."""
    with app.writing_house(here.config, "test", clock=here.clock) as house:
        house.billing.payments = {"test": till}
        return rounds.follow_up(
            house.database, house.billing, here.clock.now(), hold=False, stop=house.seam.stop, log=house.seam.log
        )


@pytest.mark.parametrize("loses_answers", [False, True])
@pytest.mark.parametrize("trouble", [KilledError(), RetryableError("The provider does not answer.", hint="Wait.", retry_after_s=5)])
def test_money_is_taken_once_whatever_happens_in_between(tmp_path: Path, trouble: Exception, loses_answers: bool) -> None:
    """Killed or unanswered before or after the money was taken: the next pass asks under the same key, and one payment stands."""
    with world(tmp_path, payments=CARDS) as here:
        won(here, "Charge automatically")
        ask(here, "customer.payment_method", customer=customer(here), method="test:ok")
        till = Till(trouble=[trouble], loses_answers=loses_answers)
        if isinstance(trouble, RetryableError):
            assert run_with(here, till).unknown == 1
        else:
            with pytest.raises(KilledError):
                run_with(here, till)
        assert here.query("SELECT state FROM charge") == [("pending",)]
        assert here.query("SELECT COUNT(*) FROM payment") == [(0,)]
        done = run_with(here, till)
        assert (done.paid, done.unknown) == (1, 0)
        assert len(set(till.asked)) == 1
        assert len(till.asked) == 2
        assert list(till.taken.values()) == [20000]
        assert here.query("SELECT amount FROM payment") == [(20000,)]
        assert run_with(here, till).paid == 0
        assert len(till.asked) == 2


def test_what_was_paid_twice_goes_to_the_balance(tmp_path: Path) -> None:
    """A transfer recorded while a charge was under way: the charge goes to the customer's balance, and the next invoice uses it."""
    with world(tmp_path, payments=CARDS) as here:
        won(here, "Charge automatically")
        ask(here, "customer.payment_method", customer=customer(here), method="test:ok")
        till = Till(trouble=[KilledError()], loses_answers=True)  # type: ignore[list-item]
        with pytest.raises(KilledError):
            run_with(here, till)
        ask(here, "invoice.pay", invoice="INV-0001", amount=15000)
        run_with(here, till)
        assert here.query("SELECT amount, method FROM payment ORDER BY id") == [(15000, "manual"), (5000, "test")]
        assert here.query("SELECT status, amount_paid FROM invoice") == [("paid", 20000)]
        assert here.query("SELECT balances FROM customer WHERE account = ?", here.ids["acme"]) == [('{"eur":-15000}',)]


def test_an_invoice_that_is_being_charged_is_not_issued_again(tmp_path: Path) -> None:
    """The copy would be charged beside it: while the outcome is not known a reissue is refused, after it the paid invoice is reissued."""
    with world(tmp_path, payments=CARDS) as here:
        won(here, "Charge automatically")
        ask(here, "customer.payment_method", customer=customer(here), method="test:ok")
        till = Till(trouble=[KilledError()], loses_answers=True)  # type: ignore[list-item]
        with pytest.raises(KilledError):
            run_with(here, till)
        with pytest.raises(AssertionError, match="INV-0001 is being charged already, and the outcome is not known yet"):
            ask(here, "invoice.reissue", invoice="INV-0001")
        assert here.query("SELECT number, status FROM invoice") == [("INV-0001", "open")]
        run_with(here, till)
        ask(here, "invoice.reissue", invoice="INV-0001")
        run_with(here, till)
        assert list(till.taken.values()) == [20000]
        assert here.query("SELECT number, status FROM invoice ORDER BY id") == [("INV-0001", "paid"), ("INV-0002", "paid")]
        assert here.query("SELECT balances FROM customer WHERE account = ?", here.ids["acme"]) == [("{}",)]


def test_no_second_try_begins_while_one_is_under_way(tmp_path: Path) -> None:
    """The customer asks to pay an invoice that is due to be charged by itself: one try is kept, for all of it."""
    books = open_books(tmp_path, payments={"test": TestCards()})
    books.create("006A", "2026-01-01", terms("2026-01-01"), how=HowBilled(collection_method="charge_automatically", days_until_due=0))
    ((who,),) = books.rows("SELECT id FROM customer")
    with books.database.transaction() as unit:
        books.billing.carry_out("customer.payment_method", {"customer": who, "method": "test:ok"}, unit, at("2026-01-01"), key="it_1", actor="x")
        books.billing.carry_out("invoice.charge", {"customer": who, "invoice": "INV-0001"}, unit, at("2026-01-01"), key="it_2", actor="x")
        books.billing.begin_charges(unit, at("2026-01-01"), limit=10)
    assert books.rows("SELECT number, amount, state FROM charge") == [(1, 3000, "pending")]


def test_test_cards_answer_a_key_the_same_for_good() -> None:
    """A card's fate depends on nothing but its token and the number of the try."""
    cards = TestCards()
    charge = Charge(key="in_1/c1", method="test", token=cards.token("declined_once"), amount=100, currency="eur", attempt=1, description="INV-1")
    assert [cards.charge(charge).is_paid for _ in range(3)] == [False, False, False]
    again = Charge(key="in_1/c2", method="test", token=cards.token("pm_test_declined_once"), amount=100, currency="eur", attempt=2, description="")
    assert cards.charge(again).is_paid
