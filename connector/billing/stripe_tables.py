"""What is kept of Stripe beside the books: pushes, what it holds of each contract, ids of shared objects, events and links.

Instants are UTC text in whole seconds; JSON is as `coding` writes it.
"""

from __future__ import annotations

from sqlmodel import Field, Index, UniqueConstraint

from connector.billing.schema import Books


class StripePushRow(Books, table=True):
    """A plan on its way to Stripe; see `steps.Push`. *problem* is JSON of why it was refused, "" where it was not."""

    __tablename__ = "stripe_push"
    __table_args__ = (
        UniqueConstraint("key", name="stripe_push_key"),
        Index("stripe_push_due", "state", "next_try_at", "id"),
        Index("stripe_push_contract", "contract_id"),
    )
    id: str = Field(primary_key=True)
    key: str
    contract_id: str
    deal: str
    state: str
    plan: str
    results: str
    tries: str
    attempts: int
    begun: str
    begun_at: str | None
    made_at: str
    next_try_at: str | None
    problem: str


class StripeHeldRow(Books, table=True):
    """What Stripe holds of a contract, as JSON of `steps.Held`."""

    __tablename__ = "stripe_held"
    contract_id: str = Field(primary_key=True)
    customer: str = Field(index=True)
    data: str
    updated_at: str


class StripeSubscriptionRow(Books, table=True):
    """Which contract a subscription belongs to, for whatever Stripe tells of it."""

    __tablename__ = "stripe_subscription"
    subscription: str = Field(primary_key=True)
    schedule: str
    contract_id: str = Field(index=True)
    group_name: str


class StripeObjectRow(Books, table=True):
    """The id of an object that several pushes use; *kind* customer, product, price, coupon, tax_rate, meter, schedule (not begun), charge; *key* is ours."""

    __tablename__ = "stripe_object"
    __table_args__ = (Index("stripe_object_stripe_id", "stripe_id"),)
    kind: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    stripe_id: str
    made_at: str


class StripeKnownRow(Books, table=True):
    """Every id that stands, or stood, for an object that several pushes use: by these it is recognized, `stripe_object` says which is used.

    contract_id - the contract that goes on with this id where others use another, "" for none: it was adopted with a price of its own.
    """

    __tablename__ = "stripe_known"
    __table_args__ = (Index("stripe_known_stripe_id", "stripe_id"),)
    kind: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    stripe_id: str = Field(primary_key=True)
    contract_id: str = Field(primary_key=True)
    made_at: str


class StripeToldRow(Books, table=True):
    """What Stripe was told of a customer: *digest* of the details, and the tax number (type and value) that we gave it, under its id there."""

    __tablename__ = "stripe_told"
    customer_id: str = Field(primary_key=True)
    digest: str
    tax_id: str
    tax_number: str
    updated_at: str


class StripeLineRow(Books, table=True):
    """A line that we bill ourselves, sent as an invoice item; *data* is JSON of the engine's line. invoice_id - ours, once it stands on one."""

    __tablename__ = "stripe_line"
    __table_args__ = (Index("stripe_line_contract", "contract_id"),)
    key: str = Field(primary_key=True)
    contract_id: str
    push_id: str
    data: str
    invoice_item: str
    invoice_id: str | None


class StripeInvoiceRow(Books, table=True):
    """Stripe's invoice or credit note (*stripe_id*) behind one of the books, and its links.

    url - the hosted page, "" for none; url_until - when it must be fetched anew. charge - what was paid with, for refunds and disputes.
    """

    __tablename__ = "stripe_invoice"
    __table_args__ = (
        UniqueConstraint("stripe_id", name="stripe_invoice_stripe_id"),
        Index("stripe_invoice_url", "url_until"),
    )
    invoice_id: str = Field(primary_key=True)
    stripe_id: str
    url: str
    pdf: str
    url_until: str | None
    charge: str
    dispute: str


class StripeEventRow(Books, table=True):
    """An event that was seen, from the poll or a webhook; *state* new, done, failed (an error of ours), poll: how far the poll came.

    Old ones are deleted.
    """

    __tablename__ = "stripe_event"
    __table_args__ = (Index("stripe_event_state", "state", "created"),)
    id: str = Field(primary_key=True)
    type: str
    created: int
    object_id: str
    data: str
    state: str
    seen_at: str


class StripeNoticeRow(Books, table=True):
    """What a rep must know of a contract that no invoice says; *ref* - Stripe's object, *problem* - JSON of its words."""

    __tablename__ = "stripe_notice"
    contract_id: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    ref: str = Field(primary_key=True)
    problem: str
    made_at: str
