"""The Salesforce client over a real loopback connection to the demo CRM: what it reads, writes and spends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from salesforce_world import DEALS, World, billed, invoice, running_world

from connector.crm.login import Login
from connector.crm.salesforce import SalesforceCrm
from connector.errors import InvariantError, RejectedError, RetryableError
from connector.lookalike.crm.gate import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from connector.lookalike.crm.org import Org, Traits
from connector.lookalike.crm.server import CrmServer
from connector.ports import Upsert


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    with running_world() as world:
        yield world


@pytest.fixture
def world(running: World) -> World:
    return running.fresh()


# ---------------------------------------------------------------- reading


def test_connect_is_one_call_and_says_which_org(world: World) -> None:
    """Connecting logs in once and reads the org in one call; connecting again costs nothing."""
    crm = world.crm()
    org = crm.connect()
    assert crm.connect() == org
    assert (org.id, org.currency, org.is_multi_currency, org.is_sandbox) == (
        world.server.org.org_id,
        "EUR",
        False,
        False,
    )
    assert org.instance_url == world.server.url
    assert world.calls() == {"token": 1, "composite": 1}
    usage = crm.usage()
    assert (usage.calls, usage.used, usage.limit) == (1, 1, 100_000)


def test_multi_currency_and_sandbox_are_seen() -> None:
    """An org is multi-currency when its global describe lists CurrencyType."""
    with CrmServer(Org(multi_currency=True, traits=Traits(is_sandbox=True))) as server:
        org = SalesforceCrm(Login(url=server.url, client_id=DEMO_CLIENT_ID, client_secret=DEMO_CLIENT_SECRET)).connect()
    assert org.is_multi_currency
    assert org.is_sandbox


def test_missing_default_currency_is_empty(world: World) -> None:
    """An Organization without the currency field does not keep us from connecting."""
    world.fault(hide=["Organization.DefaultCurrencyIsoCode"])
    assert world.crm().connect().currency == ""


def test_localhost_is_loopback_too(world: World) -> None:
    """The login may name 127.0.0.1 as the instance although we were given localhost."""
    assert world.crm(url=world.server.url.replace("127.0.0.1", "localhost")).connect().id == world.server.org.org_id


def test_rows_are_plain_and_exact(world: World) -> None:
    """Rows have no `attributes`, parents nest, amounts are Decimal."""
    ((row,),) = world.crm().query(
        [
            f"SELECT Id, Amount, IsWon, AccountId, Account.Name, Account.Owner.Name FROM Opportunity WHERE Id = '{world.deals[0]}'"
        ]
    )
    assert row == {
        "Id": world.deals[0],
        "Amount": Decimal("60.00"),
        "IsWon": True,
        "AccountId": row["AccountId"],
        "Account": {"Name": "Customer 000001", "Owner": {"Name": "Robin Sales"}},
    }
    assert type(row["Amount"]) is Decimal


def test_parents_are_stripped_where_the_first_row_has_none(world: World) -> None:
    """A null parent stays None, also in the first row; the others lose their `attributes` all the same."""
    orphan = world.server.org.create(
        "Opportunity", {"Name": "AAA", "StageName": "Prospecting", "CloseDate": "2026-03-01"}
    )
    try:
        (rows,) = world.crm().query(["SELECT Name, Account.Name FROM Opportunity ORDER BY Name LIMIT 2"])
    finally:
        world.server.org.delete("Opportunity", orphan)
    assert [row["Account"] for row in rows] == [None, {"Name": "Customer 000001"}]


def test_five_queries_are_one_call_and_pages_share_calls(world: World) -> None:
    """Five queries share a composite; so do their following pages, and no row is lost or doubled."""
    crm = world.connected()
    world.fault(page_size=500)
    world.server.front.reset_counters()
    opportunities = "SELECT Id FROM Opportunity ORDER BY Id"
    lines = "SELECT Id FROM OpportunityLineItem ORDER BY Id"
    accounts = "SELECT Id FROM Account ORDER BY Id LIMIT 10"
    results = crm.query([opportunities, lines, accounts, accounts, accounts])
    assert [len(rows) for rows in results] == [DEALS, DEALS * 3, 10, 10, 10]
    assert [row["Id"] for row in results[0]] == sorted(world.deals)
    assert len({row["Id"] for row in results[1]}) == DEALS * 3
    # 3 pages of opportunities and 7 of lines; the first three together, the last four alone
    assert world.calls() == {"composite": 3, "query_more": 4}


def test_six_queries_are_two_calls(world: World) -> None:
    """A sixth query goes into a second call, alone and by GET; the order of the results is the order asked."""
    crm = world.connected()
    results = crm.query([f"SELECT Id FROM Opportunity WHERE Id = '{deal}'" for deal in world.deals[:6]])
    assert [rows[0]["Id"] for rows in results] == world.deals[:6]
    assert world.calls() == {"composite": 1, "query": 1}


def test_long_query_travels_in_a_body(world: World) -> None:
    """600 ids in an IN list would be a URL of 16 kB; the query goes by composite and returns them all (P18)."""
    ids = ", ".join(f"'{deal}'" for deal in world.deals[:600])
    (rows,) = world.crm().query([f"SELECT Id FROM Opportunity WHERE Id IN ({ids})"])
    assert len(rows) == 600
    assert world.calls() == {"token": 1, "composite": 1}


def test_deleted_rows_only_when_asked(world: World) -> None:
    """`with_deleted` reads the recycle bin, also past the first page."""
    org = world.server.org
    gone = org.create("Opportunity", {"Name": "gone", "StageName": "Prospecting", "CloseDate": "2026-03-01"})
    org.delete("Opportunity", gone)
    crm = world.crm()
    world.fault(page_size=1000)
    soql = "SELECT Id, IsDeleted FROM Opportunity ORDER BY Id"
    ((plain,), (everything,)) = crm.query([soql]), crm.query([soql], with_deleted=True)
    assert gone not in {row["Id"] for row in plain}
    assert gone in {row["Id"] for row in everything if row["IsDeleted"]}


def test_expired_page_restarts_the_query_once(world: World) -> None:
    """A page address that expired makes the query start anew, without doubled rows."""
    crm = world.connected()
    world.fault(page_size=500)
    cursors = world.server.front.rest.cursors
    real, asked = cursors.find, []

    def forgetful(text: str) -> Any:
        asked.append(text)
        if len(asked) == 2:
            cursors.forget()
        return real(text)

    cursors.find = forgetful  # type: ignore[method-assign]
    try:
        (rows,) = crm.query(["SELECT Id FROM Opportunity ORDER BY Id"])
    finally:
        del cursors.find
    assert [row["Id"] for row in rows] == sorted(world.deals)
    assert len(asked) == 4


def test_page_that_always_expires_is_no_endless_loop(world: World) -> None:
    """A query whose second page is never found is given up after one restart."""
    crm = world.crm()
    world.fault(page_size=500)
    cursors = world.server.front.rest.cursors
    real = cursors.find

    def gone(text: str) -> Any:
        cursors.forget()
        return real(text)

    cursors.find = gone  # type: ignore[method-assign]
    try:
        with pytest.raises(RetryableError, match="INVALID_QUERY_LOCATOR"):
            crm.query(["SELECT Id FROM Opportunity"])
    finally:
        del cursors.find
    assert world.calls()["query"] == 2


def test_subquery_is_refused(world: World) -> None:
    """A subquery would lose its further pages in silence, so it is a bug of ours to send one."""
    with pytest.raises(InvariantError, match="OpportunityLineItems is a subquery"):
        world.crm().query(["SELECT Id, (SELECT Id FROM OpportunityLineItems) FROM Opportunity LIMIT 3"])


@pytest.mark.parametrize(
    ("soql", "code", "text"),
    [
        ("SELECT Id, Nope__c FROM Opportunity", "crm-field-hidden", "The field Opportunity.Nope__c does not exist, or the integration user lacks"),
        ("SELECT Id FROM Nope__c", "crm-object-hidden", "The object Nope__c does not exist, or the integration user lacks access"),
        ("SELECT Id FRM Opportunity", "crm-request-refused", "MALFORMED_QUERY, unexpected token: 'FRM'"),
    ],
)  # fmt: skip
def test_refused_query_names_its_fault(world: World, soql: str, code: str, text: str) -> None:
    """A query the CRM refuses is a problem in words, with the query's snippet and caret."""
    with pytest.raises(RejectedError) as caught:
        world.crm().query([soql, "SELECT Id FROM Account LIMIT 1"])
    assert caught.value.problem.code == code
    assert text in caught.value.problem.message
    assert caught.value.problem.excerpt.endswith("^")


def test_hidden_field_is_like_a_missing_one(world: World) -> None:
    """Rights taken away in mid-run are a problem that names the field (P21)."""
    crm = world.crm()
    assert crm.query(["SELECT Amount FROM Opportunity LIMIT 1"])
    world.fault(hide=["Opportunity.Amount"])
    with pytest.raises(
        RejectedError, match=r"Opportunity\.Amount does not exist, or the integration user lacks field access"
    ):
        crm.query(["SELECT Amount FROM Opportunity LIMIT 1"])
    assert "Amount" not in crm.describe(["Opportunity"])["Opportunity"].fields


def test_describe_is_one_call_and_leaves_out_what_is_missing(world: World) -> None:
    """Several describes share one call; an object that does not exist is absent from the answer."""
    crm = world.connected()
    found = crm.describe(["Opportunity", "Nope__c", "Account", "Billing_Invoice__c"])
    assert list(found) == ["Opportunity", "Account", "Billing_Invoice__c"]
    assert world.calls() == {"composite": 1}
    fields = found["Opportunity"].fields
    assert (fields["Amount"].type, fields["Amount"].scale) == ("currency", 2)
    assert fields["AccountId"].reference_to == ("Account",)
    assert fields["AccountId"].relationship == "Account"
    assert "Annual" in fields["Billing_Frequency__c"].picklist
    assert found["Billing_Invoice__c"].fields["Billing_Invoice_Id__c"].is_external_id
    assert crm.describe(["Nope__c"]) == {}


def test_server_clock_is_the_crms(world: World) -> None:
    """`server_now` is the Date of the last reply, whatever our clock says (P7)."""
    world.fault(clock_skew_s=3600)
    crm = world.crm()
    now = crm.server_now()
    assert 3590 < (now - datetime.now(UTC)).total_seconds() < 3610
    assert now.microsecond == 0


def test_versions_cost_no_call(world: World) -> None:
    """The list of API versions is free of the allocation."""
    crm = world.crm()
    assert "62.0" in crm.versions()
    assert crm.usage().calls == 0


# ---------------------------------------------------------------- writing


def test_thousand_updates_are_one_call(world: World) -> None:
    """1,000 opportunity updates travel as 5 x 200 in one composite and come back in the order asked."""
    crm = world.connected()
    amounts = [Decimal(n) / 100 for n in range(1_000)]
    written = crm.write([billed(deal, amount) for deal, amount in zip(world.deals, amounts, strict=False)])
    assert [one.id for one in written] == world.deals[:1_000]
    assert world.calls() == {"composite": 1}
    assert world.values("Amount_Billed__c", world.deals[:1_000]) == amounts


def test_one_batch_goes_without_a_composite(world: World) -> None:
    """200 updates are one call without any wrapping."""
    crm = world.connected()
    crm.write([billed(deal, Decimal(1)) for deal in world.deals[:200]])
    assert world.calls() == {"composite/sobjects": 1}


def test_real_orgs_start_small_and_grow(world: World) -> None:
    """From one batch a call the shape grows by one batch after every calm call, up to five (D-23)."""
    crm = SalesforceCrm(world.login(), write_batches=1)
    crm.connect()
    world.server.front.reset_counters()
    crm.write([billed(deal, Decimal(2)) for deal in world.deals[:1_000]])
    assert world.calls() == {"composite/sobjects": 1, "composite": 2}  # 1 + 2 + 2 batches of 200


def test_upsert_creates_and_updates(world: World) -> None:
    """An upsert by external id creates the record once and updates it afterwards."""
    crm = world.crm()
    first = crm.write([invoice("in_1", Total__c=Decimal("12.30"), Issued_On__c=date(2026, 1, 31))])
    again = crm.write([invoice("in_1", Total__c=Decimal("12.40")), invoice("in_2", Total__c=Decimal(7))])
    assert first[0].id == again[0].id != again[1].id
    ((row,),) = crm.query(
        ["SELECT Total__c, Issued_On__c FROM Billing_Invoice__c WHERE Billing_Invoice_Id__c = 'in_1'"]
    )
    assert row == {"Total__c": Decimal("12.40"), "Issued_On__c": "2026-01-31"}


def test_lost_reply_and_repeat_make_one_record(world: World) -> None:
    """A reply lost after the commit is followed by one repeat; there is still one record (P36)."""
    crm = world.connected()
    world.fault(drop_after_commit=1)
    (written,) = crm.write([invoice("in_lost", Total__c=Decimal(5))])
    assert written.problem is None
    assert world.calls() == {"composite/sobjects": 2}
    ((row,),) = crm.query(["SELECT Id FROM Billing_Invoice__c WHERE Billing_Invoice_Id__c = 'in_lost'"])
    assert row["Id"] == written.id


def test_connection_that_stays_dead_is_given_up_after_one_repeat(world: World) -> None:
    """A connection that is lost twice is for the next round."""
    crm = world.connected()
    world.fault(drop_after_commit=9)
    with pytest.raises(RetryableError, match="dropped the connection"):
        crm.write([billed(world.deals[0], Decimal(1))])
    assert world.calls() == {"composite/sobjects": 2}


def test_poison_record_is_alone_with_its_reason(world: World) -> None:
    """One record that a validation rule refuses has Salesforce's own words; the 199 others are written (P28)."""
    crm = world.crm()
    world.fault(refuse={world.deals[7]: "Region is required on won deals."})
    written = crm.write([billed(deal, Decimal(3)) for deal in world.deals[:200]])
    bad = written[7]
    assert bad.id is None
    assert not bad.is_transient
    assert bad.problem is not None
    assert bad.problem.code == "crm-validation-rule"
    assert "Region is required on won deals." in bad.problem.message
    assert bad.problem.hint
    assert bad.problem.where.record == world.deals[7]
    assert sum(one.problem is None for one in written) == 199


def test_lock_is_repeated_for_that_record_only(world: World) -> None:
    """A locked record is tried again with a wait, the others are not sent twice (P27)."""
    crm = world.connected()
    world.fault(lock={world.deals[3]: 2})
    world.server.front.reset_counters()
    written = crm.write([billed(deal, Decimal(4)) for deal in world.deals[:10]])
    assert all(one.problem is None for one in written)
    assert world.server.front.counters()["records_written"] == 10
    assert world.calls() == {"composite/sobjects": 3}
    assert len(world.waits) == 2
    assert 0.25 <= world.waits[0] <= 0.5 <= world.waits[1] <= 1.0


def test_lock_that_stays_is_transient(world: World) -> None:
    """After two repeats a locked record is left for a later round."""
    crm = world.crm()
    world.fault(lock={world.deals[3]: 99})
    written = crm.write([billed(deal, Decimal(5)) for deal in world.deals[:5]])
    assert [one.is_transient for one in written] == [False, False, False, True, False]
    assert written[3].problem is not None
    assert "UNABLE_TO_LOCK_ROW" in written[3].problem.message


def test_read_only_field_says_who_can_fix_it(world: World) -> None:
    """A field without edit access is named, with the person who can grant it."""
    world.fault(read_only=["Opportunity.Amount_Billed__c"])
    (bad,) = world.crm().write([billed(world.deals[0], Decimal(6))])
    assert bad.problem is not None
    assert "Amount_Billed__c" in bad.problem.message
    assert "administrator" in bad.problem.hint


def test_unknown_key_field_is_a_problem_of_those_records(world: World) -> None:
    """An external id field that is missing fails its records and nothing else."""
    wrong = Upsert(object="Billing_Invoice__c", key_field="Nope__c", key="x", values={})
    bad, good = world.crm().write([wrong, billed(world.deals[0], Decimal(7))])
    assert bad.problem is not None
    assert bad.problem.where.field == "Nope__c"
    assert not bad.is_transient
    assert good.id == world.deals[0]


def test_text_that_looks_like_a_reference_is_written_as_it_is(world: World) -> None:
    """A composite would read @{r0.id} in a text as a reference to another part; such texts travel outside of one."""
    crm = world.crm()
    text = "Sie schrieben @{r0.id} und @{nothing}"
    upserts = [
        Upsert(object="Opportunity", id=world.deals[0], values={"Billing_Message__c": text}),
        invoice("in_9", Number__c="9"),
    ]
    assert all(one.problem is None for one in crm.write(upserts))
    assert world.values("Billing_Message__c", world.deals[:1]) == [text]


def test_records_of_one_account_stand_together(world: World) -> None:
    """Groups that come mixed are sent side by side, and answered in the order asked."""
    saved: list[str] = []
    org = world.server.org
    real = org.update

    def update(kind: str, record: str, fields: dict[str, Any]) -> str:
        saved.append(record)
        return real(kind, record, fields)

    org.update = update  # type: ignore[method-assign]
    try:
        deals = world.deals[:6]
        written = world.crm().write([billed(deal, Decimal(8), group="ab"[n % 2]) for n, deal in enumerate(deals)])
    finally:
        del org.update
    assert [one.id for one in written] == deals
    assert saved == deals[0::2] + deals[1::2]


def test_values_the_wire_would_falsify_are_bugs(world: World) -> None:
    """A float, a NaN or a naive datetime never leaves the house."""
    for value in (0.1, Decimal("NaN"), datetime(2026, 1, 1)):
        with pytest.raises(InvariantError, match="Amount_Billed__c"):
            world.crm().write([Upsert(object="Opportunity", id=world.deals[0], values={"Amount_Billed__c": value})])


def test_nothing_to_write_is_no_call(world: World) -> None:
    """An empty write does nothing."""
    assert world.crm().write([]) == []
    assert world.calls() == {}


@settings(max_examples=25, deadline=None)
@given(amounts=st.lists(st.decimals(min_value=-(10**12), max_value=10**12, places=2), min_size=1, max_size=20))
def test_money_survives_the_round_trip(running: World, amounts: list[Decimal]) -> None:
    """An amount of the CRM's precision comes back equal, and as Decimal or int, never through a float (P23)."""
    crm = running.fresh().crm()
    records = running.deals[: len(amounts)]
    assert all(one.problem is None for one in crm.write([billed(r, a) for r, a in zip(records, amounts, strict=True)]))
    ids = ", ".join(f"'{record}'" for record in records)
    (rows,) = crm.query([f"SELECT Id, Amount_Billed__c FROM Opportunity WHERE Id IN ({ids})"])
    read = {row["Id"]: row["Amount_Billed__c"] for row in rows}
    assert [read[record] for record in records] == amounts
    assert all(type(value) in (Decimal, int) for value in read.values())


def test_tenth_and_two_tenths(world: World) -> None:
    """0.1 + 0.2 is 0.3."""
    crm = world.crm()
    crm.write([billed(world.deals[0], Decimal("0.1") + Decimal("0.2"))])
    ((row,),) = crm.query([f"SELECT Amount_Billed__c FROM Opportunity WHERE Id = '{world.deals[0]}'"])
    assert row["Amount_Billed__c"] == Decimal("0.3")
