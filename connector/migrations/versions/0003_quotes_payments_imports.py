"""What quotes, payments by themselves, reminders, imports and consolidated invoices need."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def _event_log() -> None:
    """Give events the order in which they were written, and let the database refuse to change or delete one."""
    op.rename_table("event", "event_before")
    op.create_table(
        "event",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("contract_id", sa.String(), nullable=False),
        sa.Column("invoice_id", sa.String(), nullable=True),
        sa.Column("data", sa.String(), nullable=False),
        sa.Column("before", sa.String(), server_default="", nullable=False),
        sa.Column("after", sa.String(), server_default="", nullable=False),
        sa.Column("customer_id", sa.String(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id", name="event_id"),
    )
    columns = "id, made_at, actor, name, contract_id, invoice_id, data, before, after"
    op.execute(f"INSERT INTO event ({columns}) SELECT {columns} FROM event_before ORDER BY made_at, id")
    op.drop_table("event_before")
    of_contracts = "contract_id <> '' AND name <> 'invoice.finalized'"
    for name, column, where in (("event_contract", "contract_id", of_contracts), ("event_customer", "customer_id", "contract_id = ''")):
        op.create_index(name, "event", [column, "seq"], unique=False, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    if op.get_bind().dialect.name == "sqlite":
        for name, act in (("event_unchanged", "UPDATE"), ("event_kept", "DELETE")):
            op.execute(
                f"CREATE TRIGGER {name} BEFORE {act} ON event BEGIN SELECT RAISE(ABORT, 'the event log is only added to'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION event_only_grows() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'the event log is only added to'; END $$"
    )
    op.execute(
        "CREATE TRIGGER event_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON event"
        " FOR EACH STATEMENT EXECUTE FUNCTION event_only_grows()"
    )


def _webhooks() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("endpoint_id", sa.String(), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_at", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("done_at", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("endpoint_id", "event_seq"),
    )
    op.create_index("webhook_waiting", "webhook_delivery", ["state", "endpoint_id", "event_seq"], unique=False)


def upgrade() -> None:
    """Add the tables and columns; what stands in the books keeps its meaning."""
    _line_keys()
    _imports()
    _event_log()
    _webhooks()
    _consolidated_invoices()
    _portal()
    _edits_and_links()
    _quotes()
    _payments()
    _mails()
    op.add_column("usage_record", sa.Column("item_id", sa.String(), server_default="", nullable=False))


def _line_keys() -> None:
    with op.batch_alter_table("line") as line:
        line.drop_constraint("line_key", type_="unique")
    op.create_index("line_key", "line", [sa.text("substr(key, length(key) - 16, 10)"), "key"], unique=True)


def _imports() -> None:
    op.create_table(
        "imported",
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=False),
        sa.Column("contract_id", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("data", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("org", "external_id"),
    )
    op.create_table(
        "wanted_record",
        sa.Column("object", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("object", "id"),
    )


def _consolidated_invoices() -> None:
    op.create_table(
        "invoice_part",
        sa.Column("invoice_id", sa.String(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("contract_id", sa.String(), nullable=False),
        sa.Column("deal", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("credited", sa.BigInteger(), nullable=False),
        sa.Column("to_balance", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("invoice_id", "place"),
    )
    op.create_index("invoice_part_contract", "invoice_part", ["contract_id", "invoice_id"], unique=False)
    no_contract = sa.text("contract_id = ''")
    op.create_index("invoice_customer", "invoice", ["customer_id"], unique=False, sqlite_where=no_contract, postgresql_where=no_contract)
    op.add_column("customer", sa.Column("consolidate_set", sa.String(), nullable=True))
    op.add_column("balance_entry", sa.Column("reason", sa.String(), server_default="", nullable=False))
    op.create_index("balance_entry_customer", "balance_entry", ["customer_id", "id"], unique=False)


def _portal() -> None:
    op.create_table(
        "portal_link",
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("said", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id"),
    )
    op.create_index("intent_actor", "intent", ["actor", "id"], unique=False)


def _edits_and_links() -> None:
    """What edited records of billed deals ask for, and contracts that deals were linked to."""
    op.create_table(
        "proposal",
        sa.Column("deal", sa.String(), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("data", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
    )
    op.create_table(
        "link",
        sa.Column("deal", sa.String(), primary_key=True),
        sa.Column("contract_id", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
    )


def _quotes() -> None:
    """What was quoted to whom, who accepted it and how, and whether the CRM is still to be told."""
    texts = {"asked": "", "digest": "", "bill_to": "{}", "shown": "{}", "accepted_title": "", "accepted_from": "", "accepted_via": ""}
    for name, default in texts.items():
        op.add_column("quote", sa.Column(name, sa.String(), nullable=False, server_default=default))
    op.add_column("quote", sa.Column("is_moved", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("quote_token", "quote", ["token"], unique=False)
    op.create_index(
        "quote_moved", "quote", ["id"], unique=False, sqlite_where=sa.text("is_moved"), postgresql_where=sa.text("is_moved")
    )


def _payments() -> None:
    """How customers are charged, each try to charge, and how far an open invoice was followed up."""
    op.create_table(
        "payment_method",
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id"),
    )
    op.create_table(
        "charge",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("invoice_id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.Column("done_at", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("charge_invoice", "charge", ["invoice_id"], unique=False)
    _partial("charge_pending", "charge", ["id"], "state = 'pending'")
    op.add_column("invoice", sa.Column("next_charge_at", sa.String(), server_default="", nullable=True))
    op.add_column("invoice", sa.Column("attempts", sa.Integer(), server_default="0", nullable=False))
    op.add_column("invoice", sa.Column("reminded", sa.Integer(), server_default="-10000", nullable=False))
    op.add_column("invoice", sa.Column("reminded_on", sa.String(), server_default="", nullable=False))
    op.add_column("invoice", sa.Column("dunning", sa.String(), server_default="", nullable=False))
    _partial("invoice_reminded", "invoice", ["reminded", "due_on"], "status = 'open'")
    to_charge = "status = 'open' AND collection_method = 'charge_automatically' AND next_charge_at IS NOT NULL"
    _partial("invoice_charge", "invoice", ["next_charge_at"], to_charge)


def _mails() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("invoice_id", sa.String(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("data", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_at", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.Column("done_at", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", name="outbox_key"),
    )
    op.create_index("outbox_invoice", "outbox", ["invoice_id"], unique=False)
    _partial("outbox_queued", "outbox", ["next_try_at", "id"], "state = 'queued'")
    _partial("outbox_failed", "outbox", ["id"], "state = 'failed'")


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    """Index only the rows that are looked for, so that what is done costs nothing."""
    op.create_index(name, table, columns, unique=False, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
