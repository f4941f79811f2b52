"""What a rep must know of a contract that no invoice says: a payment was disputed, somebody changed or ended it at Stripe (decision D-197).

A notice stands on the contract's deals until what it says is over. One row a contract, kind and object, so that it is told once however
often it is seen; the event log says when it came and when it went.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from connector.billing import store
from connector.billing.batches import in_batches
from connector.billing.events import text_of
from connector.billing.store import Event
from connector.billing.stripe_backend import coding
from connector.billing.stripe_backend.refusal_words import ACTIONS, NOTICES
from connector.errors import Problem
from connector.kit.db import new_id
from connector.ports import Unit

Kind = Literal["disputed", "dispute_lost", "changed", "ended", "ended_part", "let_go", "untaxed", "customer_deleted", "not_finalized", "missing", "refund_failed", "voided_paid", "item_deleted", "left_out"]


def problem_of(kind: Kind, facts: str = "") -> Problem:
    """Return a notice in plain words; *facts* are for those who run billing."""
    message, action = NOTICES[kind]
    hint = ACTIONS[action]
    return Problem(code=f"stripe-{kind.replace('_', '-')}", message=message, hint=f"{hint} ({facts})" if facts else hint)


def put(unit: Unit, contract_id: str, kind: Kind, ref: str, problem: Problem, now: datetime) -> bool:
    """Keep a notice; return whether it is new, or says something else than before."""
    text, at = coding.problem_text(problem), store.at_text(now)
    rows = unit.query("SELECT problem FROM stripe_notice WHERE contract_id = ? AND kind = ? AND ref = ?", (contract_id, kind, ref))
    if rows and rows[0][0] == text:
        return False
    unit.execute(
        "INSERT INTO stripe_notice (contract_id, kind, ref, problem, made_at) VALUES (?,?,?,?,?) ON CONFLICT (contract_id, kind, ref)"
        " DO UPDATE SET problem = excluded.problem, made_at = excluded.made_at",
        (contract_id, kind, ref, text, at),
    )
    _say(unit, contract_id, {"kind": kind, "of": ref, "text": problem.text()}, now)
    return True


def clear(unit: Unit, contract_id: str, kinds: Iterable[Kind], ref: str, now: datetime) -> bool:
    """Take notices away; return whether there were any."""
    gone = False
    for kind in kinds:
        key = (contract_id, kind, ref)
        if unit.execute("DELETE FROM stripe_notice WHERE contract_id = ? AND kind = ? AND ref = ?", key):
            _say(unit, contract_id, {"kind": kind, "of": ref}, now)
            gone = True
    return gone


def of_contracts(unit: Unit, contract_ids: Iterable[str]) -> dict[str, Problem]:
    """Return the latest notice of each contract that has one; that its customer is gone, of which other things come, before all."""
    found: dict[str, Problem] = {}
    for batch, marks in in_batches(contract_ids):
        sql = f"SELECT contract_id, problem FROM stripe_notice WHERE contract_id IN ({marks}) ORDER BY kind = 'customer_deleted', made_at, kind, ref"
        found.update((row[0], coding.problem_from_text(row[1])) for row in unit.query(sql, batch))
    return found


def with_kind(unit: Unit, contract_ids: Iterable[str], kind: Kind) -> set[str]:
    """Return those of contracts that have a notice of a kind."""
    found: set[str] = set()
    for batch, marks in in_batches(contract_ids):
        found |= {row[0] for row in unit.query(f"SELECT contract_id FROM stripe_notice WHERE kind = ? AND contract_id IN ({marks})", (kind, *batch))}
    return found


def _say(unit: Unit, contract_id: str, facts: dict[str, str], now: datetime) -> None:
    rows = unit.query("SELECT customer_id FROM contract WHERE id = ?", (contract_id,))
    event = Event(
        id=new_id("ev", now), actor="stripe", name="contract.noticed" if "text" in facts else "contract.notice_over", contract_id=contract_id,
        customer_id=rows[0][0] if rows else "", data=text_of(facts),
    )  # fmt: skip
    store.insert_events(unit, [event], store.at_text(now))
