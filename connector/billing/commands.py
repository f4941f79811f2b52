"""Carrying out commands on a working copy of the books: what was loaded before, what stands after, nothing written yet.

Each command turns one `BookedContract` into the next; a refused one leaves the copy as it was (nothing half applied), and a
command that finds its own work already done succeeds without a trace, so that a decision may be replayed by its key. What has
to be written is the difference between the two copies (`Copy.before`, `Copy.after`), made by `Copy.save`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from connector.billing import events, portal, store
from connector.billing.given import given_of
from connector.billing.locking import hold_contracts
from connector.billing.named import Names, names_for, settled_change, settled_terms
from connector.billing.store import BalanceEntry, BookedChange, BookedContract, Customer
from connector.core.edit_ids import EDIT
from connector.core.elsewhere import BilledThrough, through_problems
from connector.core.invoicing import Line
from connector.core.quoting import annual_value, change_value, contract_value
from connector.core.schedule import ends_on, problems
from connector.core.terms import Change, ContractTerms
from connector.errors import Problem, RejectedError, Where, invariant
from connector.kit.db import new_id
from connector.ports import Command, CustomerDetails, HowBilled, Unit


@dataclass(slots=True, kw_only=True)
class Copy:
    """A working copy of what some commands are about; *touched* is to be billed: contract id to its commands.

    billed - how far another system billed contracts that are imported; imported - the lines that stand for it, by contract id.
    known - customers as they were, customers - as they shall be, both by account. merged - contracts that followed a merge of
    accounts, with the customer's id before and after. said - what customers said of themselves in the portal, by account.
    names - what the catalogue has of the names that the commands use.
    """

    org: str
    now: datetime
    before: dict[str, BookedContract]
    after: dict[str, BookedContract]
    by_deal: dict[str, str]
    customers: dict[str, Customer]
    known: dict[str, Customer]
    touched: dict[str, list[Command]] = field(default_factory=dict)
    merged: dict[str, tuple[str, str]] = field(default_factory=dict)
    said: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    billed: dict[str, BilledThrough] = field(default_factory=dict)
    imported: dict[str, list[Line]] = field(default_factory=dict)

    def contract_of(self, deal: str) -> BookedContract | None:
        """Return the contract that a deal made or changed."""
        contract_id = self.by_deal.get(deal)
        return self.after.get(contract_id) if contract_id else None

    def customer(self, details: CustomerDetails) -> Customer:
        """Return the customer of an account with these details, made where it is new."""
        standing = self.customers.get(details.account)
        details = portal.merged(details, self.said.get(details.account))
        if standing is None:
            standing = Customer(id=new_id("cus", self.now), details=details, balances={})
        elif standing.details != details:
            standing = replace(standing, details=details)
        self.customers[details.account] = standing
        return standing

    def actors(self) -> dict[str, str]:
        """Return who asked for the changes of each touched contract."""
        return {i: ",".join(dict.fromkeys(c.actor or c.key for c in asked)) for i, asked in self.touched.items()}

    def customer_by_id(self, customer_id: str) -> Customer:
        """Return a customer that a contract of this copy belongs to."""
        return next(c for c in self.customers.values() if c.id == customer_id)


def loaded(unit: Unit, org: str, commands: Sequence[Command], now: datetime) -> Copy:
    """Read everything that the commands are about: one read per table for the whole chunk."""
    by_deal = store.contracts_of_deals(unit, org, [c.deal for c in commands])
    ids = {*by_deal.values(), *(c.contract_id for c in commands if c.contract_id)}
    hold_contracts(unit, sorted(ids), org=org, accounts=[c.customer.account for c in commands])
    contracts = {c.id: c for c in store.contracts(unit, sorted(ids))}
    found = store.customers(unit, org=org, accounts=[c.customer.account for c in commands])
    known = {c.id for c in found}
    others = {c.customer_id for c in contracts.values()} - known
    found += store.customers(unit, ids=sorted(others))
    by_account = {c.details.account: c for c in found}
    return Copy(
        org=org,
        now=now,
        before=contracts,
        after=dict(contracts),
        by_deal=by_deal,
        customers=dict(by_account),
        known=by_account,
        said=portal.said(unit, org, sorted(by_account)),
        names=names_for(unit, [a for c in commands for a in (c.terms, c.change)]),
    )


def carry_out(copy: Copy, command: Command) -> str:
    """Carry out one command on the copy and return its contract's id.

    Raises: RejectedError with the words for the record; the copy is then as before.
    """
    contract = _CARRY[command.kind](copy, command)
    if copy.before.get(contract.id) is not contract:
        copy.touched.setdefault(contract.id, []).append(command)
    copy.after[contract.id] = contract
    copy.by_deal[command.deal] = contract.id
    return contract.id


# ---------------------------------------------------------------- contracts


def _create(copy: Copy, command: Command) -> BookedContract:
    standing = copy.contract_of(command.deal)
    terms, data = _agreed(copy, command, standing)
    if standing is not None and standing.deal != command.deal:
        raise _refused(
            "deal-is-change", f"'{command.label}' already changed another contract ({standing.id}).", command
        )
    if standing is not None and standing.status != "withdrawn":
        if standing.data != data:
            raise _refused(
                "contract-exists",
                f"'{command.label}' already has the contract {standing.id}, with other terms.",
                command,
                hint="Close an Amend deal with the difference.",
            )
        return _settled_how(copy, command, standing)
    made = BookedContract(
        id=standing.id if standing else new_id("ct", copy.now),
        deal=command.deal,
        label=command.label,
        customer_id="",
        terms=terms,
        data=data,
        how=command.how,
        starts_on=terms.start.date(),
    )
    checked = _valued(_checked(made, command), copy.customer(command.customer))
    if command.billed is not None:
        found = through_problems(checked.contract, command.billed)
        if found:
            raise _refused(found[0].code, " ".join(p.message for p in found), command, hint=found[0].hint)
        copy.billed[made.id] = command.billed
    return replace(checked, customer_id=copy.customer(command.customer).id)


def _replace(copy: Copy, command: Command) -> BookedContract:
    standing = _root(copy, command)
    terms, data = _agreed(copy, command, standing)
    if standing.data != data:
        if standing.is_invoiced:
            raise _refused(
                "already-invoiced",
                f"'{command.label}' was invoiced already; its terms are history.",
                command,
                hint="Close an Amend deal with the difference.",
            )
        # what shapes money was settled when the contract was made (deals.md section 8)
        terms = replace(terms, settings=standing.terms.settings)
        data = store.terms_text(terms)
        standing = replace(standing, terms=terms, data=data, how=command.how)
        standing = _valued(_checked(replace(standing, starts_on=terms.start.date()), command), copy.customer(command.customer))
    return _settled_how(copy, command, standing)


def _details(copy: Copy, command: Command) -> BookedContract:
    return _settled_how(copy, command, _root(copy, command))


def _settled_how(copy: Copy, command: Command, standing: BookedContract) -> BookedContract:
    """Return the contract with the customer and the way of billing that the command names."""
    known = copy.customers.get(command.customer.account)
    has_moved = known is None or standing.customer_id != known.id
    if has_moved and standing.is_invoiced and command.kind != "details":
        raise _refused(
            "account-changed",
            f"'{command.label}' was invoiced to another account already.",
            command,
            hint="Set the account back, or cancel this contract and close a New deal for the other account.",
        )
    customer = copy.customer(command.customer)
    if has_moved and standing.is_invoiced:
        customer = _merged(copy, standing, customer)
    same = (standing.customer_id, standing.how, standing.label) == (customer.id, command.how, command.label)
    if same and copy.known.get(customer.details.account) is customer:
        return standing
    terms = _with_how(standing.terms, command.how)
    data = standing.data if terms is standing.terms else store.terms_text(terms)
    return replace(standing, customer_id=customer.id, how=command.how, label=command.label, terms=terms, data=data)


def _merged(copy: Copy, contract: BookedContract, customer: Customer) -> Customer:
    """Return the customer into whose account the contract's account was merged, with the balance of both."""
    old = copy.customer_by_id(contract.customer_id)
    copy.merged[contract.id] = (old.id, customer.id)
    if not any(old.balances.values()):
        return customer
    both = {c: old.balances.get(c, 0) + customer.balances.get(c, 0) for c in {**old.balances, **customer.balances}}
    copy.customers[old.details.account] = replace(old, balances={})
    copy.customers[customer.details.account] = replace(customer, balances=both)
    return copy.customers[customer.details.account]


def _withdraw(copy: Copy, command: Command) -> BookedContract:
    standing = _root(copy, command)
    if standing.status == "withdrawn":
        return standing
    if standing.is_invoiced:
        raise _refused(
            "already-invoiced",
            f"'{command.label}' was invoiced already and cannot be withdrawn.",
            command,
            hint="Close a Cancel deal to stop it.",
        )
    return replace(standing, status="withdrawn", changes=())


# ---------------------------------------------------------------- changes


def _change(copy: Copy, command: Command) -> BookedContract:
    standing, change, data = _base(copy, command)
    existing = _change_of(standing, command.deal)
    if existing is not None:
        if existing.data == data:
            return standing
        raise _refused("change-exists", f"'{command.label}' already changed {standing.id}, in another way.", command)
    return _with_change(standing, change, data, command)


def _replace_change(copy: Copy, command: Command) -> BookedContract:
    standing, change, data = _base(copy, command)
    existing = _change_of(standing, command.deal)
    if existing is not None and existing.data == data:
        return standing
    return _with_change(_without(standing, existing, command), change, data, command)


def _withdraw_change(copy: Copy, command: Command) -> BookedContract:
    standing = copy.after.get(command.contract_id or "") or copy.contract_of(command.deal)
    if standing is None:
        raise _refused("unknown-contract", f"There is no contract {command.contract_id}.", command)
    existing = _change_of(standing, command.deal)
    if existing is None:
        return standing
    return _checked(_without(standing, existing, command), command)


def _base(copy: Copy, command: Command) -> tuple[BookedContract, Change, str]:
    standing = copy.after.get(command.contract_id or "") or copy.contract_of(command.deal)
    if standing is None:
        raise _refused("unknown-contract", f"There is no contract {command.contract_id}.", command)
    if standing.status == "withdrawn":
        raise _refused(
            "withdrawn-contract",
            f"The contract {standing.id} was withdrawn before it was billed.",
            command,
            hint="Win its deal again, or change which deal this one amends.",
        )
    if command.change is None:
        raise _refused("no-change", f"'{command.label}' says nothing that could be changed.", command)
    _require_same_party(copy, standing, command)
    change = command.change if command.change.id == command.deal else replace(command.change, id=command.deal)
    change = settled_change(change, standing.contract, copy.names, command.deal)
    return standing, change, store.change_text(change)


def _require_same_party(copy: Copy, standing: BookedContract, command: Command) -> None:
    """Refuse a change of another customer's contract, or in another currency."""
    if command.currency is not None and command.currency != standing.terms.currency:
        ours, theirs = command.currency.upper(), standing.terms.currency.upper()
        raise _refused(
            "other-currency",
            f"Not billed: {standing.id} is in {theirs}, this deal is in {ours}.",
            command,
            hint=f"Close this deal in {theirs}, or as a New deal; it is tried again by itself.",
        )
    owner = copy.customer_by_id(standing.customer_id).details
    if EDIT not in command.deal and owner.account != command.customer.account:
        raise _refused(
            "other-customer",
            f"Not billed: {standing.id} belongs to another account ({owner.name}) than this deal.",
            command,
            hint="Correct the account of this deal, or which deal or contract it changes; it is tried again by itself.",
        )


def _change_of(contract: BookedContract, deal: str) -> BookedChange | None:
    return next((c for c in contract.changes if c.change.id == deal), None)


def _without(contract: BookedContract, change: BookedChange | None, command: Command) -> BookedContract:
    if change is None:
        return contract
    if change.is_invoiced:
        raise _refused(
            "already-invoiced",
            f"What '{command.label}' changed was invoiced already.",
            command,
            hint="Close another Amend deal with the difference.",
        )
    return replace(contract, changes=tuple(c for c in contract.changes if c is not change))


def _with_change(contract: BookedContract, change: Change, data: str, command: Command) -> BookedContract:
    seq = contract.seq + 1
    booked = BookedChange(seq=seq, change=change, data=data, label=command.label)
    return _checked(replace(contract, seq=seq, changes=(*contract.changes, booked)), command)


# ---------------------------------------------------------------- the parts


def _root(copy: Copy, command: Command) -> BookedContract:
    standing = copy.contract_of(command.deal) or copy.after.get(command.contract_id or "")
    if standing is None:
        raise _refused("unknown-contract", f"'{command.label}' has no contract in the books.", command)
    return standing


def _agreed(copy: Copy, command: Command, standing: BookedContract | None) -> tuple[ContractTerms, str]:
    if command.terms is None:
        raise _refused("no-terms", f"'{command.label}' says nothing that could be billed.", command)
    before = standing.terms if standing is not None and standing.deal == command.deal and standing.status != "withdrawn" else None
    terms = _with_how(settled_terms(command.terms, copy.names, command.deal, before), command.how)
    return terms, store.terms_text(terms)


def _with_how(terms: ContractTerms, how: HowBilled) -> ContractTerms:
    """Return the terms with the way of billing of the deal, which counts from the next invoice on."""
    if (terms.collection_method, terms.days_until_due) == (how.collection_method, how.days_until_due):
        return terms
    return replace(terms, collection_method=how.collection_method, days_until_due=how.days_until_due)


def _checked(contract: BookedContract, command: Command) -> BookedContract:
    """Return the contract with its dates and what its changes are worth, refused where they are impossible."""
    whole = contract.contract
    found = problems(whole)
    if found:
        hints = dict.fromkeys(p.hint for p in found if p.hint)
        raise _refused(found[0].code, " ".join(p.message for p in found), command, hint=" ".join(hints))
    end = ends_on(whole)
    trial = whole.terms.trial_end
    return replace(
        contract,
        status="draft" if contract.status == "withdrawn" else contract.status,
        ends_on=last_day(end),
        trial_ends_on=trial.date() if trial else None,
        changes=tuple(replace(c, value=change_value(whole, c.change.id)) for c in contract.changes),
    )


def _valued(contract: BookedContract, customer: Customer) -> BookedContract:
    """Return the contract with what was signed first is worth to its customer; changes have values of their own."""
    whole, given = contract.contract, given_of(customer.given)
    return replace(contract, value=contract_value(whole, given=given), annual_value=annual_value(whole, given=given))


def last_day(end: datetime | None) -> date | None:
    """Return the last day of service of what ends at a local instant (half-open)."""
    return (end - timedelta(microseconds=1)).date() if end is not None else None


def _refused(code: str, message: str, command: Command, *, hint: str = "") -> RejectedError:
    where = Where(record=command.deal)
    return RejectedError(Problem(code=code, message=message, hint=hint, where=where))


_CARRY: Mapping[str, Callable[[Copy, Command], BookedContract]] = {
    "create": _create,
    "replace": _replace,
    "details": _details,
    "withdraw": _withdraw,
    "change": _change,
    "replace_change": _replace_change,
    "withdraw_change": _withdraw_change,
}


# ---------------------------------------------------------------- the difference


def save_customers(copy: Copy, unit: Unit, at: str) -> None:
    """Write the customers of the touched contracts, before their invoices move any balance."""
    used = {copy.after[i].customer_id for i in copy.touched} | {old for old, _ in copy.merged.values()}
    people = [c for c in copy.customers.values() if c.id in used]
    fresh = [c for c in people if c.details.account not in copy.known]
    standing = [(c, copy.known[c.details.account]) for c in people if c.details.account in copy.known]
    store.insert_customers(unit, copy.org, fresh, at)
    portal.make_links(unit, [c.id for c in fresh], at)
    store.update_customers(unit, [c for c, old in standing if c.details != old.details], at)
    store.update_balances(unit, [c for c, old in standing if c.balances != old.balances], at)
    pairs: list[tuple[Customer, Mapping[str, int]]] = [
        *((c, old.balances) for c, old in standing),
        *((c, {}) for c in fresh),
    ]
    store.insert_balance_entries(unit, [e for c, old in pairs for e in _moves(c, old, copy.now)], at)
    _tell_of_customers(copy, unit, [(None, c) for c in fresh] + [(old, c) for c, old in standing], at)


def _tell_of_customers(copy: Copy, unit: Unit, pairs: Sequence[tuple[Customer | None, Customer]], at: str) -> None:
    who: dict[str, str] = {}
    for contract_id, actor in copy.actors().items():
        moved = copy.merged.get(contract_id, ())
        who |= dict.fromkeys((copy.after[contract_id].customer_id, *moved), actor)
    made = [events.customer_event(old, c, actor=who[c.id], now=copy.now) for old, c in pairs]
    store.insert_events(unit, [e for e in made if e is not None], at)


def _moves(customer: Customer, old: Mapping[str, int], now: datetime) -> list[BalanceEntry]:
    """Return the entries that lead from the *old* balances of a customer to those it has now."""
    moved = [c for c in sorted({**old, **customer.balances}) if customer.balances.get(c, 0) != old.get(c, 0)]
    return [
        BalanceEntry(
            id=new_id("bal", now),
            customer_id=customer.id,
            currency=currency,
            amount=customer.balances.get(currency, 0) - old.get(currency, 0),
            ending_balance=customer.balances.get(currency, 0),
            invoice_id=None,
        )
        for currency in moved
    ]


def save(copy: Copy, unit: Unit, at: str) -> None:
    """Write what differs between the two copies of contracts and changes: one statement a table."""
    changed = [copy.after[i] for i in sorted(copy.touched)]
    store.insert_contracts(unit, copy.org, [c for c in changed if c.id not in copy.before], at)
    store.update_contracts(unit, [c for c in changed if c.id in copy.before], at)
    gone: list[tuple[str, int]] = []
    made: list[tuple[str, BookedChange]] = []
    kept: list[tuple[str, BookedChange]] = []
    for contract in changed:
        standing = copy.before.get(contract.id)
        old = {c.seq: c for c in standing.changes} if standing else {}
        new = {c.seq: c for c in contract.changes}
        gone += [(contract.id, seq) for seq in old if seq not in new]
        made += [(contract.id, c) for seq, c in new.items() if seq not in old]
        kept += [(contract.id, c) for seq, c in new.items() if seq in old and old[seq] != c]
    store.delete_changes(unit, gone)
    store.insert_changes(unit, copy.org, made, at)
    store.update_changes(unit, kept)
    who, told = copy.actors(), []
    for contract in changed:
        keys = [c.key for c in copy.touched[contract.id]]
        data = store.event_text({"commands": keys})
        told.append(
            events.contract_event(copy.before.get(contract.id), contract, actor=who[contract.id], now=copy.now, data=data)
        )
    store.insert_events(unit, [e for e in told if e is not None], at)


def drop(copy: Copy, contract_ids: Iterable[str]) -> None:
    """Take contracts that could not be billed back to what they were, so that nothing of their commands is saved."""
    for contract_id in contract_ids:
        invariant(contract_id not in copy.merged, "a contract that follows a merge of accounts can be billed")
        copy.touched.pop(contract_id, None)
        copy.imported.pop(contract_id, None)
        standing = copy.before.get(contract_id)
        if standing is None:
            del copy.after[contract_id]
        else:
            copy.after[contract_id] = standing
