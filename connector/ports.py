"""The doors of the house: what the CRM, billing and the mapping say to the sync, as protocols and values.

No adapter is named here. Instants are aware UTC, civil dates are in the business time zone, money is in minor units with a
currency unless a name says `_major` (only the CRM speaks major units, decision D-12).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, Protocol

from connector.accounts import AccountTax as AccountTax  # noqa: PLC0414 - ports, given out here
from connector.accounts import Address as Address  # noqa: PLC0414
from connector.accounts import CustomerDetails as CustomerDetails  # noqa: PLC0414
from connector.accounts import HowBilled as HowBilled  # noqa: PLC0414
from connector.accounts import TaxSource as TaxSource  # noqa: PLC0414
from connector.accounts import exempt_note as exempt_note  # noqa: PLC0414
from connector.charging import Chased
from connector.core.closing import Difference
from connector.core.elsewhere import BilledThrough
from connector.core.segments import Surprise
from connector.core.terms import Change, Contract, ContractTerms, Interval
from connector.core.values import dataclass
from connector.errors import Problem
from connector.holding import Holding
from connector.unit import Unit as Unit  # noqa: PLC0414 - one of the ports, given out here

# ---------------------------------------------------------------- the CRM


@dataclass(frozen=True, slots=True, kw_only=True)
class Org:
    """The CRM organization we are logged in to; ids have 18 characters."""

    id: str
    name: str
    currency: str
    is_multi_currency: bool
    is_sandbox: bool
    instance_url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldInfo:
    """One field as describe shows it; *type* is Salesforce's word (string, picklist, currency, double, percent, date …).

    length - characters of a text. precision - digits of a number in all, *scale* of them behind the point. picklist - its active
    values; is_restricted: it takes no other.
    """

    name: str
    type: str
    label: str = ""
    length: int = 0
    precision: int = 0
    scale: int = 0
    is_nillable: bool = True
    is_updateable: bool = True
    is_createable: bool = True
    is_calculated: bool = False
    is_external_id: bool = False
    is_unique: bool = False
    is_restricted: bool = False
    picklist: tuple[str, ...] = ()
    relationship: str | None = None
    reference_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One object as describe shows it, with what we may do to its records; *fields* by API name. A hidden field is not there."""

    name: str
    label: str
    fields: Mapping[str, FieldInfo]
    is_queryable: bool = True
    is_createable: bool = True
    is_updateable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """One record to write: update by *id*, or upsert by the external id *key_field* = *key* (creates it where missing).

    *group*: records of one group (an account id) are written together, because writing one locks its parent (pitfall P27).
    """

    object: str
    values: Mapping[str, Any]
    id: str | None = None
    key_field: str | None = None
    key: str | None = None
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of one `Upsert`, in the order asked; exactly one of *id* (success) and *problem*.

    is_transient - the same write may succeed later (lock, overload); otherwise a person must act.
    """

    id: str | None = None
    problem: Problem | None = None
    is_transient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiUsage:
    """The calls of this process since start, and what the org last said of its rolling 24 h allocation (0 = not yet known).

    is_spent - its last answer to a call was that none is left.
    """

    calls: int
    used: int = 0
    limit: int = 0
    is_spent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The first rows of one query, as many as the CRM sends at once (200 to 2,000, fewer for wide rows: P17).

    is_whole - there are no more. is_timed_out - the CRM gave up on it and sent none: ask for less (P19). refused - why this query, and
    it alone, cannot be answered: a field or an object is missing or hidden (P21).
    """

    rows: list[dict[str, Any]]
    is_whole: bool = True
    is_timed_out: bool = False
    refused: Problem | None = None


class Crm(Protocol):
    """A Salesforce-style CRM. Raises RetryableError, HaltError, RejectedError; never a foreign error."""

    def connect(self) -> Org:
        """Log in where needed and return the org; cheap when already logged in."""

    def versions(self) -> Sequence[str]:
        """Return the API versions that the CRM offers; asks for the login alone, and costs no call of the allocation."""

    def server_now(self) -> datetime:
        """Return the CRM's clock as last seen in a reply (whole seconds); polling windows are counted on it (P7)."""

    def describe(self, objects: Sequence[str]) -> Mapping[str, ObjectInfo]:
        """Return the objects that exist and are visible to us, in one call for up to 25."""

    def query(self, soql: Sequence[str], *, with_deleted: bool = False) -> list[list[dict[str, Any]]]:
        """Run flat queries and return all rows of each, in order; up to 5 short ones share one call.

        Rows are plain dicts without `attributes`; parents nest as dicts; numbers are int or Decimal.
        """

    def pages(self, soql: Sequence[str], *, with_deleted: bool = False) -> list[Page]:
        """Return the first page of each query, in order, up to 5 a call; who wants more asks anew from behind its last row.

        One that is refused keeps no other from being answered.
        """

    def write(self, upserts: Sequence[Upsert]) -> list[Written]:
        """Write the records, up to 5 x 200 a call, each judged alone; the results stand in the order asked."""

    def usage(self) -> ApiUsage:
        """Return the count of calls so far."""


# ---------------------------------------------------------------- what the mapping makes of a record

NAMED_IN: Mapping[str, str] = {
    "line.price.catalog": "the price that the product names",
    "line.coupons": "the coupons of the line",
    "deal.coupons": "the coupons of the deal",
}
"""What billing calls the fields in which records name prices and coupons, by the mapping's key: the mapping knows their labels."""


Action = Literal["new", "amend", "renew", "cancel", "pause", "resume"]
Condition = Literal["won", "open", "dropped", "preview", "idle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The desired state that one CRM record asks for (decision D-02). deal - its deal's name; label - the record's, for messages.

    condition - which source condition holds: won (`when`), open, dropped, preview, idle (none). terms - of a New record; change - of every other action.
    amends - the parent *record* id as filled in; also_amends - others that its lines name; amends_contract - a contract id. synced_quote - the quote a won opportunity takes its terms from.
    closed_on - CloseDate. expires_on - the last day on which what is offered can be accepted. notes - stated defaults that were used, in
    plain words. editor - who last saved the record. currency - in which the record is, lower case, None where it does not say.
    """

    object: str
    record: str
    deal: str
    label: str
    action: Action
    condition: Condition
    closed_on: date
    created_at: datetime
    customer: CustomerDetails
    how: HowBilled = HowBilled()
    terms: ContractTerms | None = None
    change: Change | None = None
    amends: str | None = None
    also_amends: tuple[str, ...] = ()
    amends_contract: str | None = None
    synced_quote: str | None = None
    expires_on: date | None = None
    contact: str | None = None
    editor: str = ""
    notes: tuple[str, ...] = ()
    currency: str | None = None


# ---------------------------------------------------------------- billing

CommandKind = Literal["create", "replace", "details", "withdraw", "change", "replace_change", "withdraw_change"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One decision for the billing backend, saved with its *key* `{org}/{deal}/r{revision}` before it is carried out.

    create - customer (made or updated) and contract from *terms*; *billed*: how far another system billed it already. replace - the
    terms of a contract nothing of which is invoiced. details - new *customer* and *how* only. withdraw - the contract was never billed and shall not be. change,
    replace_change, withdraw_change - one `Change`, keyed by its deal; *currency*, where said, must be the contract's.
    actor - who asked, "" for the deal itself.
    """

    key: str
    kind: CommandKind
    deal: str
    label: str
    customer: CustomerDetails
    how: HowBilled
    terms: ContractTerms | None = None
    change: Change | None = None
    contract_id: str | None = None
    currency: str | None = None
    billed: BilledThrough | None = None
    actor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one `Command`: a contract id, or the problem that keeps the record from being billed.

    waits_for - the deal whose decision is still on its way to a backend outside; the same command is to be asked again after it.
    """

    key: str
    contract_id: str | None = None
    customer_id: str | None = None
    problem: Problem | None = None
    waits_for: str = ""

    @property
    def is_waiting(self) -> bool:
        """Whether nothing was decided, because something else of the contract is on its way."""
        return bool(self.waits_for)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceView:
    """An invoice as the CRM, the console and the page show it; amounts in minor units of *currency*.

    url - the page where the customer sees it, where the backend has one; "": ours, by *token*. deal - the New or Renew deal it belongs to, None where it covers several. amount_due is less what credit notes took of it
    while it was open, amount_paid less what went back; credited - what credit notes took in all. A credit note is a view too
    (*is_note*), with a total below zero and its own number.
    """

    id: str
    deal: str | None
    account: str
    contract_id: str
    number: str
    status: Literal["draft", "open", "paid", "void", "uncollectible", "issued"]
    currency: str
    issued_on: date | None
    due_on: date | None
    total: int
    amount_due: int
    amount_paid: int
    token: str
    paid_on: date | None = None
    credited: int = 0
    is_note: bool = False
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one deal stands in the books, for the CRM record.

    contract_status - draft, scheduled, trialing, active, past_due, unpaid, paused, withdrawn, canceled, completed.
    next_on, next_amount - the next invoice as the engine would make it (total with tax); None: there is none.
    value, annual_value - before tax, after discounts; of a change deal: the difference it made (value only).
    last - the latest finalized invoice; of a change deal: the invoice that carries its lines.
    oldest_open - the open invoice that fell due first, for "Past due"; *chased* is about it. is_trial_lost - its trial ended without a payment method. problem - why the next cannot be made.
    charged, credited - of a change deal: sums of the lines it caused, on finalized invoices or pending; what - what it changed; surprises - what ran otherwise than when it was agreed.
    is_queued - what was decided for the deal is on its way to a backend outside. portal_token - of the customer's portal link, "" = none. paused_by - the change that paused the contract, None while it is not paused.
    """

    deal: str
    contract_id: str
    customer_id: str
    currency: str
    contract_status: str
    starts_on: date
    ends_on: date | None
    is_change: bool = False
    is_invoiced: bool = False
    value: int = 0
    annual_value: int = 0
    next_on: date | None = None
    next_amount: int | None = None
    billed: int = 0
    paid: int = 0
    due: int = 0
    charged: int = 0
    credited: int = 0
    effective_on: date | None = None
    trial_ends_on: date | None = None
    last: InvoiceView | None = None
    oldest_open: InvoiceView | None = None
    renewed_by: str | None = None
    problem: Problem | None = None
    portal_token: str = ""
    paused_by: str | None = None
    what: tuple[Difference, ...] = ()
    surprises: tuple[Surprise, ...] = ()
    chased: Chased | None = None
    is_trial_lost: bool = False
    is_queued: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewLine:
    """One line of an invoice that does not exist yet; amounts in minor units."""

    description: str
    quantity: Decimal
    start: date
    end: date
    amount: int
    discount: int
    tax: int
    is_proration: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewInvoice:
    """An invoice as it would be made."""

    on: date
    due_on: date | None
    lines: tuple[PreviewLine, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a command would do: its invoices in order (bounded; *has_more*: others follow; *is_consolidated*: shared with other contracts), or what stops it.

    notes - what the backend does in another way than asked, in plain words. holding - how a service outside the books will hold it.
    """

    invoices: tuple[PreviewInvoice, ...] = ()
    value: int = 0
    currency: str = ""
    problem: Problem | None = None
    is_consolidated: bool = False
    has_more: bool = False
    notes: tuple[str, ...] = ()
    holding: Holding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What an edit of a billed deal takes to count (decision D-115): *change*, None where none can do it; *problem*: the contract refuses.

    due_now - the invoice it makes at once, per_period - by how much later periods become dearer; minor units, tax included.
    """

    currency: str
    differences: tuple[Difference, ...] = ()
    change: Change | None = None
    problem: Problem | None = None
    due_now: int = 0
    per_period: tuple[tuple[Interval, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledRun:
    """What a billing run did: counts, and the deals whose standing changed."""

    contracts: int = 0
    invoices: int = 0
    drafts: int = 0
    lines: int = 0
    deals: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentResult:
    """What a person's request led to: plain values for whoever asked, and the deals whose CRM records must be told.

    retry - codes of problems that it may have solved: deals that are held by one of them are tried again.
    linked - (deal, its label, contract id, account) of deals that have a contract now which no record of theirs made.
    waits_for - keys of what is still on its way to a backend outside; the request is finished when all of it is settled.
    """

    result: Mapping[str, Any]
    deals: tuple[str, ...] = ()
    retry: tuple[str, ...] = ()
    linked: tuple[tuple[str, str, str, str], ...] = ()
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a pass that sends decisions to a backend outside did: calls *sent*, decisions *done* and *refused*, those that *wait*.

    problem - why the backend could not be reached; what waits is tried again by itself.
    """

    sent: int = 0
    done: int = 0
    refused: int = 0
    wait: int = 0
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a comparison with a backend outside looked at, what it found that no event had told, and how many differences stand there."""

    invoices: int = 0
    subscriptions: int = 0
    missed: int = 0
    drift: int = 0

    def text(self) -> str:
        """Return it in words."""
        found = [f"{self.missed:,} missed and read now" if self.missed else "", f"{self.drift:,} changed there by hand" if self.drift else ""]
        return f"{self.invoices:,} invoices, {self.subscriptions:,} subscriptions; {', '.join(filter(None, found)) or 'no difference'}"


class Billing(Protocol):
    """A billing backend. *transactional*: what `apply` does is whole with the caller's unit; else it is on its way from then on."""

    transactional: bool

    def apply(self, commands: Sequence[Command], unit: Unit, now: datetime, *, hold: bool) -> list[Outcome]:
        """Carry out the commands in order and bill what became due; one outcome a command, refusals as problems.

        *hold*: the CRM has been silent for too long, so that new invoices stay drafts (deals.md section 9).
        """

    def standings(self, deals: Sequence[str], unit: Unit, now: datetime) -> Mapping[str, Standing]:
        """Return how the deals stand, from the books; a deal that has no contract is missing."""

    def changed_invoices(self, deals: Sequence[str], unit: Unit) -> list[InvoiceView]:
        """Return the finalized invoices of the deals' contracts, oldest first."""

    def preview(self, command: Command, unit: Unit, now: datetime) -> Preview:
        """Return what the command would cause, by the same functions as `apply`; writes nothing."""

    def proposal(self, command: Command, change_id: str, unit: Unit, now: datetime) -> Proposal:
        """Return the amendment *change_id* by which a billed contract becomes what *command* (replace, replace_change) says."""

    def bill(self, unit: Unit, as_of: datetime, *, limit: int, hold: bool) -> BilledRun:
        """Bill up to *limit* contracts that are due at *as_of*; nothing due = a run of zero contracts."""

    def contract(self, contract_id: str, unit: Unit) -> Contract | None:
        """Return a contract with its terms and changes."""

    def party(self, contract_id: str, unit: Unit) -> tuple[str, str, str] | None:
        """Return (CRM account, name of the customer, currency) of a contract."""

    def carry_out(
        self, kind: str, data: Mapping[str, Any], unit: Unit, now: datetime, *, key: str, actor: str
    ) -> IntentResult:
        """Carry out a person's request (decision D-35) in the caller's unit; *key* names it for good, so that it is done once.

        Raises: RejectedError with the words for whoever asked; the unit must then be rolled back.
        """
