"""Mails to customers through a real mail server on this machine: who gets what, when, and what becomes of those that cannot leave."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from test_flow_payments import CARDS, ask, customer
from world import World, world

from connector import app, posting
from connector.billing import outbox
from connector.billing.books import InvoiceSheet
from connector.config import Config
from connector.config.collecting import DunningConfig, MailConfig
from connector.errors import RetryableError
from connector.lookalike.crm.org import Org, Traits
from connector.mail.smtp import Attachment
from connector.posting import Posted


class Box:
    """A mail server's mind: what it took, and what it answers to whom."""

    def __init__(self) -> None:
        self.taken: list[EmailMessage] = []
        self.to: list[list[str]] = []
        self.recipient_answers: list[str] = []
        self.data_answers: list[str] = []
        self.sender_answer = ""

    async def handle_MAIL(self, _server: Any, _session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        if self.sender_answer:
            return self.sender_answer
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]) -> str:  # noqa: N802
        if self.recipient_answers:
            return self.recipient_answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.data_answers and (answer := self.data_answers.pop(0)):
            return answer
        self.to.append(list(envelope.rcpt_tos))
        self.taken.append(email.message_from_bytes(envelope.content, policy=email.policy.default))  # type: ignore[arg-type]
        return "250 OK"

    def subjects(self) -> list[str]:
        """Return the subjects of what was taken, in order."""
        return [str(message["Subject"]).strip() for message in self.taken]


class _Login:
    def __call__(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, auth_data: Any) -> AuthResult:
        is_good = isinstance(auth_data, LoginPassword) and (auth_data.login, auth_data.password) == (b"us@er", b"secret")
        return AuthResult(success=is_good, handled=False)


class _Server(Controller):
    """A server on whichever port is free."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def server(box: Box, *, has_login: bool = False) -> Iterator[str]:
    """Serve *box* on a free port and give its address without scheme."""
    more = {"authenticator": _Login(), "auth_require_tls": False, "auth_required": True} if has_login else {}
    controller = _Server(box, hostname="127.0.0.1", port=0, **more)
    controller.start()
    try:
        yield f"127.0.0.1:{controller.port}"
    finally:
        controller.stop()


def mail(address: str, **more: Any) -> MailConfig:
    """Return the configuration of mails by a server."""
    return MailConfig(url=f"smtp://{address}", sender="Northwind <billing@northwind.example>", **more)


def post(here: World) -> Posted:
    """Send what is due, as the daemon does."""
    with app.writing_house(here.config, "test", clock=here.clock) as house:
        return posting.post(house.config, house.database, house.clock.now())


def run(here: World, day: str) -> Posted:
    """Run the day's billing and send what is due."""
    here.bill(day)
    return post(here)


def won(here: World, name: str = "licences", terms: str = "Net 15", **account: object) -> None:
    """Win a monthly deal of 200.00 of a new customer for one month, and run a round."""
    here.account("acme", **account)
    here.deal(name, {"Quantity": 2}, account="acme", Payment_Terms__c=terms, Contract_Term_Months__c=1)
    here.win(name)
    here.sync()


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    """Return the plain or html text of a mail."""
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def states(here: World) -> list[tuple[Any, ...]]:
    """Return (kind, step, state) of every mail, oldest first."""
    return here.query("SELECT kind, step, state FROM outbox ORDER BY id")


def test_who_does_not_pay_is_reminded_and_at_last_unpaid(tmp_path: Path) -> None:
    """Due 16 January: reminded on 13, 17, 23 and 30 January by mail, unpaid on the 31st; the rep reads each step."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address), dunning=DunningConfig(after="unpaid")) as here:
        won(here)
        assert post(here) == Posted(sent=1)
        assert box.subjects() == ["Invoice INV-0001 from Northwind Instruments"]
        for day, sent in (("2026-01-12", 0), ("2026-01-13", 1), ("2026-01-14", 0), ("2026-01-16", 0), ("2026-01-17", 1)):
            assert run(here, day).sent == sent, day
        assert here.said("licences")[0] == "Past due"
        assert "Past due: INV-0001, 200.00 EUR, was due 16 Jan. Reminded 13 and 17 Jan, next on 23 Jan." in here.said("licences")[1]
        assert run(here, "2026-01-23").sent == 1
        assert "Reminded 13, 17 and 23 Jan, next on 30 Jan." in here.said("licences")[1]
        assert run(here, "2026-01-30").sent == 1
        assert here.said("licences")[0] == "Past due"
        assert run(here, "2026-01-31").sent == 0
        status, message = here.said("licences")
        assert (status, "Unpaid: INV-0001, 200.00 EUR, was due 16 Jan; all reminders were in vain." in message) == ("Unpaid", True)
        assert box.subjects()[1:] == [
            "Invoice INV-0001 is due on 16 Jan 2026", "Invoice INV-0001 is overdue", "Invoice INV-0001 is overdue",
            "Last reminder: invoice INV-0001 is overdue",
        ]  # fmt: skip
        assert run(here, "2026-03-01") == Posted()
        ask(here, "invoice.pay", invoice="INV-0001")
        here.sync()
        assert here.said("licences")[0] == "Completed"


def test_who_pays_gets_a_receipt_and_no_reminder(tmp_path: Path) -> None:
    """A payment brings a receipt, a part of it says what is still open; afterwards nobody is reminded."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address)) as here:
        won(here)
        ask(here, "invoice.pay", invoice="INV-0001", amount=5000)
        ask(here, "invoice.pay", invoice="INV-0001")
        post(here)
        assert box.subjects()[1:] == ["We received a payment for invoice INV-0001", "We received your payment of invoice INV-0001"]
        assert run(here, "2026-02-20").sent == 0
        receipts = [m for m in box.taken if "received" in str(m["Subject"])]
        assert len(receipts) == 2
        assert "We received €150.00 for invoice INV-0001. It is paid in full." in text_of(receipts[1])


def test_a_mail_says_everything_and_escapes_what_it_is_given(tmp_path: Path) -> None:
    """Addresses, links, bank details and the invoice as PDF are in it; a name with markup stays text in HTML and in the subject's line."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address)) as here:
        won(here, Name='Acme <script>alert("1")</script> & Sons')
        post(here)
        (message,) = box.taken
        assert box.to == [["billing@acme.example"]]
        assert str(message["From"]) == "Northwind <billing@northwind.example>"
        assert str(message["Reply-To"]) == "billing@northwind.example"
        plain, html = text_of(message), text_of(message, "html")
        assert 'Dear Acme <script>alert("1")</script> & Sons,' in plain
        assert "<script>" not in html
        assert "&lt;script&gt;" in html
        ((token,),) = here.query("SELECT token FROM invoice")
        assert f"{here.config.web.public_url}/i/{token}" in plain
        assert f'href="{here.config.web.public_url}/i/{token}"' in html
        assert "IBAN FR76 3000 6000 0112 3456 7890 189, reference INV-0001" in plain
        assert "Please pay €200.00 by 16 Jan 2026." in plain
        (attachment,) = list(message.iter_attachments())
        assert (attachment.get_filename(), attachment.get_content()[:5]) == ("INV-0001.pdf", b"%PDF-")
        ((mail_id,),) = here.query("SELECT id FROM outbox")
        assert str(message["Message-ID"]) == f"<{mail_id}@northwind.example>"


def test_a_french_customer_reads_french(tmp_path: Path) -> None:
    """The account's language is the mail's."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address)) as here:
        won(here)
        with app.writing_house(here.config, "test", clock=here.clock) as house, house.database.transaction() as unit:
            unit.execute("UPDATE customer SET language = 'fr' WHERE account = ?", (here.ids["acme"],))
        post(here)
        run(here, "2026-01-17")
        assert box.subjects() == ["Facture INV-0001 de Northwind Instruments", "La facture INV-0001 est en retard de paiement"]
        assert "Merci de régler 200,00 € pour le 16 janv. 2026." in text_of(box.taken[0]).replace("\u202f", " ").replace("\xa0", " ")


def test_a_failed_charge_is_mailed_and_a_reminder_is_not(tmp_path: Path) -> None:
    """While a charge is planned its own mail speaks; when the ladder is over, the reminders go on."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address), payments=CARDS, dunning=DunningConfig(retry=(3,))) as here:
        won(here, terms="Charge automatically")
        ask(here, "customer.payment_method", customer=customer(here), method="test:declined")
        run(here, "2026-01-02")
        run(here, "2026-01-05")
        run(here, "2026-01-08")
        assert box.subjects() == [
            "Invoice INV-0001 from Northwind Instruments", "The payment of invoice INV-0001 failed", "The payment of invoice INV-0001 failed",
            "Invoice INV-0001 is overdue",
        ]  # fmt: skip
        assert "The card was declined. It is tried again on 5 Jan 2026." in text_of(box.taken[1])
        assert "It is not tried again." in text_of(box.taken[2])


def test_downtime_sends_the_latest_reminder_only(tmp_path: Path) -> None:
    """Down from the invoice to after its third step: one reminder, and what comes after it not on the same day."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address), dunning=DunningConfig(after="unpaid")) as here:
        won(here)
        post(here)
        assert run(here, "2026-02-20").sent == 1
        assert here.query("SELECT dunning FROM invoice") == [("",)]
        run(here, "2026-02-21")
        assert here.query("SELECT dunning FROM invoice") == [("unpaid",)]
        assert [s[:2] for s in states(here)] == [("invoice", 0), ("reminder", 14)]


def test_credit_void_and_a_new_due_date(tmp_path: Path) -> None:
    """A credit note is mailed; a voided invoice is reminded of no more, and a new due date begins the reminders anew."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address), dunning=DunningConfig(remind=(1,))) as here:
        won(here)
        won_more = ("moved", "voided")
        for name in won_more:
            here.deal(name, {"Quantity": 1}, account="acme", Payment_Terms__c="Net 15", Contract_Term_Months__c=1)
            here.win(name)
        here.sync()
        number = {n: here.query("SELECT number FROM invoice WHERE deal = ?", here.ids[n])[0][0] for n in ("licences", *won_more)}
        ask(here, "invoice.credit", invoice=number["licences"], amount=20000, reason="late delivery")
        ask(here, "invoice.void", invoice=number["voided"])
        post(here)
        run(here, "2026-01-17")
        assert [s for s in box.subjects() if "overdue" in s] == [f"Invoice {number['moved']} is overdue"]
        note = next(m for m in box.taken if "Credit note" in str(m["Subject"]))
        assert "Reason: late delivery" in text_of(note)
        ask(here, "invoice.due", invoice=number["moved"], on="2026-01-25")
        run(here, "2026-01-20")
        run(here, "2026-01-26")
        assert [s for s in box.subjects() if "overdue" in s] == [f"Invoice {number['moved']} is overdue"] * 2


# ---------------------------------------------------------------- mails that cannot leave


def test_an_unknown_recipient_fails_for_good_and_is_shown(tmp_path: Path) -> None:
    """550 for a reminder's recipient: the mail failed, the rep reads why, nobody tries again; sending by hand works once it is mended."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address), dunning=DunningConfig(remind=(1,))) as here:
        won(here)
        post(here)
        box.recipient_answers = ["550 5.1.1 No such user here"]
        assert run(here, "2026-01-17") == Posted(failed=1)
        here.sync()
        assert "The last reminder could not be delivered: 550 5.1.1 No such user here" in here.said("licences")[1]
        assert run(here, "2026-01-18") == Posted()
        assert ask(here, "invoice.send", invoice="INV-0001")["to"] == "billing@acme.example"
        assert post(here).sent == 1
        assert len(here.query("SELECT 1 FROM outbox WHERE state = 'failed'")) == 1


def test_without_an_address_nothing_is_lost(tmp_path: Path) -> None:
    """A customer without a billing e-mail: the mail failed and says so; asking for it again is refused with what to fill."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address)) as here:
        won(here)
        with app.writing_house(here.config, "test", clock=here.clock) as house, house.database.transaction() as unit:
            unit.execute("UPDATE customer SET email = '' WHERE account = ?", (here.ids["acme"],))
        assert post(here) == Posted(failed=1)
        assert here.query("SELECT error FROM outbox") == [("The customer has no billing e-mail.",)]


@pytest.mark.parametrize("where", ["recipient_answers", "data_answers"])
def test_a_busy_server_gets_the_mail_later_and_once(tmp_path: Path, where: str) -> None:
    """450 is no refusal: the mail waits a minute, two, and is then taken; it was sent once."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address)) as here:
        won(here)
        setattr(box, where, ["450 4.2.0 Greylisted", "450 4.2.0 Greylisted"])
        assert post(here) == Posted(later=1)
        assert post(here) == Posted()
        here.clock.move_to(here.clock.now() + _minutes(1))
        assert post(here) == Posted(later=1)
        here.clock.move_to(here.clock.now() + _minutes(2))
        assert post(here) == Posted(sent=1)
        assert len(box.taken) == 1
        assert here.query("SELECT state, attempts, error FROM outbox") == [("sent", 3, "")]


def _minutes(count: int) -> timedelta:
    return timedelta(minutes=count, seconds=5)


def test_a_server_that_is_away_keeps_the_mails(tmp_path: Path) -> None:
    """Nobody listens: the billing run goes through, the mails wait with the reason; with the server back they leave."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail("127.0.0.1:9")) as here:
        won(here)
        assert post(here) == Posted(later=1)
        assert "cannot be reached" in here.query("SELECT error FROM outbox")[0][0]
        here.config = replace(here.config, mail=mail(address))
        here.clock.move_to(here.clock.now() + _minutes(2))
        assert post(here) == Posted(sent=1)


def test_after_twelve_tries_a_mail_is_given_up(tmp_path: Path) -> None:
    """The tries are bounded: after twelve the mail has failed and is not asked for again."""
    with world(tmp_path, mail=mail("127.0.0.1:9")) as here:
        won(here)
        for _ in range(posting.MOST_TRIES):
            assert post(here).later == 1
            here.clock.move_to(here.clock.now() + _minutes(361))
        assert here.query("SELECT state, attempts FROM outbox") == [("failed", posting.MOST_TRIES)]
        assert post(here) == Posted()


def test_a_refused_sender_blames_the_configuration(tmp_path: Path) -> None:
    """The server takes nothing from our address: no mail is marked as failed, all of them wait."""
    box = Box()
    box.sender_answer = "553 5.7.1 Not your address"
    with server(box) as address, world(tmp_path, mail=mail(address)) as here:
        won(here)
        assert post(here) == Posted(later=1)
        assert "refuses the sender" in here.query("SELECT error FROM outbox")[0][0]


@pytest.mark.filterwarnings("ignore:Requiring AUTH:UserWarning")
@pytest.mark.parametrize(("password", "state"), [("secret", "sent"), ("wrong", "queued")])
def test_login(tmp_path: Path, password: str, state: str) -> None:
    """User and password of the address log in, signs in it written as %40; a refused login keeps the mails."""
    box = Box()
    with server(box, has_login=True) as address, world(tmp_path, mail=mail(f"us%40er:{password}@{address}")) as here:
        won(here)
        post(here)
        assert here.query("SELECT state FROM outbox") == [(state,)]


class KilledError(BaseException):
    """The process ends here."""


def test_a_kill_after_the_server_took_it_sends_it_again_under_the_same_id(tmp_path: Path) -> None:
    """At least once: what was taken but not kept as sent leaves again, and its Message-ID tells the reader that it is the same."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address)) as here:
        won(here)
        with app.writing_house(here.config, "test", clock=here.clock) as house:
            database = _DiesAfter(house.database, transactions=1)
            with pytest.raises(KilledError):
                posting.post(house.config, database, house.clock.now())  # type: ignore[arg-type]
        assert (len(box.taken), states(here)) == (1, [("invoice", 0, "queued")])
        assert post(here) == Posted()
        here.clock.move_to(here.clock.now() + _minutes(2))
        assert post(here) == Posted(sent=1)
        assert len({str(m["Message-ID"]) for m in box.taken}) == 1
        assert len(box.taken) == 2


class _DiesAfter:
    """A database whose process is killed when it begins a transaction too many."""

    def __init__(self, database: Any, *, transactions: int) -> None:
        self._database, self._left = database, transactions

    def read(self) -> Any:
        return self._database.read()

    def transaction(self) -> Any:
        if not self._left:
            raise KilledError
        self._left -= 1
        return self._database.transaction()


# ---------------------------------------------------------------- nothing leaves where nothing shall


def test_without_a_server_no_mail_is_written(tmp_path: Path) -> None:
    """Without `mail.url` the books write no mail at all, and sending one by hand is refused with what to set."""
    with world(tmp_path) as here:
        won(here)
        run(here, "2026-02-20")
        assert states(here) == []
        with app.writing_house(here.config, "test", clock=here.clock) as house:
            assert posting.post(house.config, house.database, house.clock.now()) == Posted()


def test_a_sandbox_keeps_its_mails_or_sends_them_to_the_tester(tmp_path: Path) -> None:
    """In a sandbox org mails are written and held; with `mail.test_to` all of them go there and say whom they are for."""
    box = Box()

    def sandbox(clock: Any) -> Org:
        return Org(clock=clock, traits=Traits(is_sandbox=True))

    with server(box) as address, world(tmp_path / "held", org=sandbox, mail=mail(address)) as here:
        won(here)
        assert post(here) == Posted()
        assert states(here) == [("invoice", 0, "held")]
        run(here, "2026-01-17")
        assert "Reminded" not in here.said("licences")[1]
        assert box.taken == []
    with server(box) as address, world(tmp_path / "test", org=sandbox, mail=mail(address, test_to="tester@example.com")) as here:
        won(here)
        assert post(here) == Posted(sent=1)
        assert box.to == [["tester@example.com"]]
        assert box.subjects() == ["Invoice INV-0001 from Northwind Instruments (for billing@acme.example)"]


def test_one_invoice_for_two_deals_is_mailed_once_and_both_records_say_that_it_is_late(tmp_path: Path) -> None:
    """A customer with one invoice for all contracts gets one mail a step; both deals are past due, and both contracts end with `cancel`."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address), dunning=DunningConfig(remind=(1,), after="cancel")) as here:
        here.account("acme", Consolidate_Invoices__c=True)
        for name in ("one", "two"):
            here.deal(name, {"Quantity": 1}, account="acme", Payment_Terms__c="Net 15")
            here.win(name)
        here.sync()
        run(here, "2026-01-02")
        assert here.query("SELECT number, contract_id FROM invoice") == [("INV-0001", "")]
        assert box.subjects() == ["Invoice INV-0001 from Northwind Instruments"]
        run(here, "2026-01-18")
        assert box.subjects()[1:] == ["Invoice INV-0001 is overdue"]
        for name in ("one", "two"):
            assert here.said(name)[0] == "Past due"
            assert "Reminded 18 Jan." in here.said(name)[1]
        run(here, "2026-01-19")
        assert [here.said(name)[0] for name in ("one", "two")] == ["Canceled", "Canceled"]


def test_check_says_how_mails_leave(tmp_path: Path) -> None:
    """The server is reached and the login tried before any mail depends on it."""
    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address, test_to="tester@example.com")) as here:
        text = f"smtp://{address}, from Northwind <billing@northwind.example>, all to tester@example.com"
        assert posting.mail_detail(here.config) == text
        assert posting.mail_detail(replace(here.config, mail=MailConfig())) == "off: no mail leaves, `mail.url` is not set"
        with pytest.raises(RetryableError, match="cannot be reached"):
            posting.mail_detail(replace(here.config, mail=mail("127.0.0.1:9")))


def test_a_mail_that_cannot_be_written_keeps_no_other_back(tmp_path: Path) -> None:
    """Our own bug in one invoice's PDF: that mail waits with the error, the other leaves."""

    def broken(mail: outbox.Mail, sheet: InvoiceSheet, config: Config) -> tuple[Attachment, ...]:
        if sheet.number == "INV-0001":
            raise ValueError("no such glyph")
        return posting.attached(mail, sheet, config)

    box = Box()
    with server(box) as address, world(tmp_path, mail=mail(address)) as here:
        won(here)
        here.deal("more", {"Quantity": 1}, account="acme", Payment_Terms__c="Net 15")
        here.win("more")
        here.sync()
        with app.writing_house(here.config, "test", clock=here.clock) as house:
            assert posting.post(house.config, house.database, house.clock.now(), attach=broken) == Posted(sent=1, later=1)
        assert box.subjects() == ["Invoice INV-0002 from Northwind Instruments"]
        assert "no such glyph" in here.query("SELECT error FROM outbox WHERE state = 'queued'")[0][0]
