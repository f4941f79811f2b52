"""The push pass: each step once, whatever interrupts it; told apart by what Stripe answered, or that it did not answer at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import postgres
import pytest

from connector import migrations
from connector.billing.stripe_backend import pushes, pushing
from connector.billing.stripe_backend.keeping import Settled
from connector.billing.stripe_backend.refusals import Answer, Refusal, Unanswered
from connector.billing.stripe_backend.steps import Held, HeldGroup, HeldItem, HeldPhase, Plan, Push, Ref, Step
from connector.core.lines import Line
from connector.core.terms import Interval
from connector.errors import HaltError, Problem, RetryableError
from connector.kit.db import Database
from connector.ports import Pushed, Unit

NOW = datetime(2026, 4, 1, 9, tzinfo=UTC)
CONTRACT = "ct_1"
LINE = Line(
    key="ct_1/setup/d1/2026-04-01/one_time", contract_id=CONTRACT, item_id="setup", price_id="setup", product="Setup", description="Setup",
    quantity=Decimal(1), unit_amount=Decimal(500), amount=500, kind="one_time", start=datetime(2026, 4, 1), end=datetime(2026, 4, 1),
    due=datetime(2026, 4, 1),
)  # fmt: skip
GROUP = HeldGroup(
    name="month", interval=Interval(unit="month", count=1), at_time="09:00:00", anchor=date(2026, 4, 1), since=date(2026, 4, 1),
    phases=(HeldPhase(start=date(2026, 4, 1), end=None, items=(HeldItem(item_id="seat", price="cn_1", quantity=Decimal(1)),)),),
)  # fmt: skip


def plan_of(*, groups: Sequence[str] = ("month",), has_own: bool = True) -> Plan:
    """Return a plan as the compiler makes it: a customer, one schedule a group, and a one-time charge on an invoice of our own."""
    customer = Ref(step="customer")
    steps = [Step(name="customer", call="customers.create", shared=("customer", "cus_ours"),
                  params={"email": "a@example.com", "metadata": {"connector_customer": "cus_ours"}})]  # fmt: skip
    steps += [Step(name=f"{g}/schedule", call="subscription_schedules.create", params={"customer": customer}, keeps=("subscription",)) for g in groups]
    if has_own:
        steps += [
            Step(name="own/invoice", call="invoices.create", params={"customer": customer, "auto_advance": False}),
            Step(name="own/item-1", call="invoice_items.create",
                 params={"customer": customer, "invoice": Ref(step="own/invoice"), "amount": 500, "metadata": {"connector_line": LINE.key}}),
            Step(name="own/finalize", call="invoices.finalize_invoice", target=Ref(step="own/invoice")),
        ]  # fmt: skip
    held = Held(contract_id=CONTRACT, groups=tuple(replace(GROUP, name=g) for g in groups))
    return Plan(steps=tuple(steps), held=held, lines=(LINE,) if has_own else ())


@dataclass(slots=True)
class Account:
    """What stands at Stripe: objects, and every answer by its idempotency key. Faults are (call, where, error), each used once."""

    objects: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    stored: dict[str, dict[str, Any] | Exception] = field(default_factory=dict)
    faults: list[tuple[str, str, Exception]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: NOW
    lock: threading.RLock = field(default_factory=threading.RLock)
    on_call: Callable[[str, str | None], None] = lambda _call, _target: None

    def do(self, call: str, params: Mapping[str, Any], *, target: str | None = None, key: str = "") -> dict[str, Any]:
        with self.lock:
            self.on_call(call, target)
            self._fail(call, "before")
            if key:
                self.keys.append(key)
            known = self.stored.get(key) if key else None
            if known is None:
                known = self._stored_fault(call)
                known = self._carried_out(call, dict(params), target) if known is None else known
                if key:
                    self.stored[key] = known
            self._fail(call, "after")
            if isinstance(known, Exception):
                raise known
            return dict(known)

    def _fail(self, call: str, where: str) -> None:
        for fault in self.faults:
            if fault[:2] == (call, where):
                self.faults.remove(fault)
                raise fault[2]

    def _stored_fault(self, call: str) -> Exception | None:
        """A failure that Stripe keeps: without (stored) or with (half) the work being done."""
        for fault in self.faults:
            if fault[0] == call and fault[1] == "stored":
                self.faults.remove(fault)
                return fault[2]
        return None

    def _carried_out(self, call: str, params: dict[str, Any], target: str | None) -> dict[str, Any] | Exception:
        service, _, verb = call.rpartition(".")
        kind = self.objects.setdefault(service, {})
        if verb == "create":
            made = {"id": f"{service}_{len(kind) + 1}", "created": int(self.clock().timestamp()), "status": "draft", **params}
            if service == "subscription_schedules":
                made["subscription"] = f"sub_of_{made['id']}"
            kind[made["id"]] = made
            for fault in self.faults:
                if fault[0] == call and fault[1] == "half":
                    self.faults.remove(fault)
                    return fault[2]
            return made
        if target not in kind:
            return refusal("resource_missing", status=404)
        if verb == "delete":
            return {**kind.pop(target), "deleted": True}
        if verb == "finalize_invoice":
            if kind[target]["status"] != "draft":
                return refusal("invoice_not_editable")
            kind[target]["status"] = "open"
        return kind[target]

    def listed(self, call: str, params: Mapping[str, Any], *, target: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        del target
        self._fail(call, "before")
        wanted = {k: v for k, v in params.items() if k in ("customer", "email", "invoice")}
        found = self.objects.get(call.removesuffix(".list"), {}).values()
        return [o for o in reversed(list(found)) if all(o.get(k) == v for k, v in wanted.items())][:limit]

    def counts(self) -> dict[str, int]:
        """Return how many objects of each kind there are."""
        return {kind: len(found) for kind, found in self.objects.items() if found}


def refusal(code: str, *, status: int = 400) -> Refusal:
    """Return a definite no of Stripe's."""
    problem = Problem(code=f"stripe-{code.replace('_', '-')}", message=f"Stripe said {code}.")
    return Refusal(problem, Answer(status=status, error={"code": code, "message": code}))


def lost() -> Unanswered:
    """Return what a time-out is."""
    return Unanswered("No answer came in time.")


def kept_failure() -> Unanswered:
    """Return a 5xx that Stripe stores under the key."""
    return Unanswered("Stripe failed.", is_stored=True)


@dataclass(slots=True)
class Books:
    """What is written when a push is over."""

    settled: list[Settled] = field(default_factory=list)
    plans: list[Plan | None] = field(default_factory=list)

    def read_back(self, push: Push) -> Any:
        return push.key

    def settle(self, unit: Unit, settled: Settled, now: datetime) -> Sequence[str]:
        self.settled.append(settled)
        pushes.save_held(unit, settled.held, now)
        pushes.save_lines(unit, settled.push, settled.lines, settled.items)
        return [settled.push.deal]

    def anew(self, unit: Unit, push: Push, now: datetime) -> Plan | None:
        """Give the next of the plans that a test laid out."""
        return self.plans.pop(0)


@dataclass(slots=True)
class Desk:
    """A ledger on disk with a push in it, an account, and a clock."""

    database: Database
    account: Account = field(default_factory=Account)
    books: Books = field(default_factory=Books)
    at: datetime = NOW
    stop: threading.Event = field(default_factory=threading.Event)

    def begin(self, plan: Plan, key: str = "org/d1/r1", contract_id: str = CONTRACT) -> None:
        with self.database.transaction() as unit:
            pushes.begin(unit, key=key, contract_id=contract_id, deal="d1", plan=plan, now=self.at)

    def run(self, *, later: timedelta = timedelta(0)) -> Pushed:
        self.at += later
        self.account.clock = lambda: self.at
        return pushing.Passage(
            database=self.database, calls=self.account, books=self.books, now=lambda: self.at, tell=lambda _u, _d: None, stop=self.stop,
            log=lambda *_a, **_k: None,
        ).run()  # fmt: skip

    def state(self, key: str = "org/d1/r1") -> str:
        with self.database.read() as unit:
            push = pushes.found(unit, key)
        assert push is not None
        return push.state


def opened(tmp_path: Path) -> Iterator[Desk]:
    """Give a desk with an empty ledger, and close it afterwards."""
    database = Database(f"sqlite:///{tmp_path}/push.db")
    with database.engine.begin() as connection:
        migrations.upgrade(connection)
    yield Desk(database)
    database.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Give a desk with an empty ledger."""
    yield from opened(tmp_path)


WHOLE = {"customers": 1, "subscription_schedules": 1, "invoices": 1, "invoice_items": 1}


def whole(desk: Desk) -> bool:
    """Whether everything of the plan was made, each thing once, and the books know it."""
    assert desk.account.counts() == WHOLE
    (invoice,) = desk.account.objects["invoices"].values()
    with desk.database.read() as unit:
        held = pushes.held_of(unit, [CONTRACT])[CONTRACT]
        sent = pushes.sent_of(unit, [CONTRACT])[CONTRACT]
    (group,) = held.groups
    assert (held.customer, group.schedule, group.subscription) == ("customers_1", "subscription_schedules_1", "sub_of_subscription_schedules_1")
    assert sent == {LINE.key: LINE}
    return str(invoice["status"]) == "open" and desk.state() == "done" and len(desk.books.settled) == 1


def test_a_push_is_carried_out_step_by_step(desk: Desk) -> None:
    """Every step is sent once under `{push}/{step}`; what Stripe holds, and our own lines there, are kept."""
    desk.begin(plan_of())
    pushed = desk.run()
    assert (pushed.done, pushed.refused, pushed.wait, pushed.problem) == (1, 0, 0, None)
    assert desk.account.keys == [f"org/d1/r1/{s.name}" for s in plan_of().steps]
    assert whole(desk)
    assert desk.run().done == 0


def test_the_same_key_begins_once(desk: Desk) -> None:
    """A decision that is replayed by its key makes no second push, neither while the first is on its way nor afterwards."""
    desk.begin(plan_of())
    desk.begin(plan_of())
    assert desk.run().done == 1
    desk.begin(plan_of())
    assert desk.run().done == 0
    assert whole(desk)


CREATES = ("customers.create", "subscription_schedules.create", "invoices.create", "invoice_items.create", "invoices.finalize_invoice")


@pytest.mark.parametrize("call", CREATES)
@pytest.mark.parametrize(
    ("where", "error"), [("before", lost()), ("after", lost()), ("stored", kept_failure()), ("half", kept_failure())], ids=["lost-before", "lost-after", "500-before", "500-after"]
)  # fmt: skip
def test_an_answer_that_is_lost_once_changes_nothing(desk: Desk, call: str, where: str, error: Exception) -> None:
    """A time-out or a 5xx, before or after Stripe did the work, ends in one object each, within the same pass."""
    desk.account.faults = [(call, where, error)]
    desk.begin(plan_of())
    assert desk.run().done == 1
    assert whole(desk)


@pytest.mark.parametrize(
    ("call", "where"), [(call, where) for call in CREATES for where in ("before", "after") if (call, where) != ("customers.create", "after")]
)  # a customer that was made is found at the second try
def test_an_answer_that_stays_away_waits_longer_each_time(desk: Desk, call: str, where: str) -> None:
    """When no try of a pass is answered, the push waits half a minute, then a minute; then it goes on where it was."""
    desk.account.faults = [(call, where, lost()) for _ in range(6)]
    desk.begin(plan_of())
    pushed = desk.run()
    assert (pushed.done, pushed.wait) == (0, 1)
    assert pushed.problem is not None
    assert pushed.problem.code == "stripe-unreachable"
    assert desk.run(later=timedelta(seconds=29)).problem is None, "it is not even tried before the wait is over"
    assert desk.run(later=timedelta(seconds=1)).done == 0
    assert desk.run(later=timedelta(seconds=59)).done == 0
    assert desk.run(later=timedelta(seconds=1)).done == 1
    assert whole(desk)


@pytest.mark.parametrize("call", CREATES[1:])
def test_after_twenty_hours_it_is_looked_up_first(desk: Desk, call: str) -> None:
    """Keys are forgotten after a day: what was done meanwhile is found by our own mark, and nothing is made twice."""
    desk.account.faults = [(call, "after", lost()) for _ in range(3)]
    desk.begin(plan_of())
    assert desk.run().done == 0
    desk.account.stored.clear()
    assert desk.run(later=timedelta(hours=30)).done == 1
    assert whole(desk)


def test_a_key_that_aged_without_effect_gets_a_suffix(desk: Desk) -> None:
    """What is not found after twenty hours is sent under the next key."""
    desk.account.faults = [("subscription_schedules.create", "before", lost()) for _ in range(3)]
    desk.begin(plan_of())
    desk.run()
    assert desk.run(later=timedelta(hours=30)).done == 1
    assert "org/d1/r1/month/schedule/a1" in desk.account.keys
    assert whole(desk)


def test_not_now_is_waited_out(desk: Desk) -> None:
    """A lock or a limit of calls (429) is asked again under the same key after the wait that Stripe names."""
    busy = RetryableError("An object is locked.", retry_after_s=0)
    desk.account.faults = [("subscription_schedules.create", "before", busy), ("invoices.create", "before", busy)]
    desk.begin(plan_of())
    assert desk.run().done == 1
    assert desk.account.keys.count("org/d1/r1/month/schedule") == 1
    assert whole(desk)


def test_no_connection_ends_the_pass(desk: Desk) -> None:
    """Where Stripe cannot be reached, one call shows it; everything waits and comes through by itself later."""
    away = RetryableError("Stripe cannot be reached.", retry_after_s=30)
    desk.account.faults = [("customers.list", "before", away)]
    for n in (1, 2, 3):
        desk.begin(plan_of(has_own=False), key=f"org/d{n}/r1", contract_id=f"ct_{n}")
    pushed = desk.run()
    assert (pushed.done, pushed.wait, desk.account.keys) == (0, 3, [])
    assert pushed.problem is not None
    assert pushed.problem.message == "Stripe cannot be reached."
    assert desk.run(later=timedelta(seconds=30)).done == 3
    assert desk.account.counts() == {"customers": 1, "subscription_schedules": 3}


def test_one_push_that_fails_again_and_again_does_not_keep_the_others(desk: Desk) -> None:
    """A request that Stripe itself fails at waits alone."""
    desk.account.faults = [("invoices.create", "before", lost()) for _ in range(3)]
    desk.begin(plan_of())
    desk.begin(plan_of(has_own=False), key="org/d2/r1", contract_id="ct_2")
    pushed = desk.run()
    assert (pushed.done, pushed.wait) == (1, 1)
    assert (desk.state(), desk.state("org/d2/r1")) == ("pending", "done")


def test_a_refusal_keeps_what_was_done(desk: Desk) -> None:
    """Of two groups the second is refused: the first is held with its ids, the contract is due again in an hour, nothing waits."""
    desk.account.faults = [("invoices.create", "stored", refusal("email_invalid"))]
    desk.begin(plan_of(groups=("month", "year")))
    pushed = desk.run()
    assert (pushed.done, pushed.refused, pushed.wait) == (0, 1, 0)
    with desk.database.read() as unit:
        problem = pushes.problem_of(unit, "org/d1/r1")
        held = pushes.held_of(unit, [CONTRACT])[CONTRACT]
        assert pushes.sent_of(unit, [CONTRACT]) == {}
        assert pushes.due_again(unit, desk.at + timedelta(minutes=59), 10) == []
        assert pushes.due_again(unit, desk.at + timedelta(minutes=60), 10) == [CONTRACT]
    assert problem is not None
    assert problem.code == "stripe-email-invalid"
    assert [(g.name, g.schedule) for g in held.groups] == [("month", "subscription_schedules_1"), ("year", "subscription_schedules_2")]


def test_a_refused_schedule_is_not_held(desk: Desk) -> None:
    """The refused group stands nowhere, so that the next plan makes it, and it alone."""
    desk.begin(plan_of(groups=("month", "year"), has_own=False))
    desk.account.stored["org/d1/r1/year/schedule"] = refusal("parameter_invalid_integer")
    assert desk.run().refused == 1
    with desk.database.read() as unit:
        held = pushes.held_of(unit, [CONTRACT])[CONTRACT]
    assert [g.name for g in held.groups] == ["month"]


def test_a_step_that_was_done_already_is_no_refusal(desk: Desk) -> None:
    """An invoice that is final already when it is to be finalized is what was wanted."""
    desk.begin(plan_of())
    desk.account.stored["org/d1/r1/own/finalize"] = refusal("invoice_not_editable")

    def finalized_meanwhile(call: str, target: str | None) -> None:
        if call == "invoices.finalize_invoice" and target is not None:
            desk.account.objects["invoices"][target]["status"] = "open"

    desk.account.on_call = finalized_meanwhile
    assert desk.run().done == 1


def test_a_wrong_key_stops_everything(desk: Desk) -> None:
    """Where Stripe does not know us, the pass stops at once and gives the push back; with the right key it goes on."""
    desk.account.faults = [("subscription_schedules.create", "before", HaltError("No such key.", code="stripe-key"))]
    desk.begin(plan_of())
    with pytest.raises(HaltError):
        desk.run()
    assert desk.run().done == 1
    assert whole(desk)


def test_a_dead_process_leaves_a_lease_that_its_successor_takes_over(desk: Desk) -> None:
    """Who died with a step in hand is followed at once by whoever holds the ledger, under the same key."""

    class Killed(BaseException):
        pass

    desk.account.faults = [("subscription_schedules.create", "after", Killed())]  # type: ignore[list-item]
    desk.begin(plan_of())
    with pytest.raises(Killed):
        desk.run()
    assert desk.run().done == 0, "somebody else may be at it"
    with desk.database.transaction() as unit:
        pushes.take_over(unit)
    assert desk.run().done == 1
    assert desk.account.keys.count("org/d1/r1/month/schedule") == 2
    assert whole(desk)


def test_a_lease_runs_out_by_itself(desk: Desk) -> None:
    """Without anybody taking over, another worker goes on after three minutes."""
    with desk.database.transaction() as unit:
        pushes.begin(unit, key="org/d1/r1", contract_id=CONTRACT, deal="d1", plan=plan_of(), now=desk.at)
    with desk.database.transaction() as unit:
        ((push, customer),) = pushes.due(unit, desk.at, 10)
        assert customer == ""
        assert pushes.taken(unit, desk.at, push) is not None
        assert pushes.taken(unit, desk.at, push) is None
    assert desk.run(later=timedelta(minutes=2)).done == 0
    assert desk.run(later=timedelta(minutes=1)).done == 1


def test_two_workers_never_send_one_push_twice(desk: Desk) -> None:
    """Two passes at the same time share the pushes; every step goes out once."""
    share(desk)


def test_two_workers_on_postgresql() -> None:
    """The same where two workers write at the same time: who takes a push holds it."""
    desk = Desk(Database(postgres.new_database()))
    share(desk)
    desk.database.close()


def share(desk: Desk) -> None:
    """Let two passes carry out twenty pushes."""
    for n in range(20):
        desk.begin(plan_of(has_own=False), key=f"org/d{n}/r1", contract_id=f"ct_{n}")
    results: list[Pushed] = []
    workers = [threading.Thread(target=lambda: results.append(desk.run())) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sum(r.done for r in results) == 20
    creates = [k for k in desk.account.keys if k.endswith("/schedule")]
    assert sorted(creates) == sorted(set(creates))
    assert desk.account.counts()["subscription_schedules"] == 20


def test_stop_ends_between_two_steps(desk: Desk) -> None:
    """A stop lets the step in hand finish; the next pass goes on behind it at once."""
    desk.begin(plan_of())

    def stops(call: str, target: str | None) -> None:
        del target
        if call == "subscription_schedules.create":
            desk.stop.set()

    desk.account.on_call = stops
    assert desk.run().done == 0
    assert desk.account.counts() == {"customers": 1, "subscription_schedules": 1}
    desk.stop.clear()
    desk.account.on_call = lambda _call, _target: None
    assert desk.run().done == 1
    assert desk.account.keys.count("org/d1/r1/month/schedule") == 1
    assert whole(desk)


def test_our_own_bug_in_one_push_leaves_the_others(desk: Desk) -> None:
    """A plan that refers to nothing is refused as our own error; the next push goes through."""
    broken = Plan(steps=(Step(name="x", call="invoices.create", params={"customer": Ref(step="nobody")}),), held=Held(contract_id=CONTRACT))
    desk.begin(broken)
    desk.begin(plan_of(has_own=False), key="org/d2/r1", contract_id="ct_2")
    pushed = desk.run()
    assert (pushed.done, pushed.refused) == (1, 1)
    with desk.database.read() as unit:
        problem = pushes.problem_of(unit, "org/d1/r1")
    assert problem is not None
    assert problem.code == "internal-error"


def test_long_keys_stay_within_bounds(desk: Desk) -> None:
    """The key of a step with its suffix has at most 255 characters, however long the name of a decision is."""
    name = "migrate/" + "very-long-price-name/" * 20 + CONTRACT
    desk.begin(plan_of(), key=name)
    assert desk.run().done == 1
    assert max(map(len, desk.account.keys)) < 230
    with desk.database.read() as unit:
        assert pushes.found(unit, name) is not None
