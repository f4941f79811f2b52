"""Two accounts of Stripe that know nothing of each other, the compiler's model and the look-alike's machine, bill alike what plans send."""

from __future__ import annotations

from datetime import timedelta

from histories import contracts, lives
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from stripe_lives import lived
from stripe_machine_lives import lived as lived_on_machine

from connector.core.period import to_utc
from connector.core.terms import Contract

FEW = settings(
    max_examples=15, phases=(Phase.generate,), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
)  # fmt: skip
MADE = st.sampled_from([timedelta(0), timedelta(0), timedelta(hours=15), timedelta(days=-40), timedelta(days=45)])


def _alike(contract: Contract, made_after: timedelta) -> None:
    """Let a contract live with both; what they billed is the same. What the compiler cannot do yet is no matter here."""
    start = to_utc(contract.terms.start, contract.terms.timezone)
    until = start + timedelta(days=430)
    try:
        expected = lived(contract, start + made_after, until)
    except AssertionError:
        assume(False)
        raise
    found = lived_on_machine(contract, start + made_after, until)
    assert found.compared(until)[1] == expected.compared(until)[1]


@FEW
@given(contracts(), MADE)
def test_contracts_and_amendments(contract, made):
    """Contracts with amendments, late ones too, are billed alike to the cent and key by key."""
    _alike(contract, made)


@FEW
@given(lives(), MADE)
def test_whole_lives(contract, made):
    """So are trials, phases, renewals, pauses, cancellations and periods billed ahead."""
    _alike(contract, made)
