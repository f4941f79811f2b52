"""Random lives prorated by the second: what is left to Stripe comes back line by line, nothing twice, nothing lost, never more given back than billed."""

from __future__ import annotations

import os
from datetime import timedelta

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from second_lives import second_lives
from stripe_lives import differences, lived
from stripe_machine_lives import lived as lived_on_machine

from connector.core.period import to_utc

EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "40"))
ENOUGH = settings(
    derandomize="PROPERTY_EXAMPLES" not in os.environ, max_examples=EXAMPLES, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much], phases=[Phase.explicit, Phase.reuse, Phase.generate],
)  # fmt: skip
MADE = st.sampled_from([timedelta(0), timedelta(hours=9), timedelta(hours=15, minutes=7, seconds=31)])
COUNTS = [0, 0]


@ENOUGH
@given(second_lives(), MADE)
def _live(contract, made):
    start = to_utc(contract.terms.start, contract.terms.timezone)
    until = start + timedelta(days=200)
    life = lived(contract, start + made, until)
    assert differences(life, until) == []
    other = lived_on_machine(contract, start + made, until)
    assert differences(other, until) == []
    assert other.left == life.left
    ours, theirs = life.compared(until)[1], other.compared(until)[1]
    assert ours.keys() == theirs.keys()
    assert all(abs(ours[key] - theirs[key]) <= 1 for key in ours), "where an amount ends in half a cent each may round its way"
    COUNTS[0] += bool(life.left)
    COUNTS[1] += 1


def test_lives_prorated_by_the_second() -> None:
    """On two accounts of Stripe that know nothing of each other every life is billed alike, and in a good part of them Stripe prorates."""
    _live()
    assert COUNTS[0] * 3 >= COUNTS[1], COUNTS
