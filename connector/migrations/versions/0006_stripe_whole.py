"""The Stripe backend made whole: every id that a shared object has had, and what it was told of customers."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=False)


def _known() -> None:
    op.create_table(
        "stripe_known",
        *map(_text, ("kind", "key", "stripe_id", "contract_id", "made_at")),
        sa.PrimaryKeyConstraint("kind", "key", "stripe_id", "contract_id"),
    )
    op.create_index("stripe_known_stripe_id", "stripe_known", ["stripe_id"], unique=False)
    op.execute(
        "INSERT INTO stripe_known (kind, key, stripe_id, contract_id, made_at)"
        " SELECT kind, key, stripe_id, '', made_at FROM stripe_object WHERE kind IN ('customer', 'price')"
    )


def _told() -> None:
    op.create_table(
        "stripe_told", *map(_text, ("customer_id", "digest", "tax_id", "tax_number", "updated_at")), sa.PrimaryKeyConstraint("customer_id")
    )


def upgrade() -> None:
    _told()
    _known()
