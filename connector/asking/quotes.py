"""Requests about quotes, and the quotes of the books to read: a file in the vocabulary of scenarios becomes a draft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from connector import app
from connector.asking.shared import TOLD, bad, file_of
from connector.billing import offering, quotes
from connector.billing.contracting import contract_named
from connector.core.money import major
from connector.core.period import to_local, to_utc
from connector.core.terms import change_to_data, terms_to_data
from connector.errors import ConfigError, RejectedError, Where
from connector.kit.yamlpos import Located
from connector.mapping.language import payment_days
from connector.offers import QuoteLine, QuoteSum, QuoteView
from connector.simulate.actions import read_change, read_scenario
from connector.simulate.values import Complaint
from connector.verbs import Result, open_config, preview_invoices

_SOLD = ("prices", "coupons", "tax_rates")
_KEYS = ("label", "customer", "currency", "po_number", "memo", "quote", *_SOLD)
_WHO = ("account", "name", "email", "address", "tax_id", "tax_exempt", "language")
_PLACE = ("line1", "city", "postal_code", "state", "country")
_FAR = "2999-12-31"


# ---------------------------------------------------------------- what a file says


def _data(located: Located, file: Path, books: app.Books) -> Result:
    """Return the request that a file describes. Raises: ConfigError with every problem of the file."""
    tree: Mapping[str, Any] = located.value
    complaints = [
        Complaint(code="unknown-key", path=(key,), message=f"A quote has no key {key}.", hint=f"Known: {', '.join(_KEYS)}.", at_key=True)
        for key in tree
        if key not in _KEYS
    ]
    quote = tree.get("quote")
    data: Result = {"label": str(tree.get("label") or file.stem), "customer": _customer(tree, complaints)}
    if not isinstance(quote, dict):
        complaints.append(Complaint(code="missing-key", path=(), message="The file has no `quote:`.", hint="Write quote: {contract: {...}}."))
    elif "changes" in quote:
        data |= _changed(tree, quote, complaints, books)
    else:
        data |= _new(tree, quote, complaints, books)
    if complaints:
        raise ConfigError([located.problem(c.code, c.path, c.message, c.hint, at_key=c.at_key) for c in complaints])
    return data


def _customer(tree: Mapping[str, Any], complaints: list[Complaint]) -> Result:
    who = tree.get("customer")
    if who is None:
        return {}
    for known, node, path in ((_WHO, who, ("customer",)), (_PLACE, who.get("address") if isinstance(who, dict) else None, ("customer", "address"))):
        if node is not None and not isinstance(node, dict):
            complaints.append(Complaint(code="wrong-type", path=path, message=f"`{path[-1]}` is a mapping.", hint=f"Known: {', '.join(known)}."))
            return {}
        for key in node or {}:
            if key not in known:
                text, hint = f"There is no key {key} here.", f"Known: {', '.join(known)}."
                complaints.append(Complaint(code="unknown-key", path=(*path, key), message=text, hint=hint, at_key=True))
    if who.get("tax_exempt") not in (None, "none", "exempt", "reverse"):
        text = f"`tax_exempt` cannot be {who['tax_exempt']!r}."
        complaints.append(Complaint(code="bad-value", path=("customer", "tax_exempt"), message=text, hint="Write none, exempt or reverse."))
    return dict(who)


def _new(tree: Mapping[str, Any], quote: Mapping[str, Any], complaints: list[Complaint], books: app.Books) -> Result:
    """Return a quote that starts a contract, read as a scenario with the settings of the configuration."""
    config, billing = books.config, books.config.billing
    contract = quote.get("contract")
    if isinstance(contract, dict) and "collection_method" not in contract:
        days = payment_days(billing.payment_terms)
        way = {"collection_method": "charge_automatically"} if days == "automatic" else {"collection_method": "send_invoice", "days_until_due": days}
        quote = {**quote, "contract": {**way, **contract}}
    settings = {"proration": billing.proration, "tax_rounding": billing.tax_rounding, "cancellation_day": billing.cancellation_day}
    scenario, reader = read_scenario(
        {"timezone": config.timezone, "settings": settings, "until": _FAR, "quote": quote, "prices": tree.get("prices") or {}}
        | {key: tree[key] for key in ("currency", "coupons", "tax_rates") if key in tree}
    )  # fmt: skip
    complaints += reader.complaints
    if scenario is None or reader.complaints:
        return {}
    terms = scenario.terms
    how: Result = {"collection_method": terms.collection_method, "days_until_due": terms.days_until_due}
    how |= {key: str(tree[key]) for key in ("po_number", "memo") if tree.get(key)}
    ends = None if scenario.expires_at is None else to_utc(scenario.expires_at, config.timezone).isoformat()
    return {"kind": "new", "how": how, "terms": terms_to_data(terms), "expires_at": ends}


def _changed(tree: Mapping[str, Any], quote: Mapping[str, Any], complaints: list[Complaint], books: app.Books) -> Result:
    """Return a quote that changes a contract of the books (`changes:` names it), read as an action of a scenario."""
    with books.database.read() as unit:
        contract = contract_named(unit, books.billing.org, str(quote["changes"]))
    said = {k: v for k, v in quote.items() if k not in ("changes", "expires_at")} | {k: tree[k] for k in _SOLD if k in tree}
    change, found = read_change(said, contract.contract, to_local(books.now(), contract.terms.timezone))
    complaints += [c if c.path and c.path[0] in _SOLD else replace(c, path=("quote", *c.path)) for c in found]
    if change is None or found:
        return {}
    ends = quote.get("expires_at")
    try:
        at = None if ends is None else to_utc(datetime.fromisoformat(str(ends)), contract.terms.timezone).isoformat()
    except ValueError:
        complaints.append(Complaint(code="bad-value", path=("quote", "expires_at"), message=f"{ends} is no day.", hint="Write 2026-07-01."))
        return {}
    return {"kind": change.kind, "contract": contract.id, "change": change_to_data(change), "expires_at": at}


# ---------------------------------------------------------------- requests


def create(config_path: Path, file: Path, *, is_dry: bool) -> Result:
    """Make a draft of what a file offers; *is_dry* only says what it comes to. Raises: ConfigError, RejectedError."""
    located = file_of(file, wanted="customer, currency, prices and quote: {contract: ...}")
    config = open_config(config_path)
    with app.reading_house(config) as books:
        data = _data(located, file, books)
        with books.database.read() as unit:
            draft = offering.drafted(data, books.billing, unit, books.now())
    if is_dry:
        return {"text": "Nothing was written. This would be the quote:", **quote_data(draft, config.timezone)}
    done = app.request(config, "quotes create", "quote.create", data)
    made = show(config_path, str(done["quote"]))
    return {"text": f"Draft {done['quote']} is made; `connector quotes send {done['quote']}` numbers and opens it.", **made}


def send(config_path: Path, name: str) -> Result:
    """Open a draft."""
    config = open_config(config_path)
    done = app.request(config, "quotes send", "quote.send", {"quote": name})
    made = show(config_path, str(done["quote"]))
    until = f" until {made['accept_until']}" if made["accept_until"] else ""
    how = "It is mailed to the customer" if config.quotes.is_sent else f"Send the customer the link {made['url']}"
    text = f"{done['number']} is open and can be accepted{until}. {how}; an answer given otherwise is recorded with"
    return {"text": f"{text} `connector quotes accept {done['number']} --name NAME` or `connector quotes decline {done['number']}`.", **made}


def accept(config_path: Path, name: str, *, by: str, title: str, is_dry: bool) -> Result:
    """Record that a customer accepted an open quote, and carry it out; *is_dry* shows the invoices that would follow."""
    config = open_config(config_path)
    if is_dry:
        return _dry_accept(config_path, name)
    done = app.request(config, "quotes accept", "quote.accept", {"quote": name, "name": by, "title": title})
    issued = [{**i, "total": f"{major(i['total'], i['currency'])} {i['currency'].upper()}"} for i in done["invoices"]]
    if not done["is_ours"]:
        when = "when its opportunity is won" if config.quotes.start == "on_won" else "at the next round (`connector sync`)"
        text = f"{done['number']} is accepted by {by}. Its deal is billed {when}, and the CRM is told."
    else:
        text = f"{done['number']} is accepted by {by}: contract {done['contract']}."
    return {"text": text, **show(config_path, str(done["quote"])), "issued": issued}


def _dry_accept(config_path: Path, name: str) -> Result:
    config = open_config(config_path)
    with app.reading_house(config) as books, books.database.read() as unit:
        view = quotes.named(unit, books.billing.org, name)
        problem = offering.why_refused(view, books.now())
        preview = books.billing.preview(offering.command_of(view, books.billing.org), unit, books.now())
    problem = problem or preview.problem
    if problem is not None:
        raise RejectedError(replace(problem, where=Where()))
    shown = quote_data(view, config.timezone)
    return {"text": "Nothing was written. It could be accepted.", **shown, "invoices": preview_invoices(preview, view.currency)}


def decline(config_path: Path, name: str, *, reason: str) -> Result:
    """Record that a customer declined an open quote."""
    done = app.request(open_config(config_path), "quotes decline", "quote.decline", {"quote": name, "reason": reason})
    return {"text": f"{done['number']} is declined. {TOLD}", **show(config_path, str(done["quote"]))}


def cancel(config_path: Path, name: str, *, reason: str) -> Result:
    """Take back a quote that nobody accepted yet."""
    done = app.request(open_config(config_path), "quotes cancel", "quote.cancel", {"quote": name, "reason": reason})
    return {"text": f"{done['number'] or done['quote']} is canceled. {TOLD}", **show(config_path, str(done["quote"]))}


# ---------------------------------------------------------------- reading


def listed(config_path: Path, *, status: str | None, limit: int) -> list[Result]:
    """Return quotes, newest first. Raises: ConfigError for a status that does not exist."""
    known = ("draft", "open", "accepted", "canceled", "expired", "outdated")
    if status is not None and status not in known:
        raise bad(f"No quote is ever {status}.", f"Choose one of: {', '.join(known)}.")
    config = open_config(config_path)
    with app.reading_house(config) as books, books.database.read() as unit:
        found = quotes.listed(unit, status=status, limit=limit)
    return [_head(view, config.timezone) for view in found]


def show(config_path: Path, name: str) -> Result:
    """Return one quote with what it says. Raises: RejectedError if there is none of this name."""
    config = open_config(config_path)
    with app.reading_house(config) as books, books.database.read() as unit:
        view = quotes.named(unit, books.billing.org, name)
        every = quotes.revisions(unit, books.billing.org, view)
    history = [{"revision": v.revision, "status": v.status, "opened_at": v.opened_at, "due_now": str(major(v.due_now, v.currency))} for v in every]
    url = f"{config.web.public_url}/q/{view.token}" if view.token else None
    return quote_data(view, config.timezone) | {"url": url, "revisions": history}


def _until(view: QuoteView, timezone: str) -> Any:
    """Return the last day on which a quote can be accepted."""
    return None if view.expires_at is None else to_local(view.expires_at.astimezone(UTC) - timedelta(seconds=1), timezone).date()


def _head(view: QuoteView, timezone: str) -> Result:
    def money(minor: int) -> str:
        return str(major(minor, view.currency))

    return {
        "quote": view.id, "number": view.number, "revision": view.revision, "status": view.status, "name": view.label,
        "customer": view.customer.name, "kind": view.kind, "due_now": money(view.due_now), "per_period": money(view.per_period),
        "value": money(view.value), "currency": view.currency.upper(), "accept_until": _until(view, timezone), "deal": view.deal,
    }  # fmt: skip


def quote_data(view: QuoteView, timezone: str) -> Result:
    """Return a quote with its lines and sums, amounts in major units."""

    def money(minor: int) -> str:
        return str(major(minor, view.currency))

    def line(x: QuoteLine) -> Result:
        amounts = {"amount": money(x.amount), "discount": money(x.discount), "tax": money(x.tax), "total": money(x.total)}
        return {"description": x.description, "quantity": x.quantity, "start": x.start, "end": x.end, "interval": x.interval} | amounts

    def whole(x: QuoteSum) -> Result:
        amounts = {"subtotal": money(x.subtotal), "discount": money(x.discount), "tax": money(x.tax), "total": money(x.total)}
        return {"interval": x.interval} | amounts

    sheet = view.sheet
    return _head(view, timezone) | {
        "starts_on": sheet.starts_on, "ends_on": sheet.ends_on, "first_invoice_on": sheet.first_on, "first_invoice": whole(sheet.due),
        "lines": [line(x) for x in sheet.first],
        "stages": [
            {"start": s.start, "end": s.end, "lines": [line(x) for x in s.lines], "periods": [whole(p) for p in s.periods]} for s in sheet.stages
        ],
        "customer_details": asdict(view.customer), "contract": view.contract_id, "changes": view.base_contract, "reason": view.reason,
        "accepted_by": view.accepted_by, "accepted_title": view.accepted_title, "accepted_at": view.accepted_at, "accepted_via": view.accepted_via,
    }  # fmt: skip
