"""Contracts that come from another system: made with what it billed of them already, each once for good under its own id.

What the other system billed are lines like ours on no invoice: their `invoice_id` begins with `im_` and names no row of `invoice`,
so they count in no amount, list or number series, and nobody has to leave them out. To the engine they are facts.

Worked example: gold at 30.00 a month since January, billed through June, imported on 10 June: six lines stand for January to June,
no invoice is made, the next one is due on 1 July. Canceled on 16 June with credit, half of June's 30.00 is credited.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from connector.billing import store
from connector.billing.commands import Copy
from connector.billing.intents import Engine, Handler, Request, Work
from connector.billing.issue import Billed, Issue, piece_of
from connector.billing.standing import next_invoice, waiting_invoice
from connector.billing.taxing import state_of
from connector.core.elsewhere import BilledThrough, billed_elsewhere, through_from_data
from connector.core.invoicing import Line
from connector.core.money import major
from connector.core.period import to_local
from connector.core.schedule import timeline
from connector.core.terms import terms_from_data
from connector.errors import Problem
from connector.ports import Address, Command, CustomerDetails, HowBilled, IntentResult, Unit

AT_ONCE = 200  # contracts of one request; each request is one transaction
_INSERT = "INSERT INTO imported (org, external_id, contract_id, digest, data, made_at) VALUES (?,?,?,?,?,?)"
OWN_DEAL = "import:"  # in place of a CRM deal's id where a contract belongs to none


# ---------------------------------------------------------------- in the engine: what was billed before


def begun(issue: Issue, copy: Copy, contract_id: str) -> Sequence[Line]:
    """Return what another system billed of a contract of the copy, and note there that it was invoiced; nothing for others."""
    through = copy.billed.get(contract_id)
    if through is None:
        return ()
    contract = copy.after[contract_id]
    state = state_of(copy.customer_by_id(contract.customer_id), issue.tax_of(contract.customer_id))
    lines = billed_elsewhere(piece_of(contract, (), state), through)
    copy.imported[contract_id] = lines
    copy.after[contract_id] = replace(contract, is_invoiced=bool(lines))
    return lines


def save_lines(copy: Copy, unit: Unit) -> None:
    """Write what another system billed of the contracts of the copy."""
    store.insert_lines(unit, [(contract_id.replace("ct_", "im_", 1), lines) for contract_id, lines in copy.imported.items()])


# ---------------------------------------------------------------- the request


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One contract of a request under another system's *id*; *data* is the canonical text by which it is compared, without who the customer is."""

    id: str
    command: Command
    digest: str
    data: Mapping[str, Any]


def import_contracts(request: Request, engine: Engine, unit: Unit) -> IntentResult:
    """Make the contracts that the books do not have yet; data: contracts (as `simulate.contracts` reads them), dry (nothing is written).

    Each row of the result says what became of one contract; a refused one holds back only itself.
    """
    given: Sequence[Mapping[str, Any]] = request.data["contracts"]
    is_dry = bool(request.data.get("dry"))
    wanted, rows = sorted_entries(unit, engine.org, given)
    linked: list[tuple[str, str, str, str]] = []
    if wanted:
        work = engine.worked_out([w.command for w in wanted], unit, request.now, hold=False)
        if not is_dry:
            work.write(unit)
            note(unit, engine.org, wanted, work, store.at_text(request.now))
        numbers = {} if is_dry else numbers_of(unit, work)
        made = {m.contract.id: m for m in work.issue.done}
        for entry, outcome in zip(wanted, work.outcomes, strict=True):
            if outcome.problem is not None or outcome.contract_id is None:
                rows[entry.id] = refused_row(entry.id, outcome.problem or Problem(code="internal-error", message="Nothing came of it."))
                continue
            rows[entry.id] = made_row(entry, work, made[outcome.contract_id], request.now, numbers, is_dry=is_dry)
            if not entry.command.deal.startswith(OWN_DEAL):
                linked.append((entry.command.deal, entry.command.label, outcome.contract_id, entry.command.customer.account))
    ordered = [rows[str(e["id"])] for e in given]
    return IntentResult(result={"rows": ordered}, deals=tuple(deal for deal, *_ in linked), linked=tuple(linked))


def sorted_entries(unit: Unit, org: str, given: Sequence[Mapping[str, Any]]) -> tuple[list[Entry], dict[str, dict[str, Any]]]:
    """Return the contracts that are to be made, and the rows of all others by their ids."""
    known = _known(unit, org, [str(e["id"]) for e in given])
    accounts = {c.details.account: c.details for c in store.customers(unit, org=org, accounts=[str(e["account"]) for e in given])}
    taken = store.contracts_of_deals(unit, org, [str(e["deal"]) for e in given if e["deal"]])
    rows: dict[str, dict[str, Any]] = {}
    wanted: dict[str, Entry] = {}
    for data in given:
        entry = _entry(data, accounts)
        if entry.id in known:
            rows[entry.id] = _standing_row(unit, entry, known[entry.id])
        elif entry.id in wanted:
            rows[entry.id] = refused_row(entry.id, Problem(code="duplicate-contract", message=f"The contract {entry.id} stands twice in the file."))
            del wanted[entry.id]
        elif data["deal"] in taken:
            rows[entry.id] = refused_row(entry.id, _taken(str(data["deal"]), taken[data["deal"]]))
        elif not entry.command.customer.name:
            rows[entry.id] = refused_row(entry.id, _unknown_customer(str(data["account"])))
        else:
            wanted[entry.id] = entry
            taken |= {str(data["deal"]): entry.id} if data["deal"] else {}
    return list(wanted.values()), rows


def _entry(data: Mapping[str, Any], accounts: Mapping[str, CustomerDetails]) -> Entry:
    account, said = str(data["account"]), data["customer"]
    details = accounts.get(account) or CustomerDetails(account=account, name="")
    if not details.name and said:
        details = CustomerDetails(**{**said, "account": account, "address": Address(**said["address"])})
    compared = {k: data[k] for k in ("deal", "account", "billed_through", "how", "terms")}
    text = json.dumps(compared, sort_keys=True)
    command = Command(
        key=f"import/{data['id']}", kind="create", deal=str(data["deal"] or f"{OWN_DEAL}{data['id']}"), label=str(data["label"] or data["id"]),
        customer=details, how=HowBilled(**data["how"]), terms=terms_from_data(data["terms"]),
        billed=through_from_data(data["billed_through"]) if data["billed_through"] else BilledThrough(),
    )  # fmt: skip
    return Entry(id=str(data["id"]), command=command, digest=hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), data=compared)


def _taken(deal: str, contract_id: str) -> Problem:
    return Problem(
        code="deal-is-billed", message=f"The deal {deal} has the contract {contract_id} already.",
        hint="Leave the deal blank, or name the deal that the contract belongs to.",
    )  # fmt: skip


def _unknown_customer(account: str) -> Problem:
    return Problem(
        code="unknown-customer", message=f"The books have no customer for the account {account}.",
        hint="Give name, email and address of the customer.",
    )  # fmt: skip


# ---------------------------------------------------------------- what the books know


def _known(unit: Unit, org: str, ids: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Return (contract id, digest, data) of contracts that were imported, by their own ids."""
    found: dict[str, tuple[str, str, str]] = {}
    for start in range(0, len(ids), store.READ_ROWS):
        batch = ids[start : start + store.READ_ROWS]
        sql = f"SELECT external_id, contract_id, digest, data FROM imported WHERE org = ? AND external_id IN ({','.join('?' * len(batch))})"
        found.update((row[0], (row[1], row[2], row[3])) for row in unit.query(sql, (org, *batch)))
    return found


def contract_imported_as(unit: Unit, org: str, external_id: str) -> str | None:
    """Return the id of the contract that was imported under another system's id."""
    found = _known(unit, org, [external_id])
    return found[external_id][0] if found else None


def note(unit: Unit, org: str, wanted: Sequence[Entry], work: Work, at: str) -> None:
    """Keep under which ids of another system contracts were made."""
    rows = [
        (org, entry.id, outcome.contract_id, entry.digest, json.dumps({k: v for k, v in entry.data.items() if k != "terms"}), at)
        for entry, outcome in zip(wanted, work.outcomes, strict=True)
        if outcome.problem is None
    ]
    unit.executemany(_INSERT, rows)


def _standing_row(unit: Unit, entry: Entry, known: tuple[str, str, str]) -> dict[str, Any]:
    contract_id, digest, data = known
    if digest == entry.digest:
        return row_of(entry.id, "unchanged", contract=contract_id)
    (contract,) = store.contracts(unit, [contract_id])
    before = json.loads(data) | {"terms": json.loads(contract.data)}
    now = json.loads(json.dumps(entry.data)) | {"terms": json.loads(store.terms_text(_with_how_of(entry)))}
    named = [_plain(path) for path in _differences(before, now)] or ["the terms"]
    shown = ", ".join(list(dict.fromkeys(named))[:5])
    problem = Problem(
        code="contract-differs", message=f"It exists as {contract_id}, and differs in {shown}.",
        hint="A contract is imported once. Amend it (`connector contracts amend`), or set the row back.",
    )  # fmt: skip
    return refused_row(entry.id, problem, contract=contract_id)


def _with_how_of(entry: Entry) -> Any:
    terms, how = entry.command.terms, entry.command.how
    assert terms is not None
    return replace(terms, collection_method=how.collection_method, days_until_due=how.days_until_due)


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yield the paths at which two trees differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(key), now.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _differences(old, new, f"{path}[{number}]")
    elif before != now:
        yield path


_PLAIN = (("terms.body.", ""), ("terms.", ""), ("how.", ""), ("billed_through.at", "billed_through"), ("billed_through.items.", "billed_through of "))


def _plain(path: str) -> str:
    """Return a path of the stored data in the words of the file."""
    for old, new in _PLAIN:
        if path.startswith(old):
            return new + path.removeprefix(old)
    return path


# ---------------------------------------------------------------- rows of the report


def row_of(external_id: str, outcome: str, **more: Any) -> dict[str, Any]:
    """Return a row of the report."""
    return {"id": external_id, "outcome": outcome, "contract": None, "billed_now": None, "next_on": None, "next_amount": None} | more


def refused_row(external_id: str, problem: Problem, **more: Any) -> dict[str, Any]:
    """Return the row of a contract that cannot be made."""
    said = {"code": problem.code, "message": problem.message, "hint": problem.hint, "field": problem.where.field}
    return row_of(external_id, "refused", problem=said, **more)


def made_row(entry: Entry, work: Work, made: Billed, now: datetime, numbers: Mapping[str, str], *, is_dry: bool) -> dict[str, Any]:
    """Return the row of a contract that was made, or would be."""
    contract = made.after
    tax = work.issue.tax_of(contract.customer_id)
    invoice = made.invoice
    facts = [*work.imported.get(contract.id, ()), *(invoice.lines if invoice else ())]
    piece = piece_of(replace(contract, window_on=""), facts, state_of(work.issue.customers[contract.customer_id], tax))
    local, currency = to_local(now, contract.terms.timezone), contract.terms.currency
    plan = timeline(piece.contract, horizon=local)
    ahead = waiting_invoice(plan, piece, local) or next_invoice(plan, piece, local)
    return row_of(
        entry.id, "would be made" if is_dry else "made", contract=None if is_dry else contract.id, status=made.status, currency=currency.upper(),
        billed_now={"number": numbers.get(contract.id), "total": str(major(invoice.total, currency))} if invoice else None,
        next_on=ahead[0].isoformat() if ahead else None, next_amount=str(major(ahead[1], currency)) if ahead else None,
    )  # fmt: skip


def numbers_of(unit: Unit, work: Work) -> dict[str, str]:
    """Return the number of the invoice that each contract got at once."""
    ids = [m.contract.id for m in work.issue.done if m.invoice is not None]
    if not ids:
        return {}
    sql = f"SELECT contract_id, number FROM invoice WHERE number IS NOT NULL AND contract_id IN ({','.join('?' * len(ids))})"
    return {str(row[0]): str(row[1]) for row in unit.query(sql, ids)}


HANDLED: dict[str, Handler] = {"contract.import": import_contracts}
