"""Discounts of a customer: coupons of the catalogue that its contracts without own discounts inherit (decision D-120).

Worked example: TEN (10 %) is given to Acme on 10 March. Its contract without discounts, billed on the first, has 10 % off from the
invoice of 1 April on; one that agreed on 20 % keeps its 20 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from connector.billing import catalogue, desk, store
from connector.billing.customers import customer_named
from connector.billing.desk import refused
from connector.billing.given import given_of, given_text
from connector.billing.intents import Engine, Handler, Request
from connector.billing.store import Event
from connector.core.bounds import MAX_DISCOUNTS
from connector.core.lines import Given
from connector.core.period import to_local
from connector.ports import IntentResult, Unit


def _new(unit: Unit, codes: Sequence[str], since: datetime) -> dict[str, Given]:
    """Return coupons of the catalogue as they are given on a day. Raises: RejectedError with every code that cannot be given."""
    found = catalogue.coupons(unit, codes)
    wrong = [f"there is no coupon {c}" if c not in found else f"the coupon {c} is no longer given" for c in codes if c not in found or not found[c].is_active]
    if wrong:
        message = "; ".join(wrong)
        raise refused("unknown-coupon", f"{message[:1].upper()}{message[1:]}.", "Import it with `connector import catalog`, or correct the code.")
    return {c: Given(coupon=found[c].coupon, since=since, currency=found[c].currency) for c in codes}


def _next_day(unit: Unit, customer_id: str, today: date) -> date:
    """Return today, or tomorrow where a period that begins today is on an invoice already: it would use up the coupon in vain."""
    sql = (
        "SELECT 1 FROM contract t JOIN line l ON l.contract_id = t.id AND l.service_end > ? WHERE t.customer_id = ? AND l.service_start >= ?"
        " AND l.service_start < ? AND l.kind = 'charge' LIMIT 1"
    )
    tomorrow = today + timedelta(days=1)
    is_billed = unit.query(sql, (today.isoformat(), customer_id, today.isoformat(), tomorrow.isoformat()))
    return tomorrow if is_billed else today


def discounted(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Give a customer these discounts in place of those it has (data: customer, coupons; optional since).

    What it has already stays as it was given; what is new counts for periods from today on, or from tomorrow where today's are
    billed. Raises: RejectedError for an unknown customer or coupon.
    """
    customer_id = customer_named(unit, engine.org, str(request.data["customer"]))
    (customer,) = store.customers(unit, ids=[customer_id])
    codes = [str(c) for c in request.data["coupons"]]
    if len(set(codes)) < len(codes) or len(codes) > MAX_DISCOUNTS:
        raise refused("bad-discounts", f"A coupon stands twice, or there are more than {MAX_DISCOUNTS}.", "List each once.")
    said = request.data.get("since")
    since = date.fromisoformat(said) if said else _next_day(unit, customer_id, to_local(request.now, engine.timezone).date())
    had = {g.coupon.id: g for g in given_of(customer.given)}
    fresh = _new(unit, [c for c in codes if c not in had], datetime(since.year, since.month, since.day))  # noqa: DTZ001 - local
    given = [had[c] if c in had else fresh[c] for c in codes]
    before, after = customer.given, given_text(given)
    at = store.at_text(request.now)
    unit.execute("UPDATE customer SET discounts = ?, updated_at = ? WHERE id = ?", (after, at, customer_id))
    result: dict[str, Any] = {
        "customer": customer_id, "name": customer.details.name,
        "discounts": [{"coupon": g.coupon.id, "since": g.since.date().isoformat()} for g in given],
    }  # fmt: skip
    event = Event(
        id=desk.event_id(request.key), actor=request.actor, name="customer.discounted", contract_id="", customer_id=customer_id,
        data=store.event_text(result), before=f'{{"discounts":{before}}}', after=f'{{"discounts":{after}}}',
    )  # fmt: skip
    store.insert_events(unit, [event], at)
    contracts = [row[0] for row in unit.query("SELECT id FROM contract WHERE customer_id = ? AND next_due_at IS NOT NULL", (customer_id,))]
    return IntentResult(result=result, deals=tuple(store.deals_of_contracts(unit, contracts)))


HANDLED: dict[str, Handler] = {"customer.discount": desk.once(discounted)}
