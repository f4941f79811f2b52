"""What quotes, payments by themselves, reminders, imports and consolidated invoices need."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables and columns; what stands in the books keeps its meaning."""
    _consolidated_invoices()
    _portal()
    _edits_and_links()
    _quotes()


def _consolidated_invoices() -> None:
    op.create_table(
        "invoice_part",
        sa.Column("invoice_id", sa.String(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("contract_id", sa.String(), nullable=False),
        sa.Column("deal", sa.String(), nullable=False),
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
