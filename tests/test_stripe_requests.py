"""What people ask for, on Stripe: the table of requests, and requests that go there and come back."""

from __future__ import annotations

from connector.billing.internal import HANDLERS
from connector.billing.stripe_backend.asking import kinds
from connector.sync import adopting
from connector.sync.requests import DealRequests


def test_every_kind_of_request_is_in_the_table() -> None:
    """Whatever the books, the ledger or the console can be asked for has one place in the table of what it does on Stripe."""
    of_deals = DealRequests(billing=None, language="en", timezone="UTC").handlers()  # type: ignore[arg-type]
    asked = {*HANDLERS, *of_deals, adopting.ADOPT, "contract.adopt"}
    assert asked == set(kinds.KINDS)


def test_a_kind_says_what_it_takes() -> None:
    """Only what is sent names calls, only what is refused names another way, and everything says what it does in a sentence."""
    for kind in kinds.KINDS.values():
        assert bool(kind.calls) == (kind.way == "sent"), kind.kind
        assert bool(kind.instead) == (kind.way == "refused"), kind.kind
        assert kind.does.endswith("."), kind.kind
    assert kinds.table().count("\n") == len(kinds.KINDS) + 2
