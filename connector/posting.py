"""Sending the mails of the outbox, at our own pace: each is kept as being tried, given to the server, and its outcome kept (D-146).

Worked example: the server is away at 09:00; the mail is tried again after 1, 2, 4, 8 ... minutes, at most 6 hours apart, and given
up after 12 tries. A kill after the server took a mail sends it again with the same Message-ID.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from connector import app, papers
from connector.billing import books, outbox, quotes
from connector.billing.books import InvoiceSheet
from connector.billing.outbox import Mail
from connector.billing.sending import Addressee, addressee
from connector.config import Config
from connector.documents import formats
from connector.documents.texts import failure_text
from connector.errors import HaltError, RetryableError
from connector.kit import observe
from connector.kit.db import Database
from connector.mail.letters import Case, Letter, rendered
from connector.mail.smtp import Attachment, Delivery, Outgoing, Postman
from connector.offers import why_not
from connector.ports import Unit

AT_ONCE = 50
MOST_TRIES = 12
_FIRST_WAIT_S, _LONGEST_WAIT_S = 60, 6 * 3600
_EVENTS = {"sent": "mail.sent", "failed": "mail.failed", "later": "mail.failed"}
_BATCHES = 10  # a run sends at most so many times AT_ONCE; the rest goes with the next

Attach = Callable[[Mail, InvoiceSheet, Config], tuple[Attachment, ...]]


@dataclass(slots=True, kw_only=True)
class Posted:
    """What a run did: mails that left, that were given up, and that wait for another try."""

    sent: int = 0
    failed: int = 0
    later: int = 0

    def add(self, other: Posted) -> None:
        """Count what another run did."""
        self.sent, self.failed, self.later = self.sent + other.sent, self.failed + other.failed, self.later + other.later

    def text(self) -> str:
        """Return what was done, in words; "" for nothing."""
        counts = ((self.sent, "mails sent"), (self.failed, "mails failed"), (self.later, "mails to be tried again"))
        return "".join(f", {count} {words}" for count, words in counts if count)


def attached(mail: Mail, sheet: InvoiceSheet, config: Config) -> tuple[Attachment, ...]:
    """Return the invoice as a file for the mail that brings it; other mails bring a link."""
    if mail.kind != "invoice":
        return ()
    return (Attachment(name=papers.file_name(sheet), kind="application/pdf", content=papers.invoice_pdf(sheet, config)),)


def post(
    config: Config, database: Database, now: datetime, *, stop: threading.Event | None = None, attach: Attach = attached
) -> Posted:
    """Send every mail that is due by *now*; what cannot leave stays queued and is logged, so that no job fails for it."""
    done = Posted()
    if not config.mail.url:
        return done
    postman = _postman(config)
    for _ in range(_BATCHES):
        if stop is not None and stop.is_set():
            break
        with database.read() as unit:
            read = [_read(unit, mail, config, now) for mail in outbox.due(unit, now, AT_ONCE)]
        if not read or not _batch(database, postman, read, _Writing(config=config, now=now, attach=attach), done):
            break
    return done


def mail_detail(config: Config) -> str:
    """Return how mails leave, after having reached the server. Raises: RetryableError, HaltError."""
    mail = config.mail
    if not mail.url:
        return "off: no mail leaves, `mail.url` is not set"
    where = _postman(config).check()
    return f"{where}, from {mail.sender}" + (f", all to {mail.test_to}" if mail.test_to else "")


def _postman(config: Config) -> Postman:
    mail = config.mail
    return Postman(url=mail.url, sender=mail.sender, reply_to=config.seller.email, test_to=mail.test_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A mail with what the books say of its invoice now (*outgoing*: of its quote); *unneeded* says why nobody needs it any more."""

    mail: Mail
    sheet: InvoiceSheet | None = None
    who: Addressee | None = None
    outgoing: Outgoing | None = None
    unneeded: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writing:
    """What mails are written with."""

    config: Config
    now: datetime
    attach: Attach


def _batch(database: Database, postman: Postman, read: Sequence[_Read], writing: _Writing, done: Posted) -> bool:
    """Send one batch; return whether the server is there for another."""
    now, by_id = writing.now, {r.mail.id: r.mail for r in read}
    with database.transaction() as unit:
        outbox.tried(unit, [(_again(mail, now), mail.id) for mail in by_id.values()])
        outbox.settled(unit, [("dropped", "", r.unneeded, _at(now), r.mail.id) for r in read if r.unneeded])
    ready = []
    for one in read:
        if not one.unneeded:
            outgoing = _written(one, writing)
            if isinstance(outgoing, Outgoing):
                ready.append(outgoing)
            else:
                _keep(database, one.mail, outgoing, now, done)
    try:
        for delivery in postman.deliver(ready, now):
            _keep(database, by_id[delivery.id], delivery, now, done)
    except (RetryableError, HaltError) as error:
        observe.log("mail.stuck", error=str(error), hint=error.hint)
        done.later += _note(database, list(by_id.values()), str(error), now)
        return False
    return True


def _written(one: _Read, writing: _Writing) -> Outgoing | Delivery:
    """Return a mail ready to leave; our own bug in one mail keeps that mail back and no other."""
    if one.outgoing is not None:
        return one.outgoing
    assert one.sheet is not None
    assert one.who is not None
    mail, config = one.mail, writing.config
    try:
        language = one.who.language or config.crm.language
        today = writing.now.astimezone(ZoneInfo(config.timezone)).date()
        case = _case(mail, one.sheet, config, today, is_charged=one.who.is_charged)
        out = rendered(_letter(mail, one.sheet, config, language, case))
        files = writing.attach(mail, one.sheet, config)
    except Exception as error:  # noqa: BLE001 - a bug in one mail is told with that mail; the others leave (D-17)
        return Delivery(id=mail.id, state="later", recipient="", error=f"The mail cannot be written, an error of this program: {error!r}")
    return Outgoing(id=mail.id, recipients=one.who.email, subject=out.subject, text=out.text, html=out.html, attachments=files)


def _keep(database: Database, mail: Mail, delivery: Delivery, now: datetime, done: Posted) -> None:
    state = delivery.state
    if state == "later" and mail.attempts + 1 >= MOST_TRIES:
        state = "failed"
    with database.transaction() as unit:
        kept = "queued" if state == "later" else state
        outbox.settled(unit, [(kept, delivery.recipient, delivery.error, None if state == "later" else _at(now), mail.id)])
        if state == "failed":
            app.tell_about(unit, mail.invoice_id)
    event = _EVENTS[state]
    observe.log(event, key=mail.key, state=state, attempt=mail.attempts + 1, error=delivery.error)
    done.sent, done.failed, done.later = done.sent + (state == "sent"), done.failed + (state == "failed"), done.later + (state == "later")


def _note(database: Database, mails: Sequence[Mail], error: str, now: datetime) -> int:
    """Keep why the mails that are still queued did not leave, and return how many; one that was tried for long enough is given up."""
    count = 0
    with database.transaction() as unit:
        for mail in mails:
            if outbox.state_of(unit, mail.id) != "queued":
                continue
            is_over, count = mail.attempts + 1 >= MOST_TRIES, count + 1
            outbox.settled(unit, [("failed" if is_over else "queued", "", error, _at(now) if is_over else None, mail.id)])
            if is_over:
                app.tell_about(unit, mail.invoice_id)
    return count


def _again(mail: Mail, now: datetime) -> str:
    return _at(now + timedelta(seconds=min(_LONGEST_WAIT_S, _FIRST_WAIT_S << min(mail.attempts, 20))))


def _at(now: datetime) -> str:
    return outbox.instant_text(now)


# ---------------------------------------------------------------- what a mail says


def _read(unit: Unit, mail: Mail, config: Config, now: datetime) -> _Read:
    """Return a mail with its invoice as it stands now, or why there is no need for it any more."""
    if mail.kind == "quote":
        outgoing, unneeded = _prepared_quote(unit, mail, config, now)
        return _Read(mail=mail, outgoing=outgoing, unneeded=unneeded)
    sheet = books.invoice(unit, mail.invoice_id, now.astimezone(ZoneInfo(config.timezone)).date())
    if sheet is None:
        return _Read(mail=mail, unneeded="The invoice is gone.")
    if sheet.status == "void" or (mail.kind in outbox.OPEN_ONLY and sheet.status not in ("open", "past_due")):
        return _Read(mail=mail, unneeded=f"The invoice is {sheet.status} by now.")
    return _Read(mail=mail, sheet=sheet, who=addressee(unit, mail.invoice_id))


def _prepared_quote(unit: Unit, mail: Mail, config: Config, now: datetime) -> tuple[Outgoing | None, str]:
    """Return the mail of a quote, or None where it cannot be accepted any more, or another revision of it is shown."""
    view = quotes.by_token(unit, str(mail.data["token"]))
    if view is None or view.id != mail.data["quote"] or why_not(view, now) is not None:
        return None, "The quote cannot be accepted as it was by now."
    language = view.customer.language or config.crm.language
    last = view.expires_at and (view.expires_at - timedelta(seconds=1)).astimezone(ZoneInfo(config.timezone)).date()
    values = {"number": view.number or "", "label": view.label, "until_on": formats.date_text(last, language) if last else ""}
    out = rendered(
        Letter(
            case="quote", language=language, seller=config.seller.name or config.mail.sender, customer=view.customer.name, values=values,
            link=f"{config.web.public_url}/q/{view.token}",
        )
    )  # fmt: skip
    return Outgoing(id=mail.id, recipients=view.customer.email, subject=out.subject, text=out.text, html=out.html, attachments=()), ""


def _letter(mail: Mail, sheet: InvoiceSheet, config: Config, language: str, case: Case) -> Letter:
    data = mail.data

    def money(minor: int) -> str:
        return formats.amount_text(minor, sheet.currency, language)

    def day(text: str) -> str:
        return formats.date_text(date.fromisoformat(text), language) if text else ""

    values = {
        "number": sheet.number, "total": money(sheet.total), "open": money(int(data.get("open", sheet.amount_remaining))),
        "due_on": formats.date_text(sheet.due_on, language), "amount": money(int(data.get("amount", data.get("total", 0)))),
        "why": failure_text(str(data.get("message", "")), language), "retry_on": day(str(data.get("retry_on", ""))),
        "note": str(data.get("note", "")),
    }  # fmt: skip
    return Letter(
        case=case, language=language, seller=config.seller.name or config.mail.sender, customer=sheet.customer,
        values=values, link=f"{config.web.public_url}/i/{sheet.token}" if config.mail.has_pay_link else "", iban=config.seller.iban,
        reason=str(data.get("reason", "")),
    )  # fmt: skip


def _case(mail: Mail, sheet: InvoiceSheet, config: Config, today: date, *, is_charged: bool) -> Case:
    if mail.kind == "invoice":
        if not sheet.amount_remaining:
            return "invoice_paid"
        return "invoice_charged" if is_charged else "invoice"
    if mail.kind == "reminder":
        if sheet.due_on is not None and today <= sheet.due_on:
            return "reminder_before"
        steps = config.dunning.remind
        return "reminder_last" if len(steps) > 1 and mail.step == steps[-1] else "reminder_after"
    if mail.kind == "receipt":
        return "receipt_part" if mail.data.get("open") else "receipt"
    if mail.kind == "payment_failed":
        return "failed_again" if mail.data.get("retry_on") else "failed_final"
    return "credit_note"

