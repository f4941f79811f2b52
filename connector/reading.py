"""The verbs that read the books: lists and single invoices and contracts, as plain results."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from connector import app, papers
from connector.billing import books, dunning, events, note_sheets
from connector.billing.customers import customer_named
from connector.billing.note_sheets import NoteSheet
from connector.billing.parts import parts_with_shares
from connector.core.money import major
from connector.errors import ConfigError, Problem, RejectedError
from connector.ports import Unit
from connector.sync import intents
from connector.verbs import Result, open_config, parsed_instant

_HISTORY = 20  # the latest events that `show` tells


def _local(now: datetime, timezone: str) -> datetime:
    return now.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)


def _missing(what: str, name: str, verb: str) -> RejectedError:
    hint = f"See `connector {verb} list`."
    return RejectedError(Problem(code=f"unknown-{what}", message=f"The books have no {what} {name}.", hint=hint))


def _last_day(end: datetime) -> date:
    """Return the last day of a half-open period, as people write it."""
    return date.fromordinal(end.date().toordinal() - 1) if end.time().isoformat() == "00:00:00" else end.date()


def invoices_list(config_path: Path, *, status: str | None, limit: int) -> list[Result]:
    """Return invoices, newest first; amounts in major units."""
    with app.reading_house(open_config(config_path)) as house, house.database.read() as unit:
        found = books.invoices(unit, status=status, limit=limit)
    return [
        {
            "number": i.number or f"(draft {i.id})",
            "status": i.status,
            "customer": i.customer,
            "issued_on": i.issued_on,
            "due_on": i.due_on,
            "total": str(major(i.total, i.currency)),
            "amount_paid": str(major(i.amount_paid, i.currency)),
            "amount_due": str(major(i.amount_open, i.currency)),
            "currency": i.currency.upper(),
            "contract": i.contract,
            "deal": i.deal,
        }
        for i in found
    ]


def invoices_pdf(config_path: Path, number: str, output: Path | None) -> Result:
    """Write an invoice as PDF, with its e-invoice inside where there is one; *output* None: a file named for its number.

    Raises: RejectedError if there is no such invoice, ConfigError if the file cannot be written.
    """
    with app.reading_house(open_config(config_path)) as house, house.database.read() as unit:
        sheet = books.invoice(unit, number, _local(house.now(), house.config.timezone).date())
        config = house.config
    if sheet is None:
        raise _missing("invoice", number, "invoices")
    file = output or Path(papers.file_name(sheet))
    try:
        file.write_bytes(papers.invoice_pdf(sheet, config))
    except OSError as error:
        problem = Problem(code="unwritable-file", message=f"{file} cannot be written: {error.strerror}.", hint="Choose another place with --output.")
        raise ConfigError([problem]) from error
    has_xml = papers.invoice_xml(sheet, config) is not None
    return {"file": str(file), "has_einvoice": has_xml, "text": f"{number} is in {file}{', with its e-invoice (EN 16931) inside' if has_xml else ''}."}


def invoices_show(config_path: Path, number: str) -> Result:
    """Return one invoice with its lines. Raises: RejectedError if there is none of this number."""
    with app.reading_house(open_config(config_path)) as house, house.database.read() as unit:
        sheet = books.invoice(unit, number, _local(house.now(), house.config.timezone).date())
        note = note_sheets.note(unit, number) if sheet is None else None
        happened = dunning.history(unit, sheet.id) if sheet is not None else []
        parts = parts_with_shares(unit, sheet.id) if sheet is not None and not sheet.contract else []
        history = _history(unit, events.About(invoice_id=sheet.id)) if sheet is not None else []
        paid = books.payments(unit, sheet.id) if sheet is not None else []
        url = house.config.web.public_url
    if note is not None:
        return _note(note, url)
    if sheet is None:
        raise _missing("invoice", number, "invoices")

    def money(minor: int) -> str:
        return str(major(minor, sheet.currency))

    return {
        "number": sheet.number,
        "status": sheet.status,
        "customer": sheet.customer,
        "issued_on": sheet.issued_on,
        "due_on": sheet.due_on,
        "currency": sheet.currency.upper(),
        "subtotal": money(sheet.subtotal),
        "discount": money(sheet.discount),
        "tax": money(sheet.tax),
        "total": money(sheet.total),
        "amount_paid": money(sheet.amount_paid),
        "amount_due": money(sheet.amount_remaining),
        "po_number": sheet.po_number,
        "contract": sheet.contract,
        "deal": sheet.deal,
        "url": f"{url}/i/{sheet.token}",
        "followed_up": [
            {"on": _local(datetime.fromisoformat(at), house.config.timezone).date(), "what": what, "state": state, "detail": detail}
            for at, what, state, detail in happened
        ],
        "lines": [_line(x, money) for x in sheet.lines],
        "payments": [{"on": p.on, "amount": money(p.amount), "method": p.method, "reference": p.reference or p.note} for p in paid],
        "parts": [
            {"name": p.label, "contract": p.contract_id, "deal": p.deal, "billed": money(s.billed), "paid": money(s.paid), "due": money(s.due)}
            for p, s in parts
        ],
        "history": history,
    }


def _note(note: NoteSheet, url: str) -> Result:
    """Return a credit note as `invoices show` prints it."""

    def money(minor: int) -> str:
        return str(major(minor, note.currency))

    ways = {way: money(getattr(note, way)) for way in ("reduced", "refunded", "credited", "out_of_band")}
    lines = [
        {"description": x.description, "quantity": "", "period": "", "amount": money(x.amount), "discount": "",
         "tax": money(sum(tax for _, tax, _ in x.taxes))}
        for x in note.lines
    ]  # fmt: skip
    return {
        "number": note.number, "type": "credit note", "corrects": note.invoice, "customer": note.customer.name, "issued_on": note.issued_on,
        "reason": note.reason, "currency": note.currency.upper(), "subtotal": money(note.subtotal), "tax": money(note.tax),
        "total": money(note.total), **ways, "contract": note.contract, "deal": note.deal, "url": f"{url}/i/{note.token}",
        "followed_up": [], "parts": [], "history": [], "lines": lines,
    }  # fmt: skip


def _line(line: books.SheetLine, money: Any) -> Result:
    return {
        **({"group": line.heading} if line.heading else {}),
        "description": line.description or line.product,
        "quantity": str(line.quantity),
        "period": "" if line.kind == "one_time" else f"{line.start.date()} to {_last_day(line.end)}",
        "amount": money(line.amount),
        "discount": money(line.discount),
        "tax": money(line.tax),
        "is_proration": line.is_proration,
    }


def contracts_list(config_path: Path, *, limit: int) -> list[Result]:
    """Return contracts, newest first; amounts in major units."""
    with app.reading_house(open_config(config_path)) as house, house.database.read() as unit:
        found = books.contracts(unit, _local(house.now(), house.config.timezone).date(), limit=limit)
    return [_contract(c) for c in found]


def _contract(listing: books.ContractListing) -> Result:
    return {
        "contract": listing.contract,
        "status": listing.status,
        "customer": listing.customer,
        "name": listing.name,
        "deal": listing.deal,
        "starts_on": listing.starts_on,
        "ends_on": listing.ends_on,
        "value": str(major(listing.value, listing.currency)),
        "currency": listing.currency.upper(),
        "next_on": listing.next_on,
    }


def _asked(intent: intents.Intent | None) -> Result:
    """Return who asked for a change and when, where a person did; a change of a deal has the deal's name."""
    return {} if intent is None else {"asked_by": intent.actor, "asked_on": intent.made_at.date()}


def contracts_show(config_path: Path, name: str) -> Result:
    """Return one contract by its id or a deal of it. Raises: RejectedError if there is none."""
    with app.reading_house(open_config(config_path)) as house, house.database.read() as unit:
        now = _local(house.now(), house.config.timezone)
        sheet = books.contract(unit, name, now, now.date())
        history = _history(unit, events.About(contract_id=sheet.listing.contract)) if sheet is not None else []
        asked = {c.id: intents.found(unit, c.id) for c in sheet.changes} if sheet is not None else {}
    if sheet is None:
        raise _missing("contract", name, "contracts")
    currency = sheet.listing.currency
    return _contract(sheet.listing) | {
        "items": [
            {
                "item": f"{view.number}: {view.item.price.description or view.item.price.product or view.item.id}",
                "quantity": str(view.quantity),
                "price": "" if view.item.price.unit_amount is None else str(major(int(view.item.price.unit_amount), currency)),
                "from": view.item.start.date() if view.item.start else "",
                "to": _last_day(view.item.end) if view.item.end else "",
            }
            for view in sheet.items
        ],
        "changes": [
            {"id": c.id, "kind": c.kind, "effective": c.effective.date(), "label": sheet.labels.get(c.id, "")} | _asked(asked.get(c.id))
            for c in sheet.changes
        ],
        "invoices": [i.number for i in sheet.invoices],
        "history": history,
    }


# ---------------------------------------------------------------- the event log


def _history(unit: Unit, about: events.About) -> list[Result]:
    """Return the latest events about something, the oldest first: when, what, and who asked."""
    found = events.listed(unit, about, limit=_HISTORY)
    return [{"at": e.at, "event": e.name, "by": e.actor, "invoice": e.number} for e in reversed(found)]


def _customer(unit: Unit, org: str, name: str | None) -> str | None:
    """Return the id of a customer named by id, account or name; an unknown name stays, for whoever refuses it."""
    try:
        return customer_named(unit, org, name) if name else name
    except RejectedError as error:
        if error.problem.code != "unknown-customer":
            raise
        return name


def events_list(config_path: Path, wanted: Mapping[str, str | None], *, before: int | None, limit: int) -> list[Result]:
    """Return events of the books, newest first; amounts in minor units.

    wanted - contract, invoice, customer, since, as people name them. Raises: RejectedError for what the books do not have.
    """
    config = open_config(config_path)
    since = wanted.get("since")
    with app.reading_house(config) as house, house.database.read() as unit:
        try:
            about = events.about(
                unit,
                house.billing.org,
                contract=wanted.get("contract"),
                invoice=wanted.get("invoice"),
                customer=_customer(unit, house.billing.org, wanted.get("customer")),
                since=parsed_instant(since, config.timezone) if since else None,
            )
        except events.UnknownError as error:
            kind = str(error)
            raise _missing(kind, str(wanted[kind]), f"{kind}s") from error
        found = events.listed(unit, about, before=before, limit=limit)
    return [
        {
            "seq": e.seq,
            "at": e.at,
            "event": e.name,
            "by": e.actor,
            "contract": e.contract_id,
            "invoice": e.number or e.invoice_id,
            "customer": e.customer_id,
            "currency": e.currency,
            "before": e.before,
            "after": e.after,
            "data": e.data,
            "id": e.id,
        }
        for e in found
    ]
