"""What the whole of Salesforce needs: deals that are billed through another one."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def _covered() -> None:
    op.create_table(
        "covered",
        sa.Column("deal", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("deal", "holder"),
    )
    op.create_index("covered_holder", "covered", ["holder"], unique=False)


def upgrade() -> None:
    """Add the tables and columns; what stands in the ledger keeps its meaning."""
    _covered()
