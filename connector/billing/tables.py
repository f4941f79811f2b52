"""The schema of the books: table classes, used for the schema and migrations only; every statement stands in `store`.

Ids are text and time-ordered. Instants (`_at`) are UTC text in whole seconds, `2026-04-01T00:00:00Z`, so that they sort;
civil dates (`_on`) are `2026-04-01` in the contract's time zone, service instants are local and without offset (decision
D-11). Money is in minor units; quantities and unit prices are exact decimal text.
"""

from __future__ import annotations

from sqlmodel import BigInteger, Column, Field, Index, UniqueConstraint, false, text

from connector.billing import log_tables, stripe_tables
from connector.billing.following_tables import NEVER_REMINDED, TO_CHARGE
from connector.billing.schema import METADATA, Books
from connector.billing.schema import money as _money

__all__ = ["METADATA", "Books", "log_tables", "stripe_tables"]  # the whole schema: the tables here and those of what follows an invoice


class CustomerRow(Books, table=True):
    """Who is billed, one per CRM account; *balances* is JSON, currency to minor units (below zero = credit).

    discounts - JSON list of the coupons that contracts without their own inherit (decision D-120), each copied with the day from
    which it counts. is_consolidated - what the account says in
    the CRM: one invoice per customer, currency and run (decision D-35); consolidate_set - yes or no, where a command said otherwise.
    """

    __tablename__ = "customer"
    __table_args__ = (UniqueConstraint("org", "account", name="customer_account"),)
    id: str = Field(primary_key=True)
    org: str
    account: str
    name: str
    email: str
    line1: str
    city: str
    postal_code: str
    state: str
    country: str
    tax_id: str
    tax_exempt: str
    language: str
    balances: str
    created_at: str
    updated_at: str
    discounts: str = Field(default="[]", sa_column_kwargs={"server_default": "[]"})
    is_consolidated: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    consolidate_set: str | None = None


class ContractRow(Books, table=True):
    """What was agreed; *terms* is JSON in the scenario's vocabulary, *seq* the number of the last change.

    next_due_at - when a run must look at it next, for a line or a new status; NULL: never again. billed_until - all lines due
    before this local instant stand on finalized invoices; window_on - lines whose service ends after it are read as facts.
    Both are empty where all lines must be read.
    """

    __tablename__ = "contract"
    __table_args__ = (
        UniqueConstraint("org", "deal", name="contract_deal"),
        Index("contract_customer", "customer_id"),
        Index("contract_due", "next_due_at", "id"),
    )
    id: str = Field(primary_key=True)
    org: str
    deal: str
    label: str
    customer_id: str
    currency: str
    timezone: str
    terms: str
    seq: int
    status: str
    starts_on: str
    ends_on: str | None
    trial_ends_on: str | None
    value: int = _money()
    annual_value: int = _money()
    collection_method: str
    days_until_due: int
    po_number: str
    memo: str
    is_invoiced: bool
    billed_until: str
    window_on: str
    next_due_at: str | None
    problem: str
    created_at: str
    updated_at: str


class ChangeRow(Books, table=True):
    """One change of a contract, keyed by the deal or intent that asked for it; *data* is JSON.

    charged, credited - what it caused on finalized invoices; pending_* - what waits for the next invoice.
    """

    __tablename__ = "change"
    __table_args__ = (UniqueConstraint("org", "deal", name="change_deal"),)
    contract_id: str = Field(primary_key=True)
    seq: int = Field(primary_key=True)
    org: str
    deal: str
    label: str
    effective: str
    data: str
    value: int = _money()
    annual_value: int = _money()
    is_invoiced: bool
    charged: int = _money()
    credited: int = _money()
    pending_charged: int = _money()
    pending_credited: int = _money()
    invoice_id: str | None
    created_at: str


class InvoiceRow(Books, table=True):
    """An invoice; *bill_to* is JSON of the customer as of finalization, so that an issued invoice never changes.

    is_overdue - a run has seen it past its due date, so that each is told to the CRM once. credited - what credit notes took
    of it, tax included; what is open is amount_due - amount_paid - the credit that reduced it. reissues - the invoice that
    this one replaces. contract_id and deal are empty where it covers several contracts, or none (a one-off invoice).
    next_charge_at - when one that is charged automatically is tried next ("" at once, None: not by itself); attempts - how often
    it failed. reminded - the step of the reminders it has passed, in days from due_on, on the day reminded_on; dunning - what
    came of it after the last step: unpaid, canceled.
    """

    __tablename__ = "invoice"
    __table_args__ = (
        UniqueConstraint("number", name="invoice_number"),
        Index("invoice_contract", "contract_id"),
        Index(
            "invoice_customer",
            "customer_id",
            sqlite_where=text("contract_id = ''"),
            postgresql_where=text("contract_id = ''"),
        ),
        Index(
            "invoice_draft",
            "contract_id",
            sqlite_where=text("status = 'draft'"),
            postgresql_where=text("status = 'draft'"),
        ),
        Index(
            "invoice_open",
            "due_on",
            sqlite_where=text("status = 'open' AND NOT is_overdue"),
            postgresql_where=text("status = 'open' AND NOT is_overdue"),
        ),
        Index("invoice_reminded", "reminded", "due_on", sqlite_where=text("status = 'open'"), postgresql_where=text("status = 'open'")),
        Index("invoice_charge", "next_charge_at", sqlite_where=text(TO_CHARGE), postgresql_where=text(TO_CHARGE)),
    )
    id: str = Field(primary_key=True)
    number: str | None
    token: str
    status: str
    currency: str
    customer_id: str
    contract_id: str
    deal: str
    billing_reason: str
    collection_method: str
    created_at: str
    finalized_at: str | None
    issued_on: str
    due_on: str | None
    paid_on: str | None
    is_overdue: bool
    subtotal: int = _money()
    discount: int = _money()
    tax: int = _money()
    total: int = _money()
    starting_balance: int = _money()
    ending_balance: int = _money()
    amount_due: int = _money()
    amount_paid: int = _money()
    po_number: str
    memo: str
    bill_to: str
    credited: int = Field(sa_column=Column(BigInteger, nullable=False, server_default="0"))
    footer: str = Field(default="", sa_column_kwargs={"server_default": ""})
    reissues: str | None = None
    next_charge_at: str | None = Field(default="", sa_column_kwargs={"server_default": ""})
    attempts: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    reminded: int = Field(default=NEVER_REMINDED, sa_column_kwargs={"server_default": str(NEVER_REMINDED)})
    reminded_on: str = Field(default="", sa_column_kwargs={"server_default": ""})
    dunning: str = Field(default="", sa_column_kwargs={"server_default": ""})


class InvoicePartRow(Books, table=True):
    """What one contract has of an invoice that covers several, in the order of its lines; *total* is that of its lines, tax included.

    credited - what credit notes took of them; to_balance - what of that went to the customer's balance, so that what was paid
    stays paid. deal - the New or Renew deal in whose term its first recurring line lies. label - what the contract was called
    when the invoice was issued, the heading of its lines.
    """

    __tablename__ = "invoice_part"
    __table_args__ = (Index("invoice_part_contract", "contract_id", "invoice_id"),)
    invoice_id: str = Field(primary_key=True)
    place: int = Field(primary_key=True)
    contract_id: str
    deal: str
    label: str
    total: int = _money()
    credited: int = _money()
    to_balance: int = _money()


class LineRow(Books, table=True):
    """One line; its key says what it bills (decision D-10) and is unique, so that nothing can be billed twice.

    invoice_id - of its invoice; `im_…` for what another system billed, which no invoice of ours bears. The index of keys begins
    with a piece of the key, the day in most of them: the lines of a run stand together in it, however long the history is (D-136).
    """

    __tablename__ = "line"
    __table_args__ = (
        Index("line_key", text("substr(key, length(key) - 16, 10)"), "key", unique=True),
        Index("line_contract", "contract_id", "service_end"),
    )
    invoice_id: str = Field(primary_key=True)
    position: int = Field(primary_key=True)
    key: str
    contract_id: str
    item_id: str
    price_id: str
    product: str
    description: str
    quantity: str
    unit_amount: str | None
    amount: int = _money()
    kind: str
    is_proration: bool
    is_pending: bool
    change_id: str
    credits: str | None
    service_start: str
    service_end: str
    due_on: str
    discounts: str
    taxes: str
    place: int


class BalanceEntryRow(Books, table=True):
    """One movement of a customer's balance; *amount* below zero is credit given, above zero credit used; *reason* a person's words."""

    __tablename__ = "balance_entry"
    __table_args__ = (Index("balance_entry_customer", "customer_id", "id"),)
    id: str = Field(primary_key=True)
    customer_id: str
    currency: str
    amount: int = _money()
    ending_balance: int = _money()
    invoice_id: str | None
    made_at: str
    reason: str = Field(default="", sa_column_kwargs={"server_default": ""})


class SeriesRow(Books, table=True):
    """A series of invoice numbers; *next* is the number to be given next (decision D-15)."""

    __tablename__ = "series"
    name: str = Field(primary_key=True)
    next: int


class CreditNoteRow(Books, table=True):
    """A credit note on a finalized invoice; totals above zero, tax included, in minor units; numbered in its own series.

    reduced - what it took off the amount due; refunded, credited (to the balance) and out_of_band - what became of the part
    that was paid already. Together they are *total*.
    """

    __tablename__ = "credit_note"
    __table_args__ = (UniqueConstraint("number", name="credit_note_number"), Index("credit_note_invoice", "invoice_id"))
    id: str = Field(primary_key=True)
    number: str
    token: str
    invoice_id: str
    customer_id: str
    contract_id: str
    deal: str
    currency: str
    issued_on: str
    reason: str
    total: int = _money()
    tax: int = _money()
    reduced: int = _money()
    refunded: int = _money()
    credited: int = _money()
    out_of_band: int = _money()
    bill_to: str
    created_at: str


class CreditNoteLineRow(Books, table=True):
    """What a credit note takes of one invoice line: *amount* net of exclusive tax, *tax* on top or inside.

    note_id names no credit note where something else counts as taken: a voided invoice takes all of its lines, a reissued one
    (`ID/again`, below zero) gives back what its copies bill, and a note on copies (`NOTE/copies`) takes of what they copy.
    """

    __tablename__ = "credit_note_line"
    __table_args__ = (Index("credit_note_line_key", "line_key"),)
    note_id: str = Field(primary_key=True)
    position: int = Field(primary_key=True)
    line_key: str
    description: str
    quantity: str | None = None
    amount: int = _money()
    tax: int = _money()
    taxes: str


class ImportedRow(Books, table=True):
    """A contract that came from another system under its *external_id*; *digest* and *data* (JSON) say what the row of the file said.

    What that system billed stands in `line` under the contract's id with `im_` for `ct_` in place of an invoice's id.
    """

    __tablename__ = "imported"
    org: str = Field(primary_key=True)
    external_id: str = Field(primary_key=True)
    contract_id: str
    digest: str
    data: str
    made_at: str


class PaymentRow(Books, table=True):
    """Money that arrived for an invoice, or went back (below zero); *method* manual, test or stripe."""

    __tablename__ = "payment"
    __table_args__ = (Index("payment_invoice", "invoice_id"),)
    id: str = Field(primary_key=True)
    invoice_id: str
    amount: int = _money()
    currency: str
    method: str
    reference: str
    paid_on: str
    note_id: str | None = None
    made_at: str


class ProductRow(Books, table=True):
    """A product of the catalogue; *price_id* is the catalogue price it is billed at where a deal names none."""

    __tablename__ = "product"
    code: str = Field(primary_key=True)
    name: str
    charge_type: str
    crm_id: str
    price_id: str
    is_active: bool
    updated_at: str


class PriceRow(Books, table=True):
    """A catalogue price; *data* is JSON in the scenario's vocabulary of prices, amounts in minor units of *currency*."""

    __tablename__ = "price"
    id: str = Field(primary_key=True)
    product: str
    currency: str
    data: str
    is_active: bool
    updated_at: str


class CouponRow(Books, table=True):
    """A coupon by the code that deals name; *data* is JSON in the scenario's vocabulary, *currency* "" for percentages."""

    __tablename__ = "coupon"
    id: str = Field(primary_key=True)
    currency: str
    data: str
    is_active: bool
    updated_at: str


class UsageRow(Books, table=True):
    """A quantity used, recorded once under the sender's own *id*; *used_at* is local in the contract's time zone.

    item_id - the contract's item that it was recorded for; price_id - its price then.
    """

    __tablename__ = "usage_record"
    __table_args__ = (Index("usage_contract", "contract_id", "used_at"),)
    id: str = Field(primary_key=True)
    contract_id: str
    price_id: str
    used_at: str
    quantity: str
    made_at: str
    item_id: str = Field(default="", sa_column_kwargs={"server_default": ""})


class QuoteRow(Books, table=True):
    """One revision of a quote; *number* and *token* are given when it is first opened and shared by its revisions.

    status - draft (with a number: being revised), open, accepted, canceled, expired, replaced, outdated. kind - new, amend or
    renew; *data* is the JSON of its terms or its change, *base_contract* and *base_seq* what it changes as it stood then (stale
    detection). asked - the condition of the CRM record that was last acted on. bill_to, shown - JSON of the customer and of the
    lines as quoted. contract_id - what it became, or of a canceled one what took its place. is_moved - the CRM is to be told.
    """

    __tablename__ = "quote"
    __table_args__ = (
        UniqueConstraint("org", "deal", "record", "revision", name="quote_revision"),
        Index("quote_number", "number"),
        Index("quote_base", "base_contract"),
        Index("quote_expires", "status", "expires_at"),
        Index("quote_token", "token"),
        Index("quote_moved", "id", sqlite_where=text("is_moved"), postgresql_where=text("is_moved")),
    )
    id: str = Field(primary_key=True)
    org: str
    deal: str
    record: str
    label: str
    number: str | None = None
    revision: int
    status: str
    kind: str
    customer_id: str
    account: str
    currency: str
    data: str
    how: str
    base_contract: str | None = None
    base_seq: int = 0
    contract_id: str | None = None
    token: str
    due_now: int = _money()
    per_period: int = _money()
    tax: int = _money()
    discount: int = _money()
    value: int = _money()
    expires_at: str | None = None
    opened_at: str | None = None
    accepted_at: str | None = None
    accepted_by: str
    reason: str
    created_at: str
    updated_at: str
    asked: str = Field(default="", sa_column_kwargs={"server_default": ""})
    digest: str = Field(default="", sa_column_kwargs={"server_default": ""})
    bill_to: str = Field(default="{}", sa_column_kwargs={"server_default": "{}"})
    shown: str = Field(default="{}", sa_column_kwargs={"server_default": "{}"})
    accepted_title: str = Field(default="", sa_column_kwargs={"server_default": ""})
    accepted_from: str = Field(default="", sa_column_kwargs={"server_default": ""})
    accepted_via: str = Field(default="", sa_column_kwargs={"server_default": ""})
    is_moved: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})


class PortalLinkRow(Books, table=True):
    """A customer's link to its portal, and what it *said* there: JSON, field to (what the CRM said then, what it said)."""

    __tablename__ = "portal_link"
    customer_id: str = Field(primary_key=True)
    token: str
    said: str
    made_at: str
