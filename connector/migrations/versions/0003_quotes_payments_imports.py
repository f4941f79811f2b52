"""What quotes, payments by themselves, reminders, imports and consolidated invoices need."""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables and columns; what stands in the books keeps its meaning."""
