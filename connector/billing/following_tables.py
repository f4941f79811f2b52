"""The tables of what follows an invoice: payment methods, tries to charge, mails."""

from __future__ import annotations

from sqlmodel import Field, Index, UniqueConstraint, text

from connector.billing.schema import Books, money

NEVER_REMINDED = -10_000
TO_CHARGE = "status = 'open' AND collection_method = 'charge_automatically' AND next_charge_at IS NOT NULL"


class PaymentMethodRow(Books, table=True):
    """How a customer is charged automatically: *method* names who charges, *token* what it knows the method by; never a number."""

    __tablename__ = "payment_method"
    customer_id: str = Field(primary_key=True)
    method: str
    token: str
    label: str
    made_at: str


class ChargeRow(Books, table=True):
    """One try to charge an invoice, kept before anybody outside is asked; *id* is its key there: `INVOICE/c1`, `INVOICE/c2`.

    state - pending until the outcome is known, then succeeded or failed, with *code* and *message* of whoever charges.
    """

    __tablename__ = "charge"
    __table_args__ = (
        Index("charge_invoice", "invoice_id"),
        Index("charge_pending", "id", sqlite_where=text("state = 'pending'"), postgresql_where=text("state = 'pending'")),
    )
    id: str = Field(primary_key=True)
    invoice_id: str
    customer_id: str
    number: int
    method: str
    token: str
    amount: int = money()
    currency: str
    state: str
    code: str
    message: str
    reference: str
    made_at: str
    done_at: str | None = None


class OutboxRow(Books, table=True):
    """A mail to a customer, written with what caused it; *key* says what it is about, so that each is written once.

    state - queued, sent, failed, held (this org sends nothing) or dropped (there was no need any more). *recipient* is who got it,
    *data* JSON of what only this mail tells. step - of a reminder, in days from the due date.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("key", name="outbox_key"),
        Index("outbox_invoice", "invoice_id"),
        Index("outbox_queued", "next_try_at", "id", sqlite_where=text("state = 'queued'"), postgresql_where=text("state = 'queued'")),
        Index("outbox_failed", "id", sqlite_where=text("state = 'failed'"), postgresql_where=text("state = 'failed'")),
    )
    id: str = Field(primary_key=True)
    key: str
    kind: str
    invoice_id: str
    step: int
    data: str
    state: str
    recipient: str
    attempts: int
    next_try_at: str
    error: str
    made_at: str
    done_at: str | None = None
