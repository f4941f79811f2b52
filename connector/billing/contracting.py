"""Changes of a contract that a person asks for by its id: the same commands as those of deals, keyed by the request."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from connector.billing import store
from connector.billing.desk import refused
from connector.billing.intents import Engine, Handler, Request
from connector.billing.store import BookedContract
from connector.core.schedule import ends_on, problems
from connector.core.terms import Change, change_from_data
from connector.errors import RejectedError
from connector.ports import Command, IntentResult, Unit


def contract_named(unit: Unit, org: str, name: str) -> BookedContract:
    """Return a contract by its id or by a deal of it. Raises: RejectedError if the books have none."""
    found = store.contracts(unit, [store.contracts_of_deals(unit, org, [name]).get(name, name)])
    if not found:
        raise refused("unknown-contract", f"The books have no contract {name}.", "See `connector contracts list`.")
    return found[0]


def command_for(unit: Unit, contract: BookedContract, change: Change, *, key: str, label: str, actor: str = "") -> Command:
    """Return the command that makes a change of a contract under a request's *key*; nobody's details change by it."""
    (customer,) = store.customers(unit, ids=[contract.customer_id])
    _refuse_idle(contract, change, key)
    return Command(
        key=key, kind="change", deal=key, label=label, customer=customer.details, how=contract.how, change=change, contract_id=contract.id,
        actor=actor,
    )  # fmt: skip


def _refuse_idle(contract: BookedContract, change: Change, key: str) -> None:
    """Refuse a cancellation after which the contract ends no sooner than it does already, unless it is the same request again."""
    whole = contract.contract
    if change.kind != "cancel" or change.item_ids or any(c.change.id == key for c in contract.changes):
        return
    end = ends_on(whole)
    if end is not None and not problems(after := replace(whole, changes=(*whole.changes, change))) and ends_on(after) == end:
        day = (end - timedelta(microseconds=1)).date()
        raise refused("ends-already", f"The contract {contract.id} ends on {day} already.", "Nothing is to be done.")


def changed(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Change a contract (data: contract, label, change) and bill what is due by it; the same request again changes nothing.

    Raises: RejectedError where the change is impossible.
    """
    contract = contract_named(unit, engine.org, str(request.data["contract"]))
    change = change_from_data(request.data["change"])
    command = command_for(unit, contract, change, key=request.key, label=str(request.data["label"]), actor=request.actor)
    sql = "SELECT number, total, currency FROM invoice WHERE contract_id = ? AND created_at >= ? ORDER BY id"
    since = (contract.id, store.at_text(request.now))
    before = unit.query(sql, since)
    (outcome,) = engine.apply([command], unit, request.now, hold=False)
    if outcome.problem is not None:
        raise RejectedError(outcome.problem)
    made = unit.query(sql, since)[len(before) :]
    (customer,) = store.customers(unit, ids=[contract.customer_id])
    result = {
        "contract": contract.id,
        "invoices": [{"number": n, "total": t, "currency": c} for n, t, c in made],
        "is_consolidated": customer.is_consolidated,
    }
    return IntentResult(result=result, deals=tuple(store.deals_of_contracts(unit, [contract.id])))


HANDLED: dict[str, Handler] = {"contract.change": changed}
