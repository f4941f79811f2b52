"""The customer portal over the house: what a link shows, and what becomes of what a customer asks for there.

Nothing is done by the page itself. Before a change of a contract the customer sees what it will cost, by the same function as the
invoice; when it agrees, a request is kept and the daemon's next round carries it out (decision D-35). At most `MOST_WAITING`
requests of one customer wait at a time.

Where Stripe bills, the link opens Stripe's own portal instead (`Door`): each visit a fresh session, a bounded number of them a minute.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from connector import app
from connector.billing import methods
from connector.billing.books import ContractSheet, InvoiceListing, ItemView
from connector.billing.contracting import command_for, contract_named
from connector.billing.portal import FIELDS, PortalSheet, Visitor, flat_details, open_invoices, portal_sheet, visitor
from connector.billing.stripe_backend.portal import Sessions, known_customer
from connector.core.period import to_local
from connector.core.terms import Change, ItemChange, change_to_data
from connector.documents import formats
from connector.documents.texts import texts_in
from connector.documents.views import InvoiceStatus, Party
from connector.errors import HaltError, Problem, RejectedError, RetryableError
from connector.kit import observe
from connector.ports import Preview, Unit
from connector.sync import intents
from connector.web.views import (
    PortalAnswer,
    PortalAsk,
    PortalContract,
    PortalDoor,
    PortalField,
    PortalInvoice,
    PortalItem,
    PortalPage,
    PortalRequest,
)

MOST_WAITING = 20
VISITS, WITHIN = 10, timedelta(minutes=1)
"""How often one link may open a session of Stripe's portal."""
MOST_LINKS = 10_000  # whose visits are remembered
REQUESTS_SHOWN = 5
_KINDS = {"customer.details": "details", "invoice.charge": "pay", "customer.payment_method": "method"}
_QUANTITY = re.compile(r"[0-9]{1,7}(?:[.,][0-9]{1,4})?")
_MOST_QUANTITY = Decimal(1_000_000)
_STATUSES: Mapping[str, InvoiceStatus] = {
    "open": "open", "past_due": "past_due", "paid": "paid", "void": "void", "uncollectible": "uncollectible",
}  # fmt: skip


def page(house: app.House, token: str) -> PortalPage | None:
    """Return what a link shows, every amount and date written out in the customer's language; None: nobody's link."""
    now = house.clock.now()
    with house.database.read() as unit:
        who = visitor(unit, token)
        if who is None:
            return None
        sheet = portal_sheet(unit, who, house.config.timezone, now)
        asked = intents.of_actor(unit, _actor(who), REQUESTS_SHOWN)
        method = methods.labels_of(unit, [who.customer_id]).get(who.customer_id, "")
    return _page(house, sheet, asked, method)


def ask(house: app.House, token: str, asked: PortalAsk) -> PortalAnswer | None:
    """Return what becomes of what a customer asks: what it would cost, why it cannot be, or that it is kept; None: nobody's link."""
    now = house.clock.now()
    with house.database.read() as unit:
        who = visitor(unit, token)
        if who is None:
            return None
        words = texts_in(_language(house, who))
        allowed = () if house.config.billing.backend == "stripe" else house.config.portal.allow
        if asked.what not in allowed:
            return PortalAnswer(language=_language(house, who), complaint=words["portal_not_allowed"])
        if intents.waiting_of(unit, _actor(who)) >= MOST_WAITING:
            return PortalAnswer(language=_language(house, who), complaint=words["portal_too_many"])
        try:
            answer, kind, data = _ASKED[asked.what](house, unit, who, asked, now)
        except RejectedError:  # its words are for operators
            return PortalAnswer(language=_language(house, who), complaint=words["portal_not_allowed"])
    if answer is not None:
        return answer
    with house.database.transaction() as unit:
        intents.submit(unit, kind, data, actor=_actor(who), now=now)
    return PortalAnswer(language=_language(house, who), is_kept=True)


Asked = tuple[PortalAnswer | None, str, Mapping[str, Any]]


def _actor(who: Visitor) -> str:
    return f"portal:{who.customer_id}"


def _language(house: app.House, who: Visitor) -> str:
    return who.details.language or house.config.crm.language


# ---------------------------------------------------------------- where another backend has a portal


class Door:
    """Behind a link: our page, or the way to Stripe's portal; it counts how often a link is followed, and keeps its door to Stripe."""

    def __init__(self) -> None:
        self._visits: OrderedDict[str, deque[datetime]] = OrderedDict()
        self._opened: tuple[app.House, Sessions] | None = None
        self._lock = threading.Lock()

    def open(self, house: app.House, token: str) -> PortalPage | PortalDoor | None:
        """Return what is behind a link; None: nobody's link."""
        if house.config.billing.backend != "stripe":
            return page(house, token)
        with house.database.read() as unit:
            who = visitor(unit, token)
            customer = known_customer(unit, who.customer_id) if who is not None else None
        if who is None:
            return None
        language, now = _language(house, who), house.clock.now()
        if customer is None:
            return PortalDoor(language=language, why="early")
        if not self._may_enter(token, now):
            return PortalDoor(language=language, why="often")
        try:
            url = self._sessions(house).url(house.database, customer, language=language, now=now)
        except (RetryableError, RejectedError, HaltError) as error:
            observe.log("portal.closed", error=str(error))
            return PortalDoor(language=language, why="closed")
        return PortalDoor(language=language, url=url)

    def _may_enter(self, token: str, now: datetime) -> bool:
        """Count a visit; return whether the link was followed no more than `VISITS` times within `WITHIN`."""
        with self._lock:
            visits = self._visits.setdefault(token, deque())
            self._visits.move_to_end(token)
            while len(self._visits) > MOST_LINKS:
                self._visits.popitem(last=False)
            while visits and visits[0] <= now - WITHIN:
                visits.popleft()
            if len(visits) >= VISITS:
                return False
            visits.append(now)
            return True

    def _sessions(self, house: app.House) -> Sessions:
        """Return the door to Stripe of this house, which a reload of the configuration makes anew."""
        with self._lock:
            if self._opened is None or self._opened[0] is not house:
                self._opened = (house, Sessions(app.portal_calls(house), house.billing.org, house.config.portal.allow))
            return self._opened[1]


# ---------------------------------------------------------------- what can be asked


def _details(house: app.House, unit: Unit, who: Visitor, asked: PortalAsk, now: datetime) -> Asked:
    del unit, now
    words = texts_in(_language(house, who))
    given = {f: " ".join(asked.values.get(f, "").split()) for f in FIELDS if f in asked.values}
    if not given.get("name") or "@" not in given.get("email", ""):
        return PortalAnswer(language=_language(house, who), complaint=words["portal_details_missing"]), "", {}
    return None, "customer.details", {"customer": who.customer_id, **given}


def _cancel(house: app.House, unit: Unit, who: Visitor, asked: PortalAsk, now: datetime) -> Asked:
    contract = contract_named(unit, house.billing.org, asked.values.get("contract", ""))
    if contract.customer_id != who.customer_id:
        return _refused(house, who, "portal_not_allowed")
    local = to_local(now, contract.terms.timezone)
    change = Change(id="it_preview", kind="cancel", effective=local, made_at=local, when="period_end")
    return _change(house, unit, who, asked, change, now)


def _quantity(house: app.House, unit: Unit, who: Visitor, asked: PortalAsk, now: datetime) -> Asked:
    contract = contract_named(unit, house.billing.org, asked.values.get("contract", ""))
    if contract.customer_id != who.customer_id:
        return _refused(house, who, "portal_not_allowed")
    local = to_local(now, contract.terms.timezone)
    sheet = portal_sheet(unit, who, house.config.timezone, now)
    running = next((c for c in sheet.contracts if c.listing.contract == contract.id), None)
    found = next((i for i in running.items if str(i.number) == asked.values.get("item")), None) if running else None
    written = _QUANTITY.fullmatch(asked.values.get("quantity", "").strip())
    wanted = Decimal(written[0].replace(",", ".")) if written else Decimal(0)
    if found is None or found.quantity is None or not _is_changeable(found) or not 0 < wanted <= _MOST_QUANTITY:
        return _refused(house, who, "portal_bad_quantity")
    if wanted == found.quantity:
        return _refused(house, who, "portal_same_quantity")
    step = ItemChange(op="delta", item=replace(found.item, quantity=wanted - found.quantity), item_id=found.item.id)
    change = Change(id="it_preview", kind="amend", effective=local, made_at=local, items=(step,), proration_behavior="always_invoice")
    return _change(house, unit, who, asked, change, now)


def _change(house: app.House, unit: Unit, who: Visitor, asked: PortalAsk, change: Change, now: datetime) -> Asked:
    """Return what a change would cost, or, when the customer has agreed, the request to make it."""
    contract = contract_named(unit, house.billing.org, asked.values["contract"])
    label = f"customer portal: {asked.what}"  # what reps and operators read of it
    preview = house.billing.preview(command_for(unit, contract, change, key="it_preview", label=label), unit, now)
    if preview.problem is not None:
        return PortalAnswer(language=_language(house, who), complaint=_plain(preview.problem)), "", {}
    if not asked.is_agreed:
        return _consent(house, who, asked, preview, now), "", {}
    return None, "contract.change", {"contract": contract.id, "label": label, "change": change_to_data(change)}


def _consent(house: app.House, who: Visitor, asked: PortalAsk, preview: Preview, now: datetime) -> PortalAnswer:
    language = _language(house, who)
    words = texts_in(language)
    today = now.astimezone(ZoneInfo(house.config.timezone)).date()
    lines = []
    for made in preview.invoices[:3]:
        amount = formats.amount_text(made.total, preview.currency, language)
        key = "portal_charged_now" if made.on <= today else "portal_charged_then"
        lines.append(words[key].format(amount=amount, day=formats.date_text(made.on, language)))
    if not preview.invoices:
        lines.append(words["portal_nothing_more"])
    return PortalAnswer(language=language, title=words[f"portal_label_{asked.what}"], lines=tuple(lines), values=dict(asked.values), what=asked.what)


def _refused(house: app.House, who: Visitor, key: str) -> Asked:
    language = _language(house, who)
    return PortalAnswer(language=language, complaint=texts_in(language)[key]), "", {}


def _plain(problem: Problem) -> str:
    return f"{problem.message} {problem.hint}".strip()


def _pay(house: app.House, unit: Unit, who: Visitor, asked: PortalAsk, now: datetime) -> Asked:
    del now
    number = asked.values.get("invoice", "")
    if number not in {i.number for i in _payable(house, unit, who)}:
        return _refused(house, who, "portal_not_payable")
    return None, "invoice.charge", {"invoice": number, "customer": who.customer_id}


def _payable(house: app.House, unit: Unit, who: Visitor) -> list[InvoiceListing]:
    """Return the open invoices that can be charged to the customer's stored method."""
    if not methods.labels_of(unit, [who.customer_id]) or not house.billing.payments:
        return []
    return [i for i in open_invoices(unit, who) if i.amount_open > 0]


def _method(house: app.House, unit: Unit, who: Visitor, asked: PortalAsk, now: datetime) -> Asked:
    del unit, now
    wanted = asked.values.get("method", "")
    if wanted and wanted not in _choices(house):
        return _refused(house, who, "portal_not_allowed")
    return None, "customer.payment_method", {"customer": who.customer_id, "method": wanted}


def _choices(house: app.House) -> list[str]:
    return [f"{kind}:{name}" for kind, payments in house.billing.payments.items() for name in payments.names()]


_ASKED = {"details": _details, "cancel": _cancel, "quantity": _quantity, "pay": _pay, "payment_method": _method}


# ---------------------------------------------------------------- what is shown


def _page(house: app.House, sheet: PortalSheet, asked: list[intents.Intent], method: str) -> PortalPage:
    who, config = sheet.visitor, house.config
    language = _language(house, who)
    words, allow, seller = texts_in(language), config.portal.allow, config.seller
    place = who.details.address
    city = " ".join(p for p in (place.postal_code, place.city) if p)
    return PortalPage(
        language=language,
        seller=Party(name=seller.name, address=seller.address, email=seller.email, tax_id=seller.vat_id),
        customer=Party(
            name=who.details.name, address=tuple(p for p in (place.line1, city, place.state, place.country) if p),
            email=who.details.email, tax_id=who.details.tax_id,
        ),
        open=tuple(_open_sums(sheet, language)),
        invoices=tuple(_invoice(i, house, language) for i in sheet.invoices),
        contracts=tuple(_contract(c, house, language) for c in sheet.contracts),
        fields=tuple(PortalField(name=f, label=words[f"field_{f}"], value=v) for f, v in flat_details(who.details).items()) if "details" in allow else (),
        requests=tuple(_request(i, words, language, config.timezone) for i in asked),
        can_download="download" in allow,
        can_pay="pay" in allow and bool(method) and bool(house.billing.payments),
        method=method,
        methods=tuple(_choices(house)) if "payment_method" in allow else (),
    )  # fmt: skip


def _open_sums(sheet: PortalSheet, language: str) -> list[str]:
    sums: dict[str, int] = {}
    for invoice in sheet.invoices:
        if invoice.status == "open":
            sums[invoice.currency] = sums.get(invoice.currency, 0) + invoice.amount_open
    return [formats.amount_text(amount, currency, language) for currency, amount in sorted(sums.items()) if amount]


def _invoice(invoice: InvoiceListing, house: app.House, language: str) -> PortalInvoice:
    today = house.clock.now().astimezone(ZoneInfo(house.config.timezone)).date()
    is_late = invoice.status == "open" and invoice.due_on is not None and invoice.due_on < today
    status = _STATUSES["past_due" if is_late else invoice.status]
    return PortalInvoice(
        number=invoice.number,
        token=invoice.token,
        issued_on=formats.date_text(invoice.issued_on, language),
        due_on=formats.date_text(invoice.due_on, language) if invoice.status == "open" else "",
        total=formats.amount_text(invoice.total, invoice.currency, language),
        open=formats.amount_text(invoice.amount_open, invoice.currency, language) if invoice.status == "open" else "",
        status=status,
        status_text=texts_in(language)[f"status_{status}"],
    )


def _contract(sheet: ContractSheet, house: app.House, language: str) -> PortalContract:
    listing, words, allow = sheet.listing, texts_in(language), house.config.portal.allow
    is_running = listing.status in ("active", "trialing", "past_due", "scheduled")
    ends = listing.ends_on
    return PortalContract(
        id=listing.contract,
        name=listing.name,
        status=words[f"contract_{listing.status}"],
        since=words["portal_since"].format(day=formats.date_text(listing.starts_on, language)),
        ends=words["portal_until"].format(day=formats.date_text(ends, language)) if ends else "",
        next_on=words["portal_next"].format(day=formats.date_text(listing.next_on, language)) if listing.next_on and is_running else "",
        items=tuple(_item(i, listing.currency, language, can_change=is_running and "quantity" in allow) for i in sheet.items),
        can_cancel=is_running and "cancel" in allow and not any(c.kind == "cancel" for c in sheet.changes),
    )


def _item(view: ItemView, currency: str, language: str, *, can_change: bool) -> PortalItem:
    price = view.item.price
    unit = formats.unit_price_text(price.unit_amount, currency, language) if price.unit_amount is not None else ""
    return PortalItem(
        number=view.number,
        description=price.description or price.product or price.id,
        quantity=formats.quantity_text(view.quantity, language),
        plain_quantity=f"{view.quantity.normalize():f}" if view.quantity is not None else "",
        unit_price=unit,
        can_change=can_change and _is_changeable(view),
    )


def _is_changeable(view: ItemView) -> bool:
    return view.item.price.usage_type == "licensed" and view.item.price.interval is not None and view.quantity is not None


def _request(intent: intents.Intent, words: Mapping[str, str], language: str, timezone: str) -> PortalRequest:
    said = str(intent.result.get("message", "")) if intent.state == "refused" else ""
    kind = _KINDS.get(intent.kind, "contract")
    return PortalRequest(
        what=words[f"portal_request_{kind}"],
        on=formats.date_text(intent.made_at.astimezone(ZoneInfo(timezone)).date(), language),
        state=words["portal_state_pending" if intent.is_waiting else f"portal_state_{intent.state}"],
        text=said,
    )


