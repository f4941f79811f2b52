"""Properties of compiling over random contracts: on a model of Stripe they bill what the engine bills, to the cent and key by key."""

from __future__ import annotations

import os
from datetime import timedelta

from histories import contracts, lives
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from stripe_lives import differences, lived

from connector.core.period import to_utc
from connector.core.terms import Contract

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "25"))
ENOUGH = settings(
    derandomize="PROPERTY_EXAMPLES" not in os.environ, max_examples=EXAMPLES, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], phases=[Phase.explicit, Phase.reuse, Phase.generate],
)  # fmt: skip
MADE = st.sampled_from([timedelta(0), timedelta(0), timedelta(hours=15), timedelta(days=-40), timedelta(days=45)])


def _is_same(contract: Contract, made_after: timedelta, days: int = 430) -> None:
    start = to_utc(contract.terms.start, contract.terms.timezone)
    until = start + timedelta(days=days)
    life = lived(contract, start + made_after, until)
    assert differences(life, until) == []


@ENOUGH
@given(contracts(has_changes=False), MADE)
def test_plain_contracts_bill_the_same_on_stripe(contract, made):
    """Without changes, what Stripe's phases bill and what we send are together the engine's lines; asked again nothing is sent."""
    _is_same(contract, made)


@ENOUGH
@given(contracts(), MADE)
def test_amended_contracts_bill_the_same_on_stripe(contract, made):
    """With amendments, late ones too."""
    _is_same(contract, made)


@ENOUGH
@given(lives(), MADE)
def test_whole_lives_bill_the_same_on_stripe(contract, made):
    """With trials, phases, renewals, pauses, cancellations and periods billed ahead."""
    _is_same(contract, made)
