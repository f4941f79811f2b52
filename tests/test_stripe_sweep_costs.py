"""What the nightly comparison costs: 2,000 contracts and 10,000 invoices are some hundred calls and queries and little memory, and no write."""

from __future__ import annotations

import json
import threading
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from stripe_world import StripeWorld, stripe_world
from test_stripe_reading import DAY, deed, started

from connector import app
from connector.billing.stripe_backend.backend import StripeBilling
from connector.billing.stripe_backend.reading.pulling import Reading
from connector.billing.stripe_backend.reading.sweeping import compare
from connector.kit.db import Unit
from connector.lookalike.stripe.account import Account
from connector.lookalike.stripe.listing import within
from connector.ports import Compared

CONTRACTS, ENDED = 2_000, 400
_TABLES = ("customer", "contract", "invoice", "stripe_held", "stripe_subscription", "stripe_known", "stripe_invoice", "payment")
_KINDS = {"invoices.list": "invoice", "subscriptions.list": "subscription", "refunds.list": "refund", "disputes.list": "dispute"}


class Direct:
    """Lists of the account without a network, counted; each is put together once, as turning its pages is not what is measured."""

    def __init__(self, account: Account) -> None:
        self.account, self.made = account, Counter[str]()
        self.lists: dict[str, tuple[list[dict[str, Any]], dict[str, int]]] = {}

    def do(self, call: str, params: Mapping[str, Any], *, target: str | None = None, key: str = "") -> dict[str, Any]:
        """Answer a list call; everything else fails, as nothing differs."""
        assert (target, key) == (None, ""), call
        self.made[call] += 1
        asked = {name: value for name, value in params.items() if name not in ("limit", "starting_after")}
        found, places = self._list(call, asked)
        first = places[params["starting_after"]] + 1 if "starting_after" in params else 0
        page = found[first : first + params["limit"]]
        return {"object": "list", "data": page, "has_more": first + len(page) < len(found)}

    def _list(self, call: str, asked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, int]]:
        name = f"{call} {sorted(asked.items())}"
        if name not in self.lists:
            found = [o for o in reversed(self.account.kind(_KINDS[call]).values()) if within(o["created"], asked.get("created")) and _fits(call, asked, o)]
            self.lists[name] = found, {o["id"]: place for place, o in enumerate(found)}
        return self.lists[name]

    def listed(self, call: str, params: Mapping[str, Any], *, target: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """Nothing is listed whole."""
        raise AssertionError(f"{call} {params} {target} {limit}")


def _fits(call: str, asked: Mapping[str, Any], one: Mapping[str, Any]) -> bool:
    """Whether a list shows an object: of a status where one is asked for; subscriptions that have ended only where they are."""
    if "status" in asked:
        return bool(one["status"] == asked["status"])
    return call != "subscriptions.list" or one["status"] != "canceled"


def copied(text: str, ids: list[str], n: int) -> str:
    """Return a text with every id of the first contract made that of copy *n*."""
    for one in ids:
        text = text.replace(one, f"{one}x{n}")
    return text


def multiply(made: StripeWorld) -> None:
    """Make contract, invoices and subscription of the one deal stand 2,000 times, here and at Stripe; the last 400 have ended."""
    ids = [row[0] for t in ("contract", "customer", "invoice") for row in made.query(f"SELECT id FROM {t}")]
    ids += [row[0] for row in made.query("SELECT account FROM customer")] + [row[0] for row in made.query("SELECT deal FROM contract")]
    ids += [row[0] for row in made.query("SELECT id FROM payment")]
    ids += [text for row in made.query("SELECT number, token FROM invoice") for text in row if text]
    kinds = {kind: list(made.stripe.kind(kind).values()) for kind in ("customer", "subscription", "invoice")}
    ids += [one["id"] for objects in kinds.values() for one in objects]
    ids = sorted(set(map(str, ids)), key=len, reverse=True)
    rows = {table: (columns(made, table), made.query(f"SELECT * FROM {table}")) for table in _TABLES}
    texts = {kind: [json.dumps(one) for one in objects] for kind, objects in kinds.items()}
    with app.writing_house(made.config, "test", clock=made.clock) as house:
        for table, (names, found) in rows.items():
            with house.database.transaction() as unit:
                marks = ",".join("?" * len(names))
                listed = ",".join(f'"{name}"' for name in names)
                new = [tuple(copied(v, ids, n) if isinstance(v, str) else v for v in row) for n in range(1, CONTRACTS) for row in found]
                unit.executemany(f"INSERT OR IGNORE INTO {table} ({listed}) VALUES ({marks})", new)
        with house.database.transaction() as unit:
            last = [row[0] for row in unit.query("SELECT id FROM contract ORDER BY length(id), id")][-ENDED:]
            unit.executemany("UPDATE contract SET status = 'completed' WHERE id = ?", [(i,) for i in last])
    for kind, plain in texts.items():
        for n in range(1, CONTRACTS):
            for text in plain:
                one = json.loads(copied(text, ids, n))
                made.stripe.kind(kind)[one["id"]] = one
    for one in list(made.stripe.kind("subscription").values())[-ENDED:]:
        one["status"] = "canceled"


def columns(made: StripeWorld, table: str) -> list[str]:
    """Return the columns of a table."""
    return [row[1] for row in made.query(f"PRAGMA table_info({table})")]


def swept(made: StripeWorld) -> tuple[Compared, Counter[str], int, int, float]:
    """Compare once; return what was found, the calls, how many queries and writes there were, and the most memory in MB."""
    calls, statements = Direct(made.stripe), Counter[bool]()
    with app.writing_house(made.config, "test", clock=made.clock) as house:
        billing = house.billing
        assert isinstance(billing, StripeBilling)

        def tell(unit: Unit, deals: Any) -> None:
            assert not deals

        reading = Reading(
            database=house.database, calls=calls, engine=billing, now=made.clock.now, tell=tell, stop=threading.Event(), log=lambda *_a, **_k: None
        )
        count = lambda _c, _u, statement, *_more: statements.update([statement.lstrip()[:6] in ("INSERT", "UPDATE", "DELETE")])  # noqa: E731
        event.listen(house.database.engine, "before_cursor_execute", count)
        tracemalloc.start()
        found = compare(reading)
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        event.remove(house.database.engine, "before_cursor_execute", count)
    return found, calls.made, statements[False], statements[True], peak


@pytest.mark.slow
def test_what_a_comparison_of_many_costs(tmp_path: Path) -> None:
    """Calls and queries grow with what is open, recent or running, page by page; ended contracts and old invoices cost nothing."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        for month in (4, 5, 6, 7):
            made.clock.move_to(made.clock.now().replace(month=month, day=21))
            made.sync()
        for invoice in made.objects("invoice")[:-1]:
            deed(made, "pay", invoice=invoice["id"])
        made.sync()
        made.sweep()  # of months in which nobody looked
        multiply(made)
        assert made.query("SELECT COUNT(*) FROM invoice") == [(5 * CONTRACTS,)]
        found, calls, queries, writes, memory = swept(made)
        print(f"{found.text()}; {dict(calls)}; {queries} queries, {writes} writes, {memory:.1f} MB")
        assert (found.subscriptions, found.missed, found.drift) == (CONTRACTS - ENDED, 0, 0)
        recent = 2 * CONTRACTS  # of five months, two invoices of each lie within 40 days
        assert calls == {
            "invoices.list": recent // 100 + 1, "subscriptions.list": (CONTRACTS - ENDED) // 100, "refunds.list": 1, "disputes.list": 1,
        }  # fmt: skip
        assert queries < 10 * calls.total()
        assert writes < 5  # what it notes of itself
        assert memory < 20


def test_what_changed_is_all_that_is_written(tmp_path: Path) -> None:
    """Somebody changed one of many subscriptions: one is written, in a transaction of its own, and the others are only looked at."""
    with stripe_world(tmp_path, day=DAY) as made:
        started(made)
        (subscription,) = made.objects("subscription")
        known = len(made.stripe.events)
        item = subscription["items"]["data"][0]["id"]
        deed(made, "subscription", subscription=subscription["id"], change={"items": [{"id": item, "quantity": 5}], "proration_behavior": "none"})
        del made.stripe.events[known:]
        assert made.sweep().compared == Compared(invoices=1, subscriptions=1, missed=0, drift=1)
        made.stripe_server.faults.log.clear()
        assert made.sweep().compared == Compared(invoices=1, subscriptions=1, missed=0, drift=1)
        asked = [entry.path for entry in made.stripe_server.faults.log if entry.path.startswith("/v1/subscription")]
        assert asked == ["/v1/subscriptions"]


def test_an_old_invoice_that_was_paid_unheard_is_found(tmp_path: Path) -> None:
    """Open in the books, paid at Stripe half a year later without an event that reached us: the comparison asks for it by its id."""
    with stripe_world(tmp_path, day=DAY) as made:
        invoice = started(made, Billing_Frequency__c="Annual")
        made.clock.move_to(made.clock.now().replace(month=9))
        made.sync()
        known = len(made.stripe.events)
        deed(made, "pay", invoice=invoice["id"])
        del made.stripe.events[known:]
        made.sweep()
        assert made.query("SELECT status, amount_paid FROM invoice") == [("paid", 12000)]
