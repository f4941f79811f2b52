"""Quotes as their customers get them: the page behind the link, the PDF, and what becomes of an answer (decision D-20).

An answer is only kept, with the revision that was read; the daemon's next round carries it out by the same request as the command
line's. The page then says what became of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from connector import app
from connector.billing import quotes
from connector.documents import formats, pdf
from connector.documents.texts import texts_in
from connector.documents.views import InvoicePage, InvoicePageLine, Party, QuotePage, Total
from connector.offers import QuoteLine, QuoteStage, QuoteView, why_not
from connector.papers import tax_note
from connector.sync import intents
from connector.web.views import Pdf, QuoteAnswer, QuoteReply

_ANSWERS_SHOWN = 1
_DAY = timedelta(days=1)  # quotes say the last day, periods end on the day after


def page(house: app.House, token: str) -> QuotePage | None:
    """Return the quote behind a link, in the customer's language; None: there is none."""
    with house.database.read() as unit:
        view = quotes.by_token(unit, token)
        if view is None:
            return None
        asked = intents.of_actor(unit, _actor(view), _ANSWERS_SHOWN)
    return _page(house, view, asked)


def document(house: app.House, token: str) -> Pdf | None:
    """Return the PDF of the quote behind a link; None: there is none."""
    shown = page(house, token)
    if shown is None:
        return None
    with house.database.read() as unit:
        view = quotes.by_token(unit, token)
    opened = (view.opened_at if view else None) or house.clock.now()
    name = re.sub(r"[^A-Za-z0-9._-]", "-", shown.sheet.number) + ".pdf"
    return Pdf(name=name, content=pdf.quote_pdf(shown, opened.astimezone(ZoneInfo(house.config.timezone)).date()))


def answer(house: app.House, token: str, given: QuoteAnswer) -> QuoteReply | None:
    """Keep a customer's answer, or say why it cannot be taken; None: there is no such quote."""
    now = house.clock.now()
    with house.database.read() as unit:
        view = quotes.by_token(unit, token)
        if view is None:
            return None
        is_waiting = intents.waiting_of(unit, _actor(view)) > 0
    language = view.customer.language or house.config.crm.language
    words = texts_in(language)
    if is_waiting or why_not(view, now) is not None:
        return QuoteReply(language=language, is_kept=True)  # the page says what became of it
    if str(view.revision) != given.revision:
        return QuoteReply(language=language, complaint=words["quote_changed"])
    name = " ".join(given.name.split())
    if given.what == "accept" and (not name or not given.is_agreed):
        return QuoteReply(language=language, complaint=words["quote_unsigned"])
    data = {"quote": view.id, "revision": view.revision, "via": "page", "at": now.replace(microsecond=0).isoformat()}
    if given.what == "accept":
        data |= {"name": name, "title": " ".join(given.title.split()), "address": given.address}
    else:
        data |= {"reason": " ".join(given.reason.split())}
    with house.database.transaction() as unit:
        intents.submit(unit, f"quote.{given.what}", data, actor=_actor(view), now=now)
    return QuoteReply(language=language, is_kept=True)


def _actor(view: QuoteView) -> str:
    return f"page:{view.id}"


# ---------------------------------------------------------------- what is shown


def _page(house: app.House, view: QuoteView, asked: list[intents.Intent]) -> QuotePage:
    config, language = house.config, view.customer.language or house.config.crm.language
    words, now, seller = texts_in(language), house.clock.now(), house.config.seller
    place = view.customer.address
    city = " ".join(p for p in (place.postal_code, place.city) if p)
    is_late = view.status == "open" and why_not(view, now) is not None
    status = "expired" if is_late else view.status
    is_waiting = bool(asked) and asked[0].is_waiting
    return QuotePage(
        language=language,
        sheet=InvoicePage(
            language=language, status="draft", number=view.number or view.label, currency=view.currency.upper(),
            seller=Party(name=seller.name, address=seller.address, email=seller.email, tax_id=seller.vat_id),
            customer=Party(
                name=view.customer.name, address=tuple(p for p in (place.line1, city, place.state, place.country) if p),
                email=view.customer.email, tax_id=view.customer.tax_id,
            ),
            lines=tuple(_lines(view, language)), subtotal="", total="", due="", po_number=view.how.po_number, memo=view.how.memo,
            tax_note=tax_note(view.sheet.tax_note, language),
        ),
        status=status,
        status_text=words[f"quote_{status}"],
        revision=view.revision,
        sums=tuple(_sums(view, language, now.astimezone(ZoneInfo(config.timezone)).date())),
        facts=tuple(_facts(view, language, config.timezone)),
        note=_note(view, status, words, language, config.timezone) if not is_waiting else words["quote_note_waiting"],
        can_answer=status == "open" and not is_waiting,
    )  # fmt: skip


def _facts(view: QuoteView, language: str, timezone: str) -> list[tuple[str, str]]:
    words = texts_in(language)
    last = _last_moment(view.expires_at, timezone, language) if view.status == "open" else ""
    found = [
        (words["quote_revision"], str(view.revision) if view.revision > 1 else ""),
        (words["quote_expires"], last),
        (words["quote_starts"], formats.date_text(view.sheet.starts_on, language)),
        (words["quote_ends"], formats.date_text(view.sheet.ends_on, language)),
    ]
    return [(label, value) for label, value in found if value]


def _last_moment(at: datetime | None, timezone: str, language: str) -> str:
    """Return the last whole day on which something can be accepted that ends at an instant."""
    if at is None:
        return ""
    local = at.astimezone(ZoneInfo(timezone))
    day = local.date() if local.time().isoformat() != "00:00:00" else local.date().fromordinal(local.date().toordinal() - 1)
    return formats.date_text(day, language)


def _note(view: QuoteView, status: str, words: Mapping[str, str], language: str, timezone: str) -> str:
    if status == "open":
        return ""
    day = formats.date_text(view.accepted_at.astimezone(ZoneInfo(timezone)).date(), language) if view.accepted_at else ""
    return words[f"quote_note_{status}"].format(name=view.accepted_by, day=day)


def _lines(view: QuoteView, language: str) -> list[InvoicePageLine]:
    words, sheet = texts_in(language), view.sheet
    first = words["quote_first"].format(day=formats.date_text(sheet.first_on, language)) if sheet.first_on else ""
    groups = [(first, [(line, _period_text(line, language)) for line in sheet.first])]
    for stage in sheet.stages:
        each = words["quote_per"]
        groups.append(
            (_stage_text(stage, words, language), [(x, each.format(interval=_interval_text(x.interval, words))) for x in stage.lines])
        )
    return [
        replace(_line(line, view.currency, language), heading=heading if n == 0 else "", period=period)
        for heading, lines in groups
        for n, (line, period) in enumerate(lines)
    ]


def _period_text(line: QuoteLine, language: str) -> str:
    return formats.period_text(line.start, line.end + _DAY, language) if line.end > line.start else ""


def _stage_text(stage: QuoteStage, words: Mapping[str, str], language: str) -> str:
    start = formats.date_text(stage.start, language)
    if stage.end is None:
        return words["quote_stage_from"].format(day=start)
    return formats.period_text(stage.start, stage.end + _DAY, language)


def _line(line: QuoteLine, currency: str, language: str) -> InvoicePageLine:
    def money(minor: int) -> str:
        return formats.amount_text(minor, currency, language)

    unit = formats.unit_price_text(Decimal(line.unit_amount), currency, language) if line.unit_amount and not line.is_proration else ""
    quantity = formats.quantity_text(Decimal(line.quantity), language) if line.quantity else ""
    return InvoicePageLine(
        description=line.description, amount=money(line.amount), quantity=quantity, unit_price=unit,
        discount=money(-line.discount) if line.discount else "", tax=money(line.tax) if line.tax else "",
    )  # fmt: skip


def _sums(view: QuoteView, language: str, today: date) -> list[Total]:
    words, sheet = texts_in(language), view.sheet

    def money(minor: int) -> str:
        return formats.amount_text(minor, view.currency, language)

    found = []
    if sheet.first_on is not None:
        key = "quote_due_now" if sheet.first_on <= today else "quote_due_on"
        label = words[key].format(day=formats.date_text(sheet.first_on, language))
        found.append(Total(label=label, amount=money(sheet.due.total), is_strong=True))
        if sheet.due.tax:
            found.append(Total(label=words["quote_tax_in"], amount=money(sheet.due.tax)))
    for stage in sheet.stages:
        for period in stage.periods:
            label = words["quote_per_from"] if len(sheet.stages) > 1 else words["quote_per"]
            text = label.format(interval=_interval_text(period.interval, words), day=formats.date_text(stage.start, language))
            found.append(Total(label=text if period.interval else words["quote_once"], amount=money(period.total)))
            if period.tax:
                found.append(Total(label=words["quote_tax_in"], amount=money(period.tax)))
    found.append(Total(label=words["quote_value"], amount=money(view.value)))
    return found


def _interval_text(interval: str, words: Mapping[str, str]) -> str:
    """Return "month" or "3 months" of an interval as quotes write it: month, 3 month."""
    count, _, unit = interval.rpartition(" ")
    number = int(count) if count.isdigit() else 1
    unit = unit.rstrip("s")
    key = f"interval_{unit}" if number == 1 else f"interval_{unit}s"
    return words[key].format(n=number) if key in words else interval
