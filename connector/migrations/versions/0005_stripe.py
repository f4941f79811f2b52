"""What is kept of Stripe beside the books."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=null)


def _pushes() -> None:
    op.create_table(
        "stripe_push",
        *map(_text, ("id", "key", "contract_id", "deal", "state", "plan", "results", "tries")),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _text("begun"), _text("begun_at", null=True), _text("made_at"), _text("next_try_at", null=True), _text("problem"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", name="stripe_push_key"),
    )  # fmt: skip
    op.create_index("stripe_push_due", "stripe_push", ["state", "next_try_at", "id"], unique=False)
    op.create_index("stripe_push_contract", "stripe_push", ["contract_id"], unique=False)


def _held() -> None:
    op.create_table(
        "stripe_held",
        *map(_text, ("contract_id", "customer", "data", "updated_at")),
        sa.PrimaryKeyConstraint("contract_id"),
    )
    op.create_index("ix_stripe_held_customer", "stripe_held", ["customer"], unique=False)
    columns = map(_text, ("subscription", "schedule", "contract_id", "group_name"))
    op.create_table("stripe_subscription", *columns, sa.PrimaryKeyConstraint("subscription"))
    op.create_index("ix_stripe_subscription_contract_id", "stripe_subscription", ["contract_id"], unique=False)
    op.create_table(
        "stripe_object", *map(_text, ("kind", "key", "stripe_id", "made_at")), sa.PrimaryKeyConstraint("kind", "key")
    )
    op.create_index("stripe_object_stripe_id", "stripe_object", ["stripe_id"], unique=False)


def _read() -> None:
    columns = map(_text, ("key", "contract_id", "push_id", "data", "invoice_item"))
    op.create_table("stripe_line", *columns, _text("invoice_id", null=True), sa.PrimaryKeyConstraint("key"))
    op.create_index("stripe_line_contract", "stripe_line", ["contract_id"], unique=False)
    op.create_table(
        "stripe_invoice",
        *map(_text, ("invoice_id", "stripe_id", "url", "pdf")), _text("url_until", null=True), _text("charge"), _text("dispute"),
        sa.PrimaryKeyConstraint("invoice_id"),
        sa.UniqueConstraint("stripe_id", name="stripe_invoice_stripe_id"),
    )  # fmt: skip
    op.create_index("stripe_invoice_url", "stripe_invoice", ["url_until"], unique=False)
    op.create_table(
        "stripe_event",
        _text("id"), _text("type"), sa.Column("created", sa.Integer(), nullable=False), *map(_text, ("object_id", "data", "state", "seen_at")),
        sa.PrimaryKeyConstraint("id"),
    )  # fmt: skip
    op.create_index("stripe_event_state", "stripe_event", ["state", "created"], unique=False)
    op.create_table(
        "stripe_notice",
        *map(_text, ("contract_id", "kind", "ref", "problem", "made_at")),
        sa.PrimaryKeyConstraint("contract_id", "kind", "ref"),
    )


def upgrade() -> None:
    """Add the tables; a ledger on the internal engine leaves them empty."""
    _pushes()
    _held()
    _read()
