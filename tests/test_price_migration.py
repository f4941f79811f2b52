"""Price migrations: contracts on a price get another one, now or as they are renewed; twice adds nothing; from a shell, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from books_world import Books, at, delta, item, open_books, terms
from histories import THOROUGH, all_terms, lines_of, played
from hypothesis import assume, given
from hypothesis import strategies as st
from test_cli import Shell, shell

from connector.billing import migrating
from connector.billing.catalogue import CatalogPrice, save_prices
from connector.core.period import plus_months
from connector.core.terms import Change, Contract, ContractTerms, Item, ItemChange, Price
from connector.errors import RejectedError
from connector.ports import CustomerDetails

__all__ = ["shell"]


@pytest.fixture
def books(tmp_path: Path) -> Books:
    """Return books whose catalogue has gold at 36.00 a month as gold_v2, and a one-time and a dollar price."""
    made = open_books(tmp_path)
    prices = [
        catalogued("gold_v2", '{"unit_amount":3600,"recurring":{"interval":"month"}}'),
        catalogued("gold_usd", '{"unit_amount":3600,"recurring":{"interval":"month"}}', currency="usd"),
        catalogued("setup", '{"unit_amount":3600}'),
    ]
    with made.database.transaction() as unit:
        save_prices(unit, prices, "2026-01-01T00:00:00Z")
    return made


def catalogued(name: str, data: str, currency: str = "eur") -> CatalogPrice:
    """Return a price of the product gold as the catalogue keeps it."""
    return CatalogPrice(id=name, product="gold", currency=currency, data=data)


def migrate(books: Books, day: str, *contracts: str, when: str = "renewal", dry: bool = False, to: str = "gold_v2", **more: Any) -> list[dict[str, Any]]:
    """Migrate contracts from gold on a day and return the rows of the report."""
    data = {"contracts": contracts, "from": "gold", "to": to, "at": when, "proration": more.get("proration"), "dry": dry}
    with books.database.transaction() as unit:
        done = books.billing.carry_out("price.migrate", data, unit, at(day), key=f"it_{day}", actor="test")
    rows: list[dict[str, Any]] = done.result["rows"]
    return rows


def test_at_renewal_each_contract_says_when_and_what(books: Books) -> None:
    """A term that renews in July, one without a term, one that ends: 60.00 becomes 72.00 in July, in May, never."""
    renews = books.create("006A", "2026-04-10", terms("2026-01-01", "2026-07-01", [item(quantity=2)], end_behavior="renew"))
    runs = books.create("006B", "2026-04-10", terms("2026-01-01", items=[item(quantity=2)]))
    ends = books.create("006C", "2026-04-10", terms("2026-01-01", "2026-07-01", [item(quantity=2)]))
    rows = {r["contract"]: r for r in migrate(books, "2026-04-10", renews, runs, ends, dry=True)}
    assert [rows[c]["result"] for c in (renews, runs, ends)] == ["would be migrated", "would be migrated", "unchanged"]
    assert rows[ends]["message"] == "It ends on 2026-06-30 and is not renewed."
    keys = ("today", "new", "effective_on", "first_invoice_on", "first_invoice_amount")
    assert [rows[renews][k] for k in keys] == ["60.00", "72.00", "2026-07-01", "2026-07-01", "72.00"]
    assert [rows[runs][k] for k in keys] == ["60.00", "72.00", "2026-05-01", "2026-05-01", "72.00"]
    assert books.rows("SELECT COUNT(*) FROM change") == [(0,)]
    assert [r["result"] for r in migrate(books, "2026-04-10", renews, runs)] == ["migrated", "migrated"]
    for month in ("05", "06", "07"):
        books.bill(f"2026-{month}-01")
    found = books.rows("SELECT i.issued_on, i.total FROM invoice i WHERE i.contract_id = ? AND i.issued_on > '2026-04-30' ORDER BY i.id", runs)
    assert found == [("2026-05-01", 7200), ("2026-06-01", 7200), ("2026-07-01", 7200)]
    found = books.rows("SELECT i.issued_on, i.total FROM invoice i WHERE i.contract_id = ? AND i.issued_on > '2026-04-30' ORDER BY i.id", renews)
    assert found == [("2026-05-01", 6000), ("2026-06-01", 6000), ("2026-07-01", 7200)]


def test_now_prorates_as_it_is_asked(books: Books) -> None:
    """On 16 April with always_invoice: half of 30.00 back and half of 36.00 at once; with none nothing until May."""
    one = books.create("006A", "2026-04-01", terms("2026-04-01"))
    other = books.create("006B", "2026-04-01", terms("2026-04-01"))
    (row,) = migrate(books, "2026-04-16", one, when="now", proration="always_invoice")
    assert (row["effective_on"], row["first_invoice_on"], row["first_invoice_amount"]) == ("2026-04-16", "2026-04-16", "3.00")
    (row,) = migrate(books, "2026-04-16", other, when="now", proration="none")
    assert (row["effective_on"], row["first_invoice_on"], row["first_invoice_amount"]) == ("2026-05-01", "2026-05-01", "36.00")
    books.bill("2026-05-01")
    assert [i[3] for i in books.invoices()] == [3000, 3000, 300, 3600, 3600]


@pytest.mark.parametrize(("when", "proration", "first", "billed"), [
    ("now", "none", "2026-06-01", [3600] * 4), ("renewal", None, "2026-08-01", [3000, 3000, 3600, 3600]),
])  # fmt: skip
def test_a_contract_that_has_not_begun_is_migrated_too(books: Books, when: str, proration: str | None, first: str, billed: list[int]) -> None:
    """Two months that renew, from 1 June on, migrated on 10 April: 36.00 from its first day, or from August on."""
    early = books.create("006A", "2026-04-10", terms("2026-06-01", "2026-08-01", end_behavior="renew"))
    (row,) = migrate(books, "2026-04-10", early, when=when, proration=proration)
    assert (row["result"], row.get("effective_on"), row.get("first_invoice_on"), row.get("first_invoice_amount")) == ("migrated", first, first, "36.00")
    (again,) = migrate(books, "2026-04-11", early, when=when, proration=proration)
    assert (again["result"], again["message"]) == ("unchanged", "It was migrated already.")
    for month in ("06", "07", "08", "09"):
        books.bill(f"2026-{month}-01")
    assert [total for _, _, _, total in books.invoices()] == billed


@pytest.mark.parametrize(("proration", "consolidates", "says"), [
    ("always_invoice", True, ("2026-04-16", "3.00")), ("create_prorations", False, ("2026-05-01", "39.00")), ("create_prorations", True, ("2026-05-01", "39.00")),
])  # fmt: skip
def test_the_first_invoice_that_is_told_is_the_one_that_comes(books: Books, proration: str, consolidates: bool, says: tuple[str, str]) -> None:
    """On 16 April, 30.00 to 36.00: 3.00 with the run of that day where a run bills all contracts of the customer, or with May's 36.00."""
    who = CustomerDetails(account="001A", name="Acme", email="ap@acme.example", is_consolidated=consolidates)
    contract = books.create("006A", "2026-04-01", terms("2026-04-01"), customer=who)
    books.bill("2026-04-01")
    (row,) = migrate(books, "2026-04-16", contract, when="now", proration=proration)
    assert (row["first_invoice_on"], row["first_invoice_amount"]) == says
    books.bill("2026-04-16")
    books.bill("2026-05-01")
    assert [(on, total) for _, _, on, total in books.invoices()][1] == (says[0], int(says[1].replace(".", "")))


def test_what_is_paid_today_counts_no_period_twice(books: Books) -> None:
    """A term that renews, and one with 2 more from 16 March on: each pays 30.00 in February and 36.00 then, whatever follows later."""
    renews = books.create("006A", "2026-01-01", terms("2026-01-01", "2027-01-01", end_behavior="renew"))
    grows = books.create("006B", "2026-01-01", terms("2026-01-01"))
    books.change("2026-01-05", grows, delta("006C", "2026-03-16", 2, made="2026-01-05", proration_behavior="create_prorations"))
    rows = migrate(books, "2026-02-10", renews, grows, when="now", proration="none", dry=True)
    assert [(r["today"], r["new"], len(r["items"])) for r in rows] == [("30.00", "36.00", 2)] * 2


@pytest.mark.parametrize(("when", "proration"), [("renewal", None), ("now", "always_invoice"), ("now", "none")])
def test_a_second_run_adds_nothing(books: Books, when: str, proration: str | None) -> None:
    """On the same day, the next one and after it took effect: unchanged, no change and no line more."""
    contract = books.create("006A", "2026-04-01", terms("2026-04-01"))
    assert migrate(books, "2026-04-16", contract, when=when, proration=proration)[0]["result"] == "migrated"
    before = books.rows("SELECT (SELECT COUNT(*) FROM change), (SELECT COUNT(*) FROM line)")
    for day in ("2026-04-16", "2026-04-17"):
        (row,) = migrate(books, day, contract, when=when, proration=proration)
        assert (row["result"], row["message"]) == ("unchanged", "It was migrated already.")
    assert books.rows("SELECT (SELECT COUNT(*) FROM change), (SELECT COUNT(*) FROM line)") == before
    books.bill("2026-05-01")
    assert migrate(books, "2026-05-02", contract, when=when, proration=proration)[0]["result"] == "unchanged"
    assert books.invoices()[-1][3] == 3600


def test_a_price_that_cannot_be_is_refused(books: Books) -> None:
    """Unknown and one-time prices refuse the request, another currency only the contract."""
    contract = books.create("006A", "2026-04-01", terms("2026-04-01"))
    with pytest.raises(RejectedError, match="no price silver"):
        migrate(books, "2026-04-16", contract, to="silver")
    with pytest.raises(RejectedError, match="charged once"):
        migrate(books, "2026-04-16", contract, to="setup")
    (row,) = migrate(books, "2026-04-16", contract, to="gold_usd")
    assert (row["result"], row["problem"]["code"]) == ("refused", "other-currency")


def test_only_contracts_that_may_run_on_the_price_are_asked_about(books: Books) -> None:
    """By price or product, with what conditions may read; what is over is left out, and pages go by id."""
    one = books.create("006A", "2026-04-01", terms("2026-04-01"))
    books.create("006B", "2026-04-01", terms("2026-04-01", items=[item("silver")]))
    over = books.create("006C", "2026-04-01", terms("2026-02-01", "2026-03-01"))
    other = books.create("006D", "2026-04-01", terms("2026-04-01", items=[item("100%_gold!"), item("gold")]), account="001B")
    with books.reading() as unit:
        found = migrating.candidates(unit, "gold", after="", limit=10)
        assert [c["contract"] for c in found] == [one, other]
        assert found[0]["customer"]["account"] == "001A"
        assert (found[0]["currency"], str(found[0]["value"])) == ("EUR", "360.00")
        assert [c["contract"] for c in migrating.candidates(unit, "gold", after=one, limit=10)] == [other]
        assert [c["contract"] for c in migrating.candidates(unit, "100%_gold!", after="", limit=10)] == [other]
        assert [c["contract"] for c in migrating.candidates(unit, "g_ld", after="", limit=10)] == []
    assert over not in {c["contract"] for c in found}


# ---------------------------------------------------------------- always


@THOROUGH
@given(all_terms(), st.integers(0, 300), st.decimals(min_value=0, max_value=9_000, places=0))
def test_a_migration_at_renewal_changes_nothing_before_it(terms_: ContractTerms, days: int, amount: Any) -> None:
    """Lines that begin before the first one at the new price are those of the contract that was never migrated."""
    contract = Contract(id="k", terms=terms_)
    first = terms_.phases[0].items[0]
    asked = terms_.start + (terms_.start.replace(day=2) - terms_.start.replace(day=1)) * days
    assume(terms_.phases[0].end is None or asked < terms_.phases[0].end)
    new = Price(id="new", product="new", unit_amount=amount, interval=first.price.interval, timing=first.price.timing)
    step = ItemChange(op="reprice", item=Item(id="new", price=new), item_id=first.price.id)
    change = Change(id="m", kind="amend", effective=asked, made_at=asked, items=(step,), when="term_end")
    until = plus_months(asked, 13)
    plain = {line.key: (line.amount, line.net, line.end) for line in lines_of(played(contract, until))}
    moved = lines_of(played(Contract(id="k", terms=terms_, changes=(change,)), until))
    begin = min((line.start for line in moved if line.price_id == "new"), default=until)
    assert begin >= asked
    assert all(line.credits is None for line in moved if line.change_id == "m")
    for line in moved:
        if line.item_id != first.id and line.start < begin:
            assert plain[line.key][0] == line.amount
        if line.start < begin:
            assert plain[line.key][2] == line.end
            assert plain[line.key][0] == line.amount
    twice = Contract(id="k", terms=terms_, changes=(change, Change(**{**fields_of(change), "id": "n"})))
    assert [(x.item_id, x.start, x.amount) for x in lines_of(played(twice, until))] == [(x.item_id, x.start, x.amount) for x in moved]


def fields_of(change: Change) -> dict[str, Any]:
    """Return a change's fields by name."""
    return {name: getattr(change, name) for name in Change.__slots__}


# ---------------------------------------------------------------- from a shell


def test_prices_migrate_from_a_shell(shell: Shell) -> None:
    """A dry run, a condition, the migration, and again: the report says what each contract pays, and from when."""
    (shell.folder / "catalog.yaml").write_text(
        "currency: eur\nprices:\n  GOLD: {product: gold, unit_amount: 3000, recurring: {interval: month}}\n"
        "  GOLD2: {product: gold, unit_amount: 3600, recurring: {interval: month}}\n"
    )
    head = "contract,account,name,email,country,currency,start,billed_through,price,quantity\n"
    rows = "".join(f"OLD-{n},A{n},Acme {n},ap@acme{n}.example,{c},EUR,2026-01-01,2030-12-31,GOLD,{n}\n" for n, c in ((1, "FR"), (2, "DE")))
    (shell.folder / "old.csv").write_text(head + rows)
    assert shell.run("sync")[0] == 0
    assert shell.run("import", "catalog", "catalog.yaml")[0] == 0
    assert shell.run("import", "contracts", "old.csv")[0] == 0
    words = ("prices", "migrate", "--from", "GOLD", "--to", "GOLD2", "--where", "customer.country == 'DE' and value > 100")
    status, shown = shell.json(*words, "--dry-run")
    assert (status, shown["migrated"], len(shown["rows"])) == (0, 1, 1)
    assert (shown["rows"][0]["today"], shown["rows"][0]["new"], shown["rows"][0]["result"]) == ("60.00", "72.00", "would be migrated")
    assert [c["contract"] for c in shell.json("contracts", "list")[1] if shell.json("contracts", "show", c["contract"])[1]["changes"]] == []
    status, out, err = shell.run(*words)
    assert status == 0, err
    assert "OLD-2  migrated: 60.00 to 72.00 EUR every month from 2" in out
    assert out.endswith("1 migrated, 0 unchanged, 0 refused.\n")
    status, shown = shell.json("prices", "migrate", "--from", "gold", "--to", "GOLD2")
    assert (status, shown["migrated"], shown["unchanged"]) == (0, 1, 1)
    status, shown = shell.json("prices", "migrate", "--from", "gold", "--to", "GOLD2")
    assert (shown["migrated"], shown["unchanged"]) == (0, 2)
    status, _, err = shell.run("prices", "migrate", "--from", "GOLDD", "--to", "GOLD2")
    assert (status, "has ever had a price or product GOLDD" in " ".join(err.split())) == (1, True)


def test_arguments_that_make_no_sense_are_refused(shell: Shell) -> None:
    """A price that is none, a condition on nothing, now without proration: each says what to write."""
    assert shell.run("sync")[0] == 0
    words = ("prices", "migrate", "--from", "A", "--to", "B")
    assert "no price B" in shell.run(*words)[2]
    status, _, err = shell.run(*words, "--where", "customer.planet == 'Mars'")
    assert (status, "customer.country" in err) == (2, True)
    status, _, err = shell.run(*words, "--where", "import os")
    assert status == 2
    status, _, err = shell.run(*words, "--at", "now")
    assert (status, "--proration create_prorations, always_invoice or none" in err) == (2, True)
    assert shell.run(*words, "--at", "later")[0] == 2
    assert shell.json(*words, "--at", "later")[1]["error"] == "bad-config"
