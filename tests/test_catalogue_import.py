"""The catalogue from files: every price of the vocabulary goes in and comes out, twice adds nothing, bad rows are refused by line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_cli import Shell, shell
from test_flow_catalogue import product

from connector.billing import catalogue, stocking
from connector.billing.intents import Request, carried_out
from connector.billing.internal import InternalBilling
from connector.core.terms import Coupon, Interval, Price, Tier
from connector.kit.db import Database
from connector.migrations import upgrade

__all__ = ["shell"]

MONTH = Interval(unit="month")
NOW = datetime(2026, 4, 1, 9, tzinfo=UTC)
PRICES = (
    Price(id="flat", unit_amount=Decimal(1000), interval=MONTH),
    Price(id="setup", product="SETUP", description="Set-up", unit_amount=Decimal(-500)),
    Price(id="cent", unit_amount=Decimal("0.005"), interval=MONTH, usage_type="metered", timing="in_arrears"),
    Price(id="yearly", unit_amount=Decimal(120000), interval=MONTH, per=Interval(unit="year")),
    Price(id="late", unit_amount=Decimal(7), interval=Interval(unit="week", count=2), timing="in_arrears", tax_behavior="inclusive"),
    Price(
        id="steps", interval=MONTH, tiers_mode="graduated",
        tiers=(Tier(up_to=Decimal("2.5"), flat_amount=Decimal(900)), Tier(up_to=None, unit_amount=Decimal("650.25"))),
    ),
    Price(id="packs", unit_amount=Decimal(500), interval=MONTH, divide_by=10, divide_round="down"),
)  # fmt: skip
COUPONS = (
    Coupon(id="TEN", percent_off=Decimal("12.5")),
    Coupon(id="FIFTY", amount_off=5000, duration="once", applies_to=("flat", "GOLD")),
    Coupon(id="SPRING", percent_off=Decimal(10), duration="repeating", duration_in_months=3),
)
CATALOGUE = """\
currency: eur
products:
  GOLD: {name: Gold, charge_type: recurring, price: gold}
prices:
  gold: {product: GOLD, unit_amount: 1000, recurring: {interval: month}}
  sms: {product: SMS, unit_amount: "0.5", recurring: {interval: month, usage_type: metered}}
  endless:
    recurring: {interval: month}
    tiers_mode: graduated
    tiers: [{up_to: 5, unit_amount: 700}]
coupons:
  TEN: {percent_off: 10, duration: forever}
  LOT: {percent_off: 110, duration: forever}
"""
SHEET = """\
kind,id,product,currency,unit_price,unit_amount,unit_amount_decimal,interval,tiers_mode,tiers,percent_off,duration,active
price,gold,GOLD,eur,10.00,,,month,,,,,
,sms,SMS,eur,,,0.5,month,,,,,
price,seats,SEAT,eur,,,,month,volume,5:700:100 inf:650,,,no
coupon,TEN,,,,,,,,,10,forever,
price,slip,X,eur,,10.00,,month,,,,,
price,gold,GOLD,eur,11.00,,,month,,,,,
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database with the schema."""
    made = Database(f"sqlite:///{tmp_path}/books.db")
    with made.engine.begin() as connection:
        upgrade(connection)
    yield made
    made.close()


def outcome(result: Any) -> list[tuple[str, str]]:
    """Return (id, result) of every row of a report."""
    return [(r["id"], r["result"]) for r in result["rows"]]


@pytest.mark.parametrize("price", PRICES, ids=lambda p: p.id)
def test_a_price_comes_back_as_it_was_kept(price: Price) -> None:
    """Written as JSON and read again, every kind of price is the same price."""
    text = catalogue.as_text(catalogue.price_to_data(price))
    assert catalogue.price_of(price.id, price.product, text) == price


@pytest.mark.parametrize("coupon", COUPONS, ids=lambda c: c.id)
def test_a_coupon_comes_back_as_it_was_kept(coupon: Coupon) -> None:
    """Written as JSON and read again, every kind of coupon is the same coupon."""
    assert catalogue.coupon_of(coupon.id, catalogue.as_text(catalogue.coupon_to_data(coupon))) == coupon


def test_prices_read_as_people_say_them() -> None:
    """A price list says amount, currency, interval and what is special about a price."""
    assert [catalogue.price_text(p, "eur") for p in PRICES] == [
        "10.00 EUR a month",
        "-5.00 EUR once",
        "0.00005 EUR a month, metered",
        "1200.00 EUR a month",
        "0.07 EUR per 2 weeks, in arrears",
        "graduated in 2 tiers, EUR a month",
        "5.00 EUR per 10 (rounded down) a month",
    ]


def test_a_file_before_the_first_sync_and_twice(shell: Shell) -> None:
    """Before anything else is done, a dry run makes no file; the import makes the good rows and refuses the bad ones by line and column; again, all is unchanged."""
    (shell.folder / "catalog.yaml").write_text(CATALOGUE)
    before = sorted(p.name for p in shell.folder.iterdir())
    rows = [("GOLD", "made"), ("gold", "made"), ("sms", "made"), ("endless", "refused"), ("TEN", "made"), ("LOT", "refused")]
    status, dry = shell.json("import", "catalog", "catalog.yaml", "--dry-run")
    assert (status, dry["dry_run"], outcome(dry)) == (1, True, rows)
    assert sorted(p.name for p in shell.folder.iterdir()) == before
    status, done = shell.json("import", "catalog", "catalog.yaml")
    assert (status, outcome(done)) == (1, rows)
    places = [(p["code"], p["where"]["line"], p["where"]["column"]) for p in done["problems"]]
    assert places == [("tier-order", 10, 13), ("not-a-percentage", 13, 22)]
    status, again = shell.json("import", "catalog", "catalog.yaml")
    assert (again["made"], again["changed"], again["unchanged"], again["refused"]) == (0, 0, 4, 2)
    listed = shell.json("prices", "list")[1]
    assert [(p["id"], p["price"]) for p in listed] == [("gold", "10.00 EUR a month"), ("sms", "0.005 EUR a month, metered")]
    status, _, err = shell.run("import", "catalog", "nothing.yaml")
    assert (status, "cannot be read" in err) == (2, True)


def test_a_sheet_says_the_same_as_a_file(shell: Shell) -> None:
    """A CSV with prices in major units finds the catalogue's price unchanged; 10.00 as minor units and a repeated id are refused; what changes is said."""
    (shell.folder / "catalog.yaml").write_text(CATALOGUE)
    (shell.folder / "sheet.csv").write_text(SHEET)
    shell.run("import", "catalog", "catalog.yaml")
    status, done = shell.json("import", "catalog", "sheet.csv")
    assert status == 1
    assert outcome(done) == [
        ("gold", "unchanged"), ("sms", "changed"), ("seats", "made"), ("TEN", "unchanged"), ("slip", "refused"), ("gold", "refused"),
    ]  # fmt: skip
    assert done["rows"][1]["what"] == 'recurring {"interval": "month", "usage_type": "metered"} -> {"interval": "month"}'
    assert "unit_price is in major units" in done["rows"][4]["what"]
    assert done["rows"][5]["row"].endswith("sheet.csv:7")
    assert [p["active"] for p in shell.json("prices", "list")[1] if p["id"] == "seats"] == [False]
    (shell.folder / "sheet.csv").write_text("id,prise\ngold,10\n")
    status, _, err = shell.run("import", "catalog", "sheet.csv")
    assert (status, 'Did you mean "price"?' in err) == (2, True)


def test_the_same_request_again_adds_nothing(database: Database) -> None:
    """A request that is carried out twice answers the same and leaves one event a row; a price of another currency keeps its own."""
    data = {"rows": [
        {"kind": "price", "id": "gold", "row": "f:1", "product": "GOLD", "currency": "eur", "data": {"unit_amount": 1000}, "active": True},
    ]}  # fmt: skip
    engine = InternalBilling(org="o", timezone="UTC")
    request = Request(kind="catalogue.import", data=data, key="it_1", actor="cli", now=NOW)
    with database.transaction() as unit:
        first = carried_out(request, engine, unit)
        assert carried_out(request, engine, unit).result == first.result
        assert unit.query("SELECT name, before, after FROM event ORDER BY name") == [
            ("catalogue.imported", "", ""),
            ("price.made", "", '{"id":"gold","currency":"eur","product":"GOLD","active":true,"unit_amount":1000}'),
        ]
        other = {**data["rows"][0], "currency": "usd"}
        (row,), shelf = stocking.compared(unit, [other])
        assert (row["result"], shelf.changed_prices) == ("refused", [])


def test_products_of_the_crm_bring_the_prices_they_name(shell: Shell) -> None:
    """Without an interval a recurring price is refused; with one it is made from the price book; a price of the catalogue stays; again, all is unchanged."""
    (shell.folder / "catalog.yaml").write_text(CATALOGUE)
    shell.run("import", "catalog", "catalog.yaml")
    for ref, price, charge, unit in (("seats", "S_M", "Recurring", "12.50"), ("start", "S_1", "One-time", "90.00"), ("gold", "gold", "Recurring", "99.00")):
        product(shell.world, ref, price=price, charge=charge, unit=unit)
    status, dry = shell.json("import", "catalog", "--from", "crm", "--dry-run")
    mine = {r["id"]: (r["result"], r["what"]) for r in dry["rows"] if r["id"] in ("SEATS", "START", "S_M", "S_1", "GOLD")}
    assert status == 1
    assert mine["SEATS"][0] == "refused"
    assert "Say --interval month" in mine["SEATS"][1]
    assert (mine["S_1"], mine["START"][0]) == (("made", "90.00 EUR once"), "made")
    status, done = shell.json("import", "catalog", "--from", "crm", "--interval", "month")
    assert (status, done["refused"]) == (0, 0)
    assert {p["id"]: p["price"] for p in shell.json("prices", "list")[1]} == {
        "S_1": "90.00 EUR once", "S_M": "12.50 EUR a month", "gold": "10.00 EUR a month", "sms": "0.005 EUR a month, metered",
    }  # fmt: skip
    again = shell.json("import", "catalog", "--from", "crm")[1]
    assert (again["made"], again["changed"], again["refused"]) == (0, 0, 0)
    assert shell.run("import", "catalog")[0] == 2
    assert shell.run("import", "catalog", "--from", "crm", "--interval", "week")[0] == 2
