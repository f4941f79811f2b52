"""Exactly once, call by call: each call that changes something at Stripe is struck in every way, and in the end it was done once.

The table `ONCE` names every such call of the program; a test holds it complete, so that a new call needs a way to be done once.
"""

from __future__ import annotations

import ast
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
import stripe
from books_world import empty_database
from stripe_server_world import StripeWorld
from test_stripe_door import CUSTOMER, METER, PRICE, PRODUCT, RATE, door
from test_stripe_pushing import Books
from world import ROOT

from connector.billing.stripe_backend import pushes, pushing
from connector.billing.stripe_backend.client import StripeCalls
from connector.billing.stripe_backend.rights import is_read
from connector.billing.stripe_backend.steps import Held, Plan, Step
from connector.kit.db import Database
from connector.ports import Pushed

Way = Literal["found", "made by our id", "leads to a state", "says all of it", "again"]
Made = Callable[["Room"], Step]
_NUMBERS = count(1)


@dataclass(slots=True)
class Room:
    """A ledger and a door to the look-alike; each test has a customer of its own."""

    world: StripeWorld
    calls: StripeCalls
    database: Database
    number: int

    def do(self, call: str, target: str | None = None, **params: Any) -> str:
        """Do something that a step needs to be there, and return its id."""
        return str(self.calls.do(call, params, target=target, key=f"before-{next(_NUMBERS)}")["id"])

    def customer(self) -> str:
        return self.do("customers.create", name="Acme", email=f"a{self.number}@acme.example")

    def price(self) -> str:
        product = self.do("products.create", name="Seat")
        return self.do("prices.create", product=product, currency="usd", unit_amount=2900, recurring={"interval": "month"})

    def draft(self, customer: str = "") -> str:
        who = customer or self.customer()
        invoice = self.do("invoices.create", customer=who, collection_method="send_invoice", days_until_due=30, auto_advance=False)
        self.do("invoice_items.create", customer=who, invoice=invoice, amount=9900, currency="usd")
        return invoice

    def open(self, customer: str = "") -> str:
        invoice = self.draft(customer)
        self.do("invoices.finalize_invoice", target=invoice)
        return invoice

    def subscribed(self) -> dict[str, Any]:
        items = [{"price": self.price(), "quantity": 2}]
        return {"items": items, "customer": self.customer(), "collection_method": "send_invoice", "days_until_due": 30}

    def subscription(self) -> str:
        return self.do("subscriptions.create", **self.subscribed())

    def numbered(self) -> str:
        customer = self.customer()
        return f"{customer}/{self.do('customers.tax_ids.create', target=customer, type='eu_vat', value='DE123456789')}"

    def arrived(self) -> dict[str, Any]:
        at = int(self.world.clock.now().timestamp()) - 60
        how = {"type": "custom", "custom": {"display_name": "Cheque"}}
        amount = {"currency": "usd", "value": 4000}
        return {"amount_requested": amount, "initiated_at": at, "outcome": "guaranteed", "guaranteed": {"guaranteed_at": at}, "payment_method_details": how}

    def method(self) -> str:
        return self.do("payment_methods.create", type="card", card={"token": "tok_visa"})

    def item(self) -> str:
        subscription = self.subscription()
        return str(self.world.account.get("subscription", subscription)["items"]["data"][0]["id"])

    def schedule(self) -> str:
        return self.do("subscription_schedules.create", **self.phases(self.customer()))

    def phases(self, customer: str) -> dict[str, Any]:
        phases = [{"items": [{"price": self.price(), "quantity": 2}], "duration": {"interval": "month", "interval_count": 12}}]
        how = {"collection_method": "send_invoice", "invoice_settings": {"days_until_due": 30}}
        return {"customer": customer, "start_date": "now", "end_behavior": "cancel", "phases": phases, "default_settings": how}


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """How a call is done once. way - why another try does no harm; kind - the objects that it makes one more of, "" for none; step - one to try."""

    way: Way
    step: Made
    kind: str = ""


def _shared(step: Step, **own: Any) -> Made:
    def made(room: Room) -> Step:
        assert step.shared is not None
        name = f"{step.shared[1]}-{room.number}".replace("_", "x")
        params: dict[str, Any] = {**step.params, **{k: name for k in own if own[k]}}
        if step.call == "prices.create":
            params["product"] = room.do("products.create", name="Seat")
        if "metadata" in params:
            params["metadata"] = dict.fromkeys(params["metadata"], name)
        if "email" in params:
            params["email"] = f"a{room.number}@acme.example"
        return Step(name=step.name, call=step.call, params=params, shared=(step.shared[0], name))

    return made


def _usage(room: Room) -> Step:
    meter = {**METER.params, "event_name": f"api-{room.number}"}
    room.do("billing.meters.create", **meter)
    payload = {"stripe_customer_id": room.customer(), "value": "5"}
    at = int(room.world.clock.now().timestamp()) - 60
    params = {"event_name": f"api-{room.number}", "timestamp": at, "identifier": f"cu_{room.number}", "payload": payload}
    return Step(name="usage-1", call="billing.meter_events.create", params=params)


def _tried(call: str, target: Callable[[Room], str] | None = None, **params: Any) -> Made:
    def made(room: Room) -> Step:
        asked = {k: v(room) if callable(v) else v for k, v in params.items()}
        return Step(name="it", call=call, target=target(room) if target is not None else None, params=asked)

    return made


def _from_subscription(room: Room) -> Step:
    return Step(name="month/schedule", call="subscription_schedules.create", params={"from_subscription": room.subscription()})


def _rephased(room: Room) -> Step:
    schedule = room.schedule()
    start = room.world.account.get("subscription_schedule", schedule)["phases"][0]["start_date"]
    phases = [{"items": [{"price": room.price(), "quantity": 5}], "start_date": start, "duration": {"interval": "month", "interval_count": 12}}]
    return Step(name="month/phases", call="subscription_schedules.update", target=schedule, params={"phases": phases, "end_behavior": "cancel", "proration_behavior": "none"})


def _held_method(room: Room) -> str:
    return room.do("payment_methods.attach", target="pm_card_visa", customer=room.customer())


def _defaulted(room: Room) -> Step:
    customer = room.customer()
    method = room.do("payment_methods.attach", target="pm_card_visa", customer=customer)
    return Step(name="default", call="customers.update", target=customer, params={"invoice_settings": {"default_payment_method": method}})


ONCE: Mapping[str, tuple[Once, ...]] = {
    "products.create": (Once(way="made by our id", step=_shared(PRODUCT, id=True), kind="product"),),
    "coupons.create": (
        Once(way="made by our id", step=lambda r: Step(name="c", call="coupons.create", params={"id": f"cn_{r.number}", "percent_off": 10.0, "duration": "forever"}, shared=("coupon", f"cn_{r.number}")), kind="coupon"),
    ),
    "prices.create": (Once(way="found", step=_shared(PRICE, lookup_key=True), kind="price"),),
    "tax_rates.create": (Once(way="found", step=_shared(RATE), kind="tax_rate"),),
    "billing.meters.create": (Once(way="found", step=_shared(METER, event_name=True), kind="billing.meter"),),
    "customers.create": (Once(way="found", step=_shared(CUSTOMER), kind="customer"),),
    "subscription_schedules.create": (
        Once(way="found", step=lambda r: Step(name="month/schedule", call="subscription_schedules.create", params=r.phases(r.customer())), kind="subscription_schedule"),
        Once(way="leads to a state", step=_from_subscription, kind="subscription_schedule"),
    ),
    "subscriptions.create": (Once(way="found", step=lambda r: Step(name="month/subscription", call="subscriptions.create", params=r.subscribed()), kind="subscription"),),
    "customers.tax_ids.create": (Once(way="found", step=_tried("customers.tax_ids.create", Room.customer, type="eu_vat", value="DE123456789"), kind="tax_id"),),
    "customers.tax_ids.delete": (Once(way="leads to a state", step=_tried("customers.tax_ids.delete", Room.numbered)),),
    "invoices.create": (Once(way="found", step=_tried("invoices.create", customer=Room.customer, auto_advance=False), kind="invoice"),),
    "invoice_items.create": (Once(way="found", step=_tried("invoice_items.create", customer=Room.customer, amount=250, currency="usd"), kind="invoiceitem"),),
    "credit_notes.create": (Once(way="found", step=_tried("credit_notes.create", invoice=Room.open, amount=900), kind="credit_note"),),
    "customers.balance_transactions.create": (
        Once(way="found", step=_tried("customers.balance_transactions.create", Room.customer, amount=-500, currency="usd"), kind="customer_balance_transaction"),
    ),
    "billing.meter_events.create": (Once(way="made by our id", step=_usage, kind="billing.meter_event"),),
    "subscription_schedules.update": (Once(way="says all of it", step=_rephased),),
    "subscription_schedules.cancel": (Once(way="leads to a state", step=_tried("subscription_schedules.cancel", Room.schedule, invoice_now=False, prorate=False)),),
    "subscriptions.update": (Once(way="says all of it", step=_tried("subscriptions.update", Room.subscription, pause_collection={"behavior": "void"})),),
    "subscriptions.cancel": (Once(way="leads to a state", step=_tried("subscriptions.cancel", Room.subscription, invoice_now=False, prorate=False)),),
    "customers.update": (Once(way="says all of it", step=_defaulted),),
    "invoices.update": (Once(way="says all of it", step=_tried("invoices.update", Room.open, metadata={"connector_paid_on": "2026-01-15"})),),
    "invoices.finalize_invoice": (Once(way="leads to a state", step=_tried("invoices.finalize_invoice", Room.draft, auto_advance=True)),),
    "invoices.pay": (Once(way="leads to a state", step=_tried("invoices.pay", Room.open, paid_out_of_band=True)),),
    "invoices.void_invoice": (Once(way="leads to a state", step=_tried("invoices.void_invoice", Room.open)),),
    "invoices.mark_uncollectible": (Once(way="leads to a state", step=_tried("invoices.mark_uncollectible", Room.open)),),
    "invoices.send_invoice": (Once(way="again", step=_tried("invoices.send_invoice", Room.open)),),
    "payment_methods.attach": (Once(way="leads to a state", step=_tried("payment_methods.attach", Room.method, customer=Room.customer)),),
    "payment_methods.detach": (Once(way="leads to a state", step=_tried("payment_methods.detach", _held_method)),),
    "payment_records.report_payment": (Once(way="found", step=lambda r: Step(name="record", call="payment_records.report_payment", params=r.arrived()), kind="payment_record"),),
    "invoices.attach_payment": (
        Once(way="leads to a state", step=_tried("invoices.attach_payment", Room.open, payment_record=lambda r: r.do("payment_records.report_payment", **r.arrived()))),
    ),
    "subscription_items.update": (Once(way="says all of it", step=_tried("subscription_items.update", lambda r: r.item(), metadata={"connector_item": "seat"})),),
}  # fmt: skip
BESIDE = {
    "invoice_items.delete": "likewise an item of such a draft (drafts.py); tests/test_flow_stripe_drafts.py",
    "invoices.delete": "clears away the draft of a refused push; one that is gone already is as good",
    "billing_portal.sessions.create": "a session is thrown away; each visit opens another",
    "billing_portal.configurations.create": "looked for by its metadata before it is made (portal.Sessions); tests/test_stripe_portal.py",
}


def calls_of_the_program() -> set[str]:
    """Return every call that changes something, wherever the program names it, beside the tables of look-ups and rights."""
    found = set()
    client = stripe.StripeClient("sk_test_x").v1
    for path in (ROOT / "connector").rglob("*.py"):
        if "lookalike" in path.parts or path.name in ("lookup.py", "rights.py", "kinds.py", "settling.py", "currencies.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.replace(".", "").replace("_", "").isalpha() and "." in node.value:
                owner: Any = client
                for part in node.value.split("."):
                    owner = getattr(owner, part, None)
                if callable(owner) and not is_read(node.value):
                    found.add(node.value)
    return found


def test_the_table_is_complete() -> None:
    """Each call that the program knows stands in the table, and nothing else does."""
    assert calls_of_the_program() == ONCE.keys() | BESIDE.keys()


# ---------------------------------------------------------------- each call, struck in every way


@pytest.fixture(scope="module")
def world() -> Iterator[StripeWorld]:
    """Give one look-alike to all."""
    with StripeWorld("2026-01-15") as made:
        yield made


@pytest.fixture
def room(world: StripeWorld, tmp_path: Path) -> Iterator[Room]:
    """Give a ledger of its own."""
    shutil.copy(empty_database(), tmp_path / "once.db")
    database = Database(f"sqlite:///{tmp_path}/once.db")
    yield Room(world, door(world), database, next(_NUMBERS))
    database.close()


class Died(BaseException):
    """The process ends here."""


class Mortal:
    """A door through which a process goes that dies before or after the call."""

    def __init__(self, calls: StripeCalls, call: str, where: str) -> None:
        self._calls, self._call, self._where = calls, call, where

    def do(self, call: str, params: Mapping[str, Any], *, target: str | None = None, key: str = "") -> dict[str, Any]:
        if call == self._call and self._where == "before":
            raise Died
        answer = self._calls.do(call, params, target=target, key=key)
        if call == self._call:
            raise Died
        return answer

    def listed(self, call: str, params: Mapping[str, Any], *, target: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        return self._calls.listed(call, params, target=target, limit=limit)


def passed(room: Room, calls: Any) -> Pushed:
    """Let a worker carry out what is pending, as whoever takes over a ledger."""
    with room.database.transaction() as unit:
        pushes.take_over(unit)
    return pushing.Passage(
        database=room.database, calls=calls, books=Books(), now=room.world.clock.now, tell=lambda _u, _d: None, stop=threading.Event(),
        log=lambda *_a, **_k: None,
    ).run()  # fmt: skip


def strike(room: Room, step: Step, how: str) -> None:
    """Let a call be struck, and the worker or its successor go on until it is done."""
    room.calls.listed("events.list", {"limit": 1}, limit=1)  # the look-alike's clock has arrived
    method = "DELETE" if step.call == "subscriptions.cancel" or step.call.endswith(".delete") else "POST"
    if how.startswith("died"):
        with pytest.raises(Died):
            passed(room, Mortal(room.calls, step.call, how.split()[1].rstrip(",")))
        if how.endswith("a day ago"):
            room.world.clock.move_to(room.world.clock.now() + timedelta(hours=25))
    else:
        room.world.server.faults.add(how, method=method)
    for _ in range(4):
        if passed(room, room.calls).wait == 0:
            break
        room.world.clock.move_to(room.world.clock.now() + timedelta(minutes=20))
    room.world.server.faults.clear()


HARDEST = ("error_after", "died after, a day ago")
OTHERS = ("lock_timeout", "cut_before", "cut_after", "error_before", "died before", "died after", "died before, a day ago")


def cases() -> Iterator[Any]:
    """Yield each call with the two ways that cannot be seen from here, and one of the others in turn; with KILL_EVERYWHERE, every way."""
    turn = count()
    for call, several in ONCE.items():
        for number, once in enumerate(several, 1):
            others = OTHERS if os.environ.get("KILL_EVERYWHERE") else (OTHERS[next(turn) % len(OTHERS)],)
            for how in (*HARDEST, *others):
                yield pytest.param(once, how, id=f"{call}{number if len(several) > 1 else ''}, {how}")


@pytest.mark.parametrize(("once", "how"), list(cases()))
def test_each_call_is_done_once_however_it_is_struck(room: Room, once: Once, how: str) -> None:
    """Not now, no answer, a failure that Stripe keeps, a dead process, a key that Stripe has forgotten: it is done, and once."""
    step = once.step(room)
    kinds = {kind: len(objects) for kind, objects in room.world.account.objects.items()}
    with room.database.transaction() as unit:
        pushes.begin(unit, key=f"d-{room.number}/r1", contract_id="", deal="", plan=Plan(steps=(step,), held=Held(contract_id="")), now=room.world.clock.now())
    begun = len(room.world.account.events)
    strike(room, step, how)
    with room.database.read() as unit:
        push = pushes.found(unit, f"d-{room.number}/r1")
        assert push is not None
        assert (push.state, pushes.problem_of(unit, push.key)) == ("done", None)
    if once.kind:
        assert len(room.world.account.kind(once.kind)) - kinds.get(once.kind, 0) == 1
    assert_state(room, step, begun)


def assert_state(room: Room, step: Step, begun: int) -> None:
    """What a call without a new object leads to stands there, and happened once."""
    told = [e["type"] for e in room.world.account.events[begun:] if e["data"]["object"].get("id") == step.target]
    once = {
        "invoices.finalize_invoice": "invoice.finalized", "invoices.pay": "invoice.paid", "invoices.void_invoice": "invoice.voided",
        "invoices.mark_uncollectible": "invoice.marked_uncollectible", "subscriptions.cancel": "customer.subscription.deleted",
        "subscription_schedules.cancel": "subscription_schedule.canceled",
    }  # fmt: skip
    if step.call in once:
        assert told.count(once[step.call]) == 1, told
    if step.call == "subscription_schedules.update":
        assert [p["items"][0]["quantity"] for p in room.world.account.get("subscription_schedule", str(step.target))["phases"]] == [5]
    if step.call == "invoices.attach_payment":
        assert room.world.account.get("invoice", str(step.target))["amount_paid"] == 4000
    if step.call == "payment_methods.attach":
        listed = room.calls.listed("customers.payment_methods.list", {}, target=step.params["customer"])
        assert len(listed) == 1
    if step.call == "customers.tax_ids.delete":
        assert room.calls.listed("customers.tax_ids.list", {}, target=str(step.target).partition("/")[0]) == []
    if step.call == "billing.meter_events.create":
        meter = next(m for m in room.world.account.kind("billing.meter").values() if m["event_name"] == step.params["event_name"])
        at = step.params["timestamp"] // 60 * 60
        asked = {"customer": step.params["payload"]["stripe_customer_id"], "start_time": at, "end_time": at + 60}
        found = room.calls.listed("billing.meters.event_summaries.list", asked, target=meter["id"])
        assert [float(one["aggregated_value"]) for one in found] == [5.0]
