"""What was agreed has the same digest in every version, or each upgrade would call every billed deal edited."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from connector.core.terms import Change, ContractTerms, Interval, Item, ItemChange, Phase, Price, Settings
from connector.sync.agreed import terms_digest

START = datetime(2026, 1, 1)
SEAT = Item(
    id="seat", price=Price(id="seat", unit_amount=Decimal(1000), interval=Interval(unit="month")), quantity=Decimal(3), crm_lines=("00k1",)
)
TERMS = ContractTerms(
    currency="eur",
    timezone="UTC",
    settings=Settings(proration="day", tax_rounding="line"),
    start=START,
    phases=(Phase(start=START, end=None, items=(SEAT,)),),
)
MORE = Change(
    id="a",
    kind="amend",
    effective=datetime(2026, 2, 1),
    made_at=datetime(2026, 2, 1),
    items=(ItemChange(op="delta", item=SEAT, item_id="seat"),),
    proration_behavior="always_invoice",
)


def test_terms_and_changes_have_the_digests_of_the_version_before() -> None:
    """The two digests were made by commit 603a013, whose terms had fewer fields; a failing one says that a new field counts at its default."""
    assert terms_digest(TERMS) == "77965c13e5385452d208fa21ed703c4c"
    assert terms_digest(MORE) == "889d9650e9c1bc3fa10f81a6c496d82f"


def test_line_ids_and_settings_do_not_count_and_all_else_does() -> None:
    """A re-synced quote has other line ids; another number, or a later field that says something, is another agreement."""
    others = replace(SEAT, crm_lines=("00k2", "00k3"))
    resynced = replace(TERMS, settings=Settings(proration="second", tax_rounding="invoice"), phases=(replace(TERMS.phases[0], items=(others,)),))
    assert terms_digest(resynced) == terms_digest(TERMS)
    parts = replace(SEAT, price=replace(SEAT.price, per_parts=12))
    for item in (replace(SEAT, quantity=Decimal(4)), parts):
        assert terms_digest(replace(TERMS, phases=(replace(TERMS.phases[0], items=(item,)),))) != terms_digest(TERMS)
    assert terms_digest(replace(MORE, is_delta_order=True)) != terms_digest(MORE)
    assert terms_digest(None) == ""
