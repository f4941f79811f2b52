"""What people ask of quotes by command and page: made, sent, accepted, declined, canceled (decision D-35).

A quote that was made here is carried out at once when it is accepted. One that lives in the CRM is marked as accepted, and its
deal is decided in the next round, from the terms that were accepted; so acceptance on a page, by command and in the CRM lead to
the same command (decision D-20).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from connector.billing import desk, quotes, store
from connector.billing.desk import refused
from connector.billing.following import Scene, Step, mail_quotes, revision_of, save_steps
from connector.billing.intents import Engine, Handler, Request
from connector.billing.quoting import Figured, figures
from connector.core.terms import change_from_data, terms_from_data
from connector.errors import Problem, RejectedError
from connector.kit.db import new_id
from connector.offers import Offer, QuoteView, why_not
from connector.ports import Command, CustomerDetails, HowBilled, IntentResult, Unit


def _customer(engine: Engine, unit: Unit, data: Mapping[str, Any]) -> CustomerDetails:
    """Return who is quoted: the account of the books, with what the request says of it. Raises: RejectedError if unknown."""
    account = str(data.get("account") or "")
    known = store.customers(unit, org=engine.org, accounts=[account]) if account else []
    base = known[0].details if known else CustomerDetails(account=account, name="")
    said = {k: v for k, v in data.items() if k not in ("account", "address") and v is not None}
    place = replace(base.address, **{k: str(v) for k, v in (data.get("address") or {}).items()}) if data.get("address") else base.address
    details = replace(base, address=place, **said)
    if not account or not details.name or not details.email:
        raise refused(
            "unknown-customer", f"The books have no customer for the account {account}." if account else "The quote names no customer.",
            "Say customer: account, name, email and address.",
        )  # fmt: skip
    return details


def create(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Make a draft (data: label, customer, how, and terms or contract and change as data, expires_at): priced, without a number."""
    draft = drafted(request.data, engine, unit, request.now)
    return _done(request, engine, unit, [Step(name="", before=None, after=draft)], "quote.created")


def drafted(data: Mapping[str, Any], engine: Engine, unit: Unit, at: datetime) -> QuoteView:
    """Return the draft that `create` would make; writes nothing. Raises: RejectedError where it cannot be quoted."""
    now = quotes.utc(at)
    offer = Offer(
        deal="", record="", label=str(data["label"]), asked="preview", kind=data.get("kind", "new"), how=HowBilled(**data.get("how") or {}),
        terms=terms_from_data(data["terms"]) if data.get("terms") else None, expires_at=_instant(data.get("expires_at")),
        change=change_from_data(data["change"]) if data.get("change") else None, contract_id=data.get("contract"),
    )  # fmt: skip
    if offer.contract_id:
        (held,) = store.contracts(unit, [offer.contract_id])
        (who,) = store.customers(unit, ids=[held.customer_id])
        offer = replace(offer, customer=who.details, how=held.how)
    else:
        offer = replace(offer, customer=_customer(engine, unit, data.get("customer") or {}))
    quote_id = new_id("qt", now)
    offer = replace(offer, deal=quote_id, record=quote_id)
    made = _figured(engine, unit, offer, now)
    scene = Scene(made=made, now=now, timezone=engine.timezone, expires_after_s=engine.quote_expiry_s)
    return replace(revision_of(None, offer, scene, "draft"), id=quote_id, asked="")


def _instant(text: Any) -> datetime | None:
    return datetime.fromisoformat(str(text)) if text else None


def _figured(engine: Engine, unit: Unit, offer: Offer, now: datetime) -> Figured:
    command = _command(offer, key="quote", deal=f"quote {offer.record}")
    found = figures(engine, unit, [command], now)["quote"]
    if isinstance(found, Problem):
        raise RejectedError(replace(found, message=found.message.replace("Not billed", "Not quoted", 1)))
    return found


def _command(offer: Offer, *, key: str, deal: str) -> Command:
    assert offer.customer is not None
    return Command(
        key=key, kind="create" if offer.terms is not None else "change", deal=deal, label=offer.label, customer=offer.customer, how=offer.how,
        terms=offer.terms, change=offer.change, contract_id=offer.contract_id,
    )  # fmt: skip


def offer_of(view: QuoteView) -> Offer:
    """Return what a quote offers, as it was quoted."""
    data = json.loads(view.data)
    return Offer(
        deal=view.deal, record=view.record, label=view.label, asked="preview", kind=view.kind, customer=view.customer, how=view.how,
        terms=terms_from_data(data) if view.kind == "new" else None, change=change_from_data(data) if view.kind != "new" else None,
        contract_id=view.base_contract, digest=view.digest, expires_at=view.expires_at,
    )  # fmt: skip


def command_of(view: QuoteView, org: str) -> Command:
    """Return the command that an accepted quote is."""
    return _command(offer_of(view), key=f"{org}/{view.deal}/r1", deal=view.deal)


def send(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Open a draft that was made here: it has a number and a link from now on, and can be accepted until it expires."""
    view, now = quotes.named(unit, engine.org, str(request.data["quote"])), quotes.utc(request.now)
    if not _is_ours(view) and view.status != "open":
        raise refused("quote-in-crm", f"Quote {view.number or view.label} lives in the CRM.", "Present it there: its status decides.")
    if view.status == "open":
        if engine.mailing.has_quotes:
            mail_quotes(unit, engine, [view], now)
        return _done(request, engine, unit, [Step(name="", before=view, after=view)], "quote.sent")
    if view.status not in ("draft", "expired", "outdated"):
        raise RejectedError(_why(view, now))
    offer = offer_of(view)
    ends = offer.expires_at if view.status == "draft" else None
    if ends is not None and ends <= now:
        raise refused("quote-expired", f"The last day to accept {view.label} has passed.", "Create it again with a later `expires_at`.")
    scene = Scene(made=_figured(engine, unit, offer, now), now=now, timezone=engine.timezone, expires_after_s=engine.quote_expiry_s)
    opened = replace(revision_of(view, replace(offer, expires_at=ends), scene, "open"), asked="")
    if view.opened_at is None:
        return _done(request, engine, unit, [Step(name="", before=view, after=opened)], "quote.opened")
    old = Step(name="", before=view, after=replace(view, status="replaced"))
    new = Step(name="", before=None, after=replace(opened, id=new_id("qt", now), revision=view.revision + 1))
    return _done(request, engine, unit, [old, new], "quote.revised")


def _issued(unit: Unit, contract_id: str | None, request: Request) -> list[tuple[Any, ...]]:
    """Return (number, total, currency) of a contract's invoices since the second of the request."""
    sql = "SELECT number, total, currency FROM invoice WHERE contract_id = ? AND created_at >= ? AND number IS NOT NULL ORDER BY id"
    return unit.query(sql, (contract_id, store.at_text(request.now))) if contract_id else []


def _is_ours(view: QuoteView) -> bool:
    return view.deal == view.record and view.record.startswith("qt_")


def _why(view: QuoteView, now: datetime) -> Problem:
    problem = why_not(view, now)
    if problem is None:
        problem = Problem(code="quote-open", message=f"Quote {view.number} is open.", hint="Cancel it first.")
    if _is_ours(view) and problem.code in ("quote-expired", "quote-outdated", "quote-draft"):
        problem = replace(problem, hint=f"Send it (again): `connector quotes send {view.number or view.id}`.")
    return problem


def why_refused(view: QuoteView, now: datetime) -> Problem | None:
    """Return why a quote cannot be accepted, with what to do about it; None: it can."""
    return _why(view, now) if why_not(view, now) is not None else None


def accept(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Accept an open quote (data: quote, name, title, and of a page address, revision and via); what it offers is carried out."""
    data, now = request.data, quotes.utc(request.now)
    view = _open(request, engine, unit)
    name = str(data.get("name") or "").strip()
    if not name:
        raise refused("no-name", "The acceptance names nobody.", "Say who accepts.")
    accepted = replace(
        view, status="accepted", accepted_at=_instant(data.get("at")) or now, accepted_by=name, accepted_title=str(data.get("title") or ""),
        accepted_from=str(data.get("address") or ""), accepted_via=str(data.get("via") or request.actor).partition(":")[0], reason="",
    )  # fmt: skip
    contract_id, known = None, _issued(unit, view.base_contract, request)
    if _is_ours(view):
        (outcome,) = engine.apply([command_of(view, engine.org)], unit, request.now, hold=False)
        if outcome.problem is not None:
            raise RejectedError(outcome.problem)
        contract_id = outcome.contract_id
    return _done(request, engine, unit, [Step(name="", before=view, after=replace(accepted, contract_id=contract_id))], "quote.accepted", known)


def _open(request: Request, engine: Engine, unit: Unit) -> QuoteView:
    """Return the quote that a request means. Raises: RejectedError where it cannot be accepted or declined any more."""
    view = quotes.named(unit, engine.org, str(request.data["quote"]))
    shown = request.data.get("revision")
    if why_not(view, request.now) is not None:
        raise RejectedError(_why(view, request.now))
    if shown is not None and int(shown) != view.revision:
        raise refused("quote-revised", f"Quote {view.number} was changed meanwhile: it is revision {view.revision} now.", "Read it again.")
    return view


def decline(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Decline an open quote (data: quote, reason, and of a page revision)."""
    view = _open(request, engine, unit)
    after = replace(view, status="canceled", reason=str(request.data.get("reason") or ""))
    return _done(request, engine, unit, [Step(name="", before=view, after=after)], "quote.declined")


def cancel(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Take back a quote that nobody accepted yet (data: quote, reason)."""
    view = quotes.named(unit, engine.org, str(request.data["quote"]))
    if view.status not in ("draft", "open", "expired", "outdated"):
        raise RejectedError(_why(view, request.now))
    after = replace(view, status="canceled", reason=str(request.data.get("reason") or ""))
    return _done(request, engine, unit, [Step(name="", before=view, after=after)], "quote.canceled")


def _done(
    request: Request, engine: Engine, unit: Unit, steps: list[Step], name: str, known: Sequence[tuple[Any, ...]] = ()
) -> IntentResult:  # fmt: skip
    """Save the steps, leave the one event of the request, and return what whoever asked is told; *known* invoices were there before."""
    before, now = steps[0].before, quotes.utc(request.now)
    save_steps(unit, engine, [(request.actor, s) for s in steps], now, is_moved=True)
    view = quotes.named(unit, engine.org, steps[-1].after.id)
    made = _issued(unit, view.contract_id, request)[len(known) :]
    result = {
        "quote": view.id, "number": view.number, "revision": view.revision, "status": view.status, "contract": view.contract_id, "token": view.token,
        "is_ours": _is_ours(view), "currency": view.currency, "due_now": view.due_now, "per_period": view.per_period, "value": view.value,
        "invoices": [{"number": n, "total": t, "currency": c} for n, t, c in made],
    }  # fmt: skip
    unit.execute(
        "INSERT INTO event (id, made_at, actor, name, contract_id, invoice_id, data, before, after) VALUES (?,?,?,?,?,?,?,?,?)",
        (
            desk.event_id(request.key), store.at_text(now), request.actor, name, view.contract_id or "", None, store.event_text(result),
            store.event_text(quotes.state(before)) if before is not None else "", store.event_text(quotes.state(view)),
        ),
    )  # fmt: skip
    return IntentResult(result=result)


HANDLED: dict[str, Handler] = {
    f"quote.{name}": desk.once(handler)
    for name, handler in (("create", create), ("send", send), ("accept", accept), ("decline", decline), ("cancel", cancel))
}
