"""The schema of the event log and of what carries it outside; every statement stands in `events` and in the room of webhooks."""

from __future__ import annotations

from typing import Any

from sqlmodel import BigInteger, Column, Field, Index, Integer, UniqueConstraint, text

from connector.billing.schema import Books

OF_CONTRACTS = "contract_id <> '' AND name <> 'invoice.finalized'"
"""Events that are found by their contract: an invoice's is found by the invoice, whose id it bears (decision D-137)."""


def _counted() -> Any:
    kind = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts by itself there
    return Field(default=None, sa_column=Column(kind, primary_key=True, autoincrement=True))


class EventRow(Books, table=True):
    """What happened to the books: when, by whom, to what; the database refuses to change or delete a row.

    seq - the order in which events were written. *data*, *before* and *after* are JSON, "" = nothing. contract_id "" where it is
    about no contract, or about several.
    """

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("id", name="event_id"),
        Index("event_contract", "contract_id", "seq", sqlite_where=text(OF_CONTRACTS), postgresql_where=text(OF_CONTRACTS)),
        Index("event_customer", "customer_id", "seq", sqlite_where=text("contract_id = ''"), postgresql_where=text("contract_id = ''")),
    )
    seq: int = _counted()
    id: str
    made_at: str
    actor: str
    name: str
    contract_id: str
    invoice_id: str | None
    data: str
    before: str = Field(default="", sa_column_kwargs={"server_default": ""})
    after: str = Field(default="", sa_column_kwargs={"server_default": ""})
    customer_id: str = Field(default="", sa_column_kwargs={"server_default": ""})


class WebhookEndpointRow(Books, table=True):
    """An address that is told of events; *id* is made of its URL, *cursor* the last event that was put into its queue."""

    __tablename__ = "webhook_endpoint"
    id: str = Field(primary_key=True)
    url: str
    cursor: int = Field(sa_column=Column(BigInteger, nullable=False))
    made_at: str


class WebhookDeliveryRow(Books, table=True):
    """One event on its way to one address; state pending, delivered or dead. *next_try_at* is when it is due again."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (Index("webhook_waiting", "state", "endpoint_id", "event_seq"),)
    endpoint_id: str = Field(primary_key=True)
    event_seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    state: str
    attempts: int
    next_try_at: str
    error: str
    done_at: str | None = None
