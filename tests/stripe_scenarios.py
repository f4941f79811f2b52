"""A scenario of tests/scenarios played on the Stripe backend: the books, the real SDK and the look-alike in this process, one clock for all.

What the scenario says is done as people do it: a contract and its changes are commands to the billing backend, what happens to
invoices, balance, discounts and usage are requests. The passes run at night, after noon and in the evening (local time) of each day on
which something happens; where the proration is by the second, everything is done at the second that the scenario says. What came of it has the shape of `connector simulate`, taken from the books.

The look-alike is called without a port: the SDK's transport hands each form body to the function that the server calls.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import stripe
from books_world import open_books

from connector.billing import catalogue, desk, note_sheets, store
from connector.billing.stripe_backend.backend import StripeBilling
from connector.billing.stripe_backend.client import StripeCalls
from connector.core.invoicing import Usage
from connector.core.matching import quantity_text
from connector.core.settlement import CreditNote, CustomerState
from connector.core.terms import Change, Contract, ContractTerms, Coupon
from connector.errors import Problem
from connector.kit.db import Database
from connector.lookalike.stripe.account import ENDPOINTS, Account, Data
from connector.lookalike.stripe.front import Front
from connector.lookalike.stripe.wire import Request, encoded, pairs_of
from connector.ports import AccountTax, Address, Command, CustomerDetails, HowBilled
from connector.simulate.actions import read_scenario
from connector.simulate.play import Played, play
from connector.simulate.result import result_data
from connector.simulate.scenario import Scenario, Settle
from connector.sync import intents, sending
from connector.sync.seam import Tally

NIGHT, MORNING, NOON, EVENING = time(0, 10), time(9), time(14), time(22)
MOST_STOPS = 400
MOST_WAITS = 6
ACCOUNT = "001A"


class Refused(Exception):  # noqa: N818 - what was said no to, in words
    """What the backend refuses of a scenario; *sent*: requests that changed something at Stripe since it was asked for."""

    def __init__(self, problem: Problem, sent: int) -> None:
        self.problem, self.sent = problem, sent
        super().__init__(problem.text())


class InProcess(stripe.HTTPClient):
    """The SDK's transport, with the look-alike at the other end instead of a port."""

    name = "in-process"

    def __init__(self, front: Front) -> None:
        super().__init__()
        self.front = front

    def request(self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any) -> tuple[str, int, Mapping[str, str]]:
        """Answer one request as the server does."""
        parts = urlsplit(url)
        request = Request(
            method=method.upper(), path=parts.path, headers={k.lower(): v for k, v in (headers or {}).items()},
            pairs=(*pairs_of(parts.query), *pairs_of(post_data or "")),
        )  # fmt: skip
        reply = self.front.answer(request)
        body = reply.body if isinstance(reply.body, bytes) else encoded(reply.body)
        return body.decode(), reply.status, reply.headers

    def close(self) -> None:
        """Nothing is open."""


class Hand:
    """A clock that stands where it is put."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """Return where it stands."""
        return self.at


@dataclass(frozen=True, slots=True)
class Said:
    """A tax source that knows of the scenario's customer whether it is exempt; rates are the contract's own."""

    customer: CustomerState

    def tax_of(self, customer: CustomerDetails) -> AccountTax:
        """Return what the scenario says."""
        del customer
        return AccountTax(exempt=self.customer.tax_exempt)


@dataclass(slots=True, kw_only=True)
class Player:
    """One scenario on its way through the books and the look-alike."""

    scenario: Scenario
    database: Database
    billing: StripeBilling
    front: Front
    clock: Hand
    contract_id: str | None = None
    commands: int = 0
    notes: list[tuple[int, CreditNote]] = field(default_factory=list)

    # ---------------------------------------------------------------- time

    @property
    def account(self) -> Account:
        """The account at the look-alike."""
        return self.front.account

    @property
    def zone(self) -> ZoneInfo:
        """The scenario's time zone."""
        return ZoneInfo(self.scenario.timezone)

    def play(self, expected: Played) -> Played:
        """Let the clock run from stop to stop, and return what the books say at the end. Raises: Refused."""
        scenario = self.scenario
        self._before()
        waiting = list(scenario.actions)
        is_begun = scenario.is_quote and not scenario.is_change
        days = {scenario.until.date(), *(i.created_at.astimezone(self.zone).date() for i in expected.invoices), *(a[0].date() for a in waiting)}
        if not is_begun:
            days.add(self._known_on(scenario.terms))
        today = min(days) - timedelta(days=1)
        for _ in range(MOST_STOPS):
            following = self._next(today, days)
            if following is None or following > scenario.until.date():
                break
            today = following
            self._stand(today, time(0) if self._is_by_second else NIGHT)
            if not is_begun and today >= self._known_on(scenario.terms):
                self._stand(today, time(0) if self._is_by_second else MORNING)
                self._create(scenario.terms)
                is_begun = True
            now = [a for a in waiting if a[0].date() <= today]
            waiting = waiting[len(now) :]
            for at, _, action in now:
                self._stand(today, at.time())
                self._do(action, at)
            self._passes()
            for at in (NOON, EVENING):
                self._stand(today, at)
                self._passes()
        return self._played(expected)

    def _next(self, today: date, days: set[date]) -> date | None:
        """Return the next day with something to do: in the scenario, or because the books want to be looked at."""
        sql = "SELECT MIN(next_due_at) FROM contract"
        due = self.query(sql)[0][0]
        found = {day for day in days if day > today}
        if due is not None:
            found.add(max(datetime.fromisoformat(due).astimezone(self.zone).date(), today + timedelta(days=1)))
        return min(found, default=None)

    def _stand(self, day: date, at: time) -> None:
        self.clock.at = max(self.clock.at, datetime.combine(day, at, self.zone))

    @staticmethod
    def _known_on(terms: ContractTerms) -> date:
        return (terms.entered_at or terms.start).date()

    @property
    def _is_by_second(self) -> bool:
        """Whether the second counts at which something is done; else contracts begin at nine, as reps close deals."""
        return self.scenario.terms.settings.proration == "second"

    def _passes(self) -> None:
        """Bill, send and read back until nothing is due."""
        for _ in range(3):
            with self.database.transaction() as unit:
                run = self.billing.bill(unit, self.clock.now(), limit=100, hold=False)
            assert not run.problems, run.problems
            if not self._send():
                break

    def _send(self) -> bool:
        """Send and read back until nothing more comes; return whether anything did."""
        tally, is_any = Tally(), False
        for _ in range(10):
            more = sending.send_books(self.database, self.billing, self.clock.now, tally, stop=threading.Event(), log=lambda *_a, **_k: None)
            stop, log = threading.Event(), lambda *_a, **_k: None
            events = self.billing.pull(self.database, self.clock.now, tell=sending.told, stop=stop, log=log)
            if not more and not events:
                break
            is_any = True
        refused = self.query("SELECT problem FROM contract WHERE problem <> ''")
        assert not refused, f"refused by Stripe: {refused}"
        return is_any

    # ---------------------------------------------------------------- what people do

    def _do(self, action: Any, at: datetime) -> None:
        if isinstance(action, Change):
            self._change(action)
        elif isinstance(action, Usage):
            self._ask("usage.record", rows=[{
                "id": f"u-{at.isoformat()}-{action.price}", "contract": self.contract_id, "for": action.price, "quantity": quantity_text(action.quantity),
                "time": action.at.replace(tzinfo=self.zone).isoformat(),
            }])  # fmt: skip
        elif action.do == "quote_accept":
            quoted = action.change
            if quoted is not None:
                self._change(quoted)
            else:
                terms = self.scenario.terms
                self._create(replace(terms, entered_at=max(at, terms.entered_at or at)))
        elif not action.do.startswith("quote_"):
            self._passes()
            self._settle(action)

    def _before(self) -> None:
        """Let there be a customer where the scenario says something of it: its first deal was withdrawn."""
        state = self.scenario.customer
        if state.payment == "succeeds":
            self.account.listeners.append(self._stores_card)
        if not any(state.balances.values()) and not state.given:
            return
        far = self.scenario.until + timedelta(days=4000)
        phases = tuple(replace(p, start=far, end=None) for p in self.scenario.terms.phases[:1])
        terms = replace(self.scenario.terms, start=far, entered_at=None, phases=phases, anchor=None, trial_end=None, prebill=None)
        self._apply(self._command("create", "before", terms=terms))
        self._send()
        self._apply(self._command("withdraw", "before"))
        self._send()
        for currency, amount in state.balances.items():
            if amount:
                self._ask("customer.adjust", customer=ACCOUNT, amount=amount, currency=currency, reason="From before")
        for given in state.given:
            self._catalogue(given.coupon)
        for given in state.given:
            codes = [g.coupon.id for g in state.given if g.since <= given.since]
            since = max(given.since.date(), date(2000, 1, 1)).isoformat()
            self._ask("customer.discount", customer=ACCOUNT, coupons=codes, since=since)

    def _stores_card(self, event: Data) -> None:
        if event["type"] == "customer.created":
            customer = event["data"]["object"]["id"]
            card = ENDPOINTS["POST", "/v1/payment_methods/{id}/attach"][0](self.account, {"id": "pm_card_visa"}, {"customer": customer})
            settings = {"invoice_settings": {"default_payment_method": card["id"]}}
            ENDPOINTS["POST", "/v1/customers/{id}"][0](self.account, {"id": customer}, settings)

    def _catalogue(self, coupon: Coupon) -> None:
        row = {"kind": "coupon", "row": "", "id": coupon.id, "product": "", "currency": self.scenario.currency, "active": True, "data": catalogue.coupon_to_data(coupon)}
        self._ask("catalogue.import", rows=[row])

    def _command(self, kind: Any, deal: str, **more: Any) -> Command:
        self.commands += 1
        terms = self.scenario.terms
        details = CustomerDetails(account=ACCOUNT, name="Acme", email="ap@acme.example", address=Address(line1="1 Main St", country="FR"))
        how = HowBilled(collection_method=terms.collection_method, days_until_due=terms.days_until_due)
        return Command(key=f"org/{deal}/r{self.commands}", kind=kind, deal=deal, label=deal, customer=details, how=how, **more)

    def _create(self, terms: ContractTerms) -> None:
        self.contract_id = self._apply(self._command("create", "contract", terms=terms))
        self._send()

    def _change(self, change: Change) -> None:
        self._passes()
        self._apply(self._command("change", change.id, change=change, contract_id=self.contract_id))
        self._send()

    def _apply(self, command: Command) -> str | None:
        before = self._written()
        for _ in range(MOST_WAITS):
            with self.database.transaction() as unit:
                (outcome,) = self.billing.apply([command], unit, self.clock.now(), hold=False)
            if not outcome.is_waiting:
                break
            self._send()  # as a daemon, that decides it again when what is on its way has come through
            self.clock.at += timedelta(minutes=30)
        assert not outcome.is_waiting, outcome.problem
        if outcome.problem is not None:
            raise Refused(outcome.problem, self._written() - before)
        return outcome.contract_id

    def _ask(self, kind: str, **data: Any) -> Mapping[str, Any]:
        before = self._written()
        with self.database.transaction() as unit:
            key = intents.submit(unit, kind, data, actor="cli", now=self.clock.now())
        intents.carry_out(self.database, self.billing, self.clock.now())
        self._send()
        with self.database.read() as unit:
            found = intents.found(unit, key)
        assert found is not None
        assert not found.is_waiting
        if found.state == "refused":
            raise Refused(Problem(**{k: str(found.result.get(k, "")) for k in ("code", "message", "hint")}), self._written() - before)
        return found.result

    def _settle(self, action: Settle) -> None:
        if action.do == "adjust_balance":
            self._ask("customer.adjust", customer=ACCOUNT, amount=action.amount, currency=self.scenario.currency, reason="Asked for")
            return
        number = self.numbers()[action.invoice - 1]
        if action.do == "credit_note":
            lines = [{"line": n, **({"amount": a} if a is not None else {"quantity": quantity_text(q)})} for n, a, q in action.lines]
            what = {"lines": lines} if lines else {"amount": action.amount}
            self._ask("invoice.credit", invoice=number, reason="Asked for", **what, **action.paid_back)
            return
        kinds = {"pay": "invoice.pay", "void": "invoice.void", "mark_uncollectible": "invoice.uncollectible"}
        self._ask(kinds[action.do], invoice=number)

    # ---------------------------------------------------------------- what came of it

    def query(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Read the books."""
        with self.database.read() as unit:
            return unit.query(sql, params)

    def _written(self) -> int:
        """Return how many requests changed something at Stripe."""
        return sum(1 for entry in self.front.faults.log if entry.method != "GET")

    def assert_agrees(self) -> None:
        """Books and account say the same of every invoice that somebody ever owed, and Stripe billed what the engine expected of it."""
        theirs = {i["number"]: (i["status"], i["total"]) for i in self.account.kind("invoice").values() if i["number"] and i["status"] != "draft"}
        ours = {n: (status, total) for n, status, total in self.query("SELECT number, status, total FROM invoice")}
        assert {n: said for n, said in theirs.items() if n in ours} == ours
        assert all(said in (("void", said[1]), ("paid", 0)) for n, said in theirs.items() if n not in ours), "an invoice was not read back"
        with self.database.transaction() as unit:
            for held in (desk.held(unit, number) for number in ours):
                assert sum(line.gross for line in held.invoice.lines) == held.invoice.total, f"the lines of {held.number} do not come to its total"
        differing = self.query("SELECT data FROM event WHERE name = 'invoice.differs'")
        assert not differing, differing

    def numbers(self) -> list[str]:
        """Return the numbers of the invoices, in order of creation."""
        return [n for (n,) in self.query("SELECT number FROM invoice WHERE number IS NOT NULL ORDER BY created_at, id")]

    def _played(self, expected: Played) -> Played:
        with self.database.transaction() as unit:
            invoices = [desk.held(unit, number) for number in self.numbers()]
            notes = [
                (at, CreditNote(total=note.total, lines=(), refund=note.refunded, credit=note.credited, out_of_band=note.out_of_band))
                for at, invoice in enumerate(invoices, 1) for note in note_sheets.notes_of(unit, invoice.id)
            ]  # fmt: skip
            contract: Contract | None = None
            if self.contract_id is not None:
                contract = replace(store.contracts(unit, [self.contract_id])[0].contract, id="contract")
            balances = [c.balances for c in store.customers(unit, org=self.billing.org, accounts=[ACCOUNT])]
        return Played(
            contract=contract, customer=replace(self.scenario.customer, balances=balances[0] if balances else {}),
            invoices=[held.invoice for held in invoices], notes=notes, quote=expected.quote, totals=expected.totals,
        )  # fmt: skip


@contextmanager
def stripe_player(folder: Path, scenario: Scenario) -> Iterator[Player]:
    """Give a player with empty books and an empty account, the clock before everything."""
    first = min([a[0] for a in scenario.actions[:1]] + [scenario.terms.entered_at or scenario.terms.start, scenario.terms.start])
    clock = Hand((first - timedelta(days=1)).replace(tzinfo=ZoneInfo(scenario.timezone)))
    front = Front(Account(clock=clock.now, country="FR", currency="eur"))
    front.account.machine["tax_rounding"] = scenario.terms.settings.tax_rounding  # a setting of the account
    calls = StripeCalls("sk_test_demo", api_base="http://127.0.0.1:1", http_client=InProcess(front))
    books = open_books(folder)
    try:
        billing = StripeBilling(org="00Dorg", timezone=scenario.timezone, tax=Said(scenario.customer), calls=calls)
        yield Player(scenario=scenario, database=books.database, billing=billing, front=front, clock=clock)
    finally:
        books.database.close()


def played_on_stripe(folder: Path, tree: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a scenario leads to on the internal engine and on Stripe, both in the shape of `connector simulate`. Raises: Refused."""
    scenario, reader = read_scenario(tree)
    assert scenario is not None
    assert not reader.complaints
    expected = play(scenario)
    with stripe_player(folder, scenario) as player:
        played = player.play(expected)
        player.assert_agrees()
        return result_data(scenario, expected), result_data(scenario, played)
