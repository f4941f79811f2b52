"""What Stripe cannot hold, all of it at once, in words for the rep who can change the deal."""

from __future__ import annotations

from collections.abc import Sequence

from connector.billing.stripe_backend.compiling.groups import Group
from connector.billing.stripe_backend.compiling.outlook import Outlook
from connector.errors import Problem


def problem_of(outlook: Outlook, groups: Sequence[Group]) -> Problem | None:
    """Return one problem that names every limit, None where Stripe can hold the contract."""
    return None
