"""What billing needs beyond its first invoices: credit notes, payments, catalogue, usage, quotes; requests of people."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the tables and columns; what stands in the books keeps its meaning."""
    op.create_table(
        "coupon",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("data", sa.String(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "credit_note",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("invoice_id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("contract_id", sa.String(), nullable=False),
        sa.Column("deal", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("issued_on", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("tax", sa.BigInteger(), nullable=False),
        sa.Column("reduced", sa.BigInteger(), nullable=False),
        sa.Column("refunded", sa.BigInteger(), nullable=False),
        sa.Column("credited", sa.BigInteger(), nullable=False),
        sa.Column("out_of_band", sa.BigInteger(), nullable=False),
        sa.Column("bill_to", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("number", name="credit_note_number"),
    )
    op.create_index("credit_note_invoice", "credit_note", ["invoice_id"], unique=False)
    op.create_table(
        "credit_note_line",
        sa.Column("note_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("line_key", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("quantity", sa.String(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("tax", sa.BigInteger(), nullable=False),
        sa.Column("taxes", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("note_id", "position"),
    )
    op.create_index("credit_note_line_key", "credit_note_line", ["line_key"], unique=False)
    op.create_table(
        "intent",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("data", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.Column("done_at", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("intent_state", "intent", ["state", "id"], unique=False)
    op.create_table(
        "payment",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("invoice_id", sa.String(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("paid_on", sa.String(), nullable=False),
        sa.Column("note_id", sa.String(), nullable=True),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("payment_invoice", "payment", ["invoice_id"], unique=False)
    op.create_table(
        "price",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("product", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("data", sa.String(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "product",
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("charge_type", sa.String(), nullable=False),
        sa.Column("crm_id", sa.String(), nullable=False),
        sa.Column("price_id", sa.String(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_table(
        "quote",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("org", sa.String(), nullable=False),
        sa.Column("deal", sa.String(), nullable=False),
        sa.Column("record", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("data", sa.String(), nullable=False),
        sa.Column("how", sa.String(), nullable=False),
        sa.Column("base_contract", sa.String(), nullable=True),
        sa.Column("base_seq", sa.Integer(), nullable=False),
        sa.Column("contract_id", sa.String(), nullable=True),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("due_now", sa.BigInteger(), nullable=False),
        sa.Column("per_period", sa.BigInteger(), nullable=False),
        sa.Column("tax", sa.BigInteger(), nullable=False),
        sa.Column("discount", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.String(), nullable=True),
        sa.Column("opened_at", sa.String(), nullable=True),
        sa.Column("accepted_at", sa.String(), nullable=True),
        sa.Column("accepted_by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.String(), nullable=False),
        sa.Column("updated_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("org", "deal", "record", "revision", name="quote_revision"),
    )
    op.create_index("quote_base", "quote", ["base_contract"], unique=False)
    op.create_index("quote_expires", "quote", ["status", "expires_at"], unique=False)
    op.create_index("quote_number", "quote", ["number"], unique=False)
    op.create_table(
        "usage_record",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("contract_id", sa.String(), nullable=False),
        sa.Column("price_id", sa.String(), nullable=False),
        sa.Column("used_at", sa.String(), nullable=False),
        sa.Column("quantity", sa.String(), nullable=False),
        sa.Column("made_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("usage_contract", "usage_record", ["contract_id", "used_at"], unique=False)
    op.add_column("customer", sa.Column("discounts", sa.String(), server_default="[]", nullable=False))
    op.add_column("customer", sa.Column("is_consolidated", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("event", sa.Column("before", sa.String(), server_default="", nullable=False))
    op.add_column("event", sa.Column("after", sa.String(), server_default="", nullable=False))
    op.add_column("invoice", sa.Column("credited", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("invoice", sa.Column("footer", sa.String(), server_default="", nullable=False))
    op.add_column("invoice", sa.Column("reissues", sa.String(), nullable=True))
