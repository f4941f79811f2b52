"""Pitfalls P25 to P28 and P36 to P38 of Salesforce: limits, locks and writes, each against the demo CRM with the fault on.

The numbers are those of the closing note of issue 4; each test's name begins with its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
import responses
from pitfalls import desk
from salesforce_wire import DATA, client, with_token
from salesforce_world import World as Crm
from salesforce_world import billed, invoice, running_world

from connector.crm.session import allocation
from connector.errors import HaltError, RetryableError
from connector.sync import ledger

D = Decimal
ONE = ["SELECT Id FROM Opportunity LIMIT 1"]


@pytest.fixture(scope="module")
def running() -> Iterator[Crm]:
    with running_world() as made:
        yield made


# ---------------------------------------------------------------- P25: the daily allocation


@pytest.mark.parametrize(
    ("suffix", "found"),
    [
        ("", (60, 100)),
        ("; api-bursts=1/750", (60, 100)),
        ("; per-app-api-usage=17/250(appName=x)", (60, 100)),
        ("; api-bursts=1/750; per-app-api-usage=17/250(appName=x)", (60, 100)),
    ],
)
def test_p25_every_form_of_the_limit_header_is_read(suffix: str, found: tuple[int, int]) -> None:
    """What stands behind the org's own count, or before it, is never taken for it and never hides it."""
    assert allocation(f"api-usage=60/100{suffix}") == found
    assert allocation(f"{suffix.removeprefix('; ')}; api-usage=60/100") == found


def test_p25_an_idle_round_is_one_call(tmp_path: Path) -> None:
    """Nothing changed: each round of the two shipped mappings is one call, whoever's turn it is; a billing run is two."""
    with desk(tmp_path) as it:
        it.world.win("acme_seats")
        for _ in range(8):
            it.round(after_s=900)
        spent = []
        for _ in range(6):
            it.round()
            spent.append(it.calls())
        assert spent == [1] * 6
        it.billing_run(after_s=600)
        assert it.calls() == 2


def test_p25_above_the_budget_reading_slows_and_writes_wait(tmp_path: Path) -> None:
    """Above crm.daily_api_budget the CRM is read every 15 minutes and told nothing; the books go on; it heals by itself."""
    with desk(tmp_path) as it:
        made = it.world
        it.round()
        made.org.faults.apply({"limit_suffix": "; api-bursts=1/750; per-app-api-usage=17/250(appName=x)"})
        used = made.crm.front.used
        made.org.daily_limit = limit = used + 5  # so that more than half of it is used
        made.win("acme_seats")
        state = it.round()
        assert (state.standing, state.is_well, it.calls()) == ("slow", True, 2)  # what was won, its lines; no write
        assert made.query("SELECT COUNT(*) FROM invoice WHERE status = 'open'") == [(1,)]
        assert made.record("acme_seats")["Billing_Status__c"] is None
        status, body = it.ready()
        assert (status, body["status"]) == (200, "degraded")
        (calls,) = [c for c in body["checks"] if c["name"] == "crm calls"]
        assert calls["degraded"] is True
        assert f"has used {used + 2} of its {limit} calls of 24 hours, 3 are left" in calls["detail"]
        view = it.console()
        assert [n.title for n in view.notices] == ["The CRM is asked less often than usual"]
        shown = next(g for g in view.groups if g.title == "CRM calls of 24 hours").counts
        assert [(c.label, c.value) for c in shown] == [
            ("used", str(used + 2)), ("left", "3"), ("allowed by crm.daily_api_budget", str(limit // 2))
        ]  # fmt: skip
        for _ in range(29):
            assert (it.round().standing, it.calls()) == ("slow", 0)
        assert (it.round().standing, it.calls()) == ("slow", 1)  # a quarter of an hour later: one look
        made.org.daily_limit = 100_000
        assert it.round(after_s=900).standing == "ok"
        assert made.said("acme_seats")[0] == "Active"
        assert it.ready()[1]["status"] == "ready"
        assert not it.console().notices


def test_p25_at_the_limit_nothing_is_lost_and_billing_goes_on(tmp_path: Path) -> None:
    """While the CRM refuses every call, rounds and billing runs go through, ask once in 15 minutes, and catch up by themselves."""
    with desk(tmp_path) as it:
        made = it.world
        made.win("acme_seats")
        it.round()
        assert made.said("acme_seats")[0] == "Active"
        made.org.faults.apply({"limit_reached": True})
        made.win("cobalt_licence")
        state = it.round()
        assert (state.standing, state.failures, it.calls()) == ("slow", 0, 1)
        assert "takes no more calls for now" in state.error
        assert it.ready()[1]["status"] == "degraded"
        assert [n.title for n in it.console().notices] == ["The CRM's calls are used up"]
        billed = it.billing_run(after_s=40 * 24 * 3600)
        assert (billed.standing, it.calls()) == ("slow", 1)
        assert billed.summary.startswith("0 invoices for 1 contracts, 1 wait as drafts")  # the CRM may have a cancellation
        assert sum(it.round().standing == "slow" and it.calls() == 0 for _ in range(29)) == 29
        made.org.faults.apply({"limit_reached": False})
        assert it.round(after_s=900).standing == "ok"
        status, body = it.ready()  # the billing run of an hour ago was slowed, and the next one may be hours away
        assert (status, body["status"]) == (200, "ready")
        assert next(c["detail"] for c in body["checks"] if c["name"] == "job billing_run").startswith("at its last run: The org has used")
        assert it.billing_run().standing == "ok"
        assert made.said("cobalt_licence")[0] == "Active"
        assert made.query("SELECT COUNT(*) FROM invoice WHERE status = 'draft'") == [(0,)]
        assert made.record("acme_seats")["Next_Invoice_Date__c"] > "2026-02-10"


# ---------------------------------------------------------------- P26: the daily limit and the one of long calls


def test_p26_too_many_long_calls_is_another_limit_under_the_same_code(running: Crm) -> None:
    """One code, two texts: the daily limit stops us until calls are free again, the one of long calls is only waited out."""
    crm = running.fresh().connected()
    running.fault(fail=[{"as": "limit_concurrent", "kind": "query"}])
    with pytest.raises(RetryableError) as caught:
        crm.query(ONE)
    assert caught.value.retry_after_s == 60
    assert not crm.usage().is_spent
    running.fault(fail=[{"as": "limit_total", "kind": "query"}])
    with pytest.raises(HaltError) as stopped:
        crm.query(ONE)
    assert stopped.value.code == "crm-call-limit"
    assert crm.usage().is_spent
    assert crm.query(ONE)
    assert not crm.usage().is_spent


def test_p26_long_calls_are_waited_out_by_the_daemon(tmp_path: Path) -> None:
    """The round waits a minute and goes through; one worker writes, so that we never add to the queue ourselves."""
    with desk(tmp_path) as it:
        made = it.world
        made.win("acme_seats")
        made.org.faults.apply({"fail": [{"as": "limit_concurrent", "kind": "composite"}]})
        state = it.round()
        assert (state.standing, it.ready()[0]) == ("waiting", 503)
        assert "too many long calls" in state.error
        assert it.round(after_s=75).standing == "ok"
        assert made.said("acme_seats")[0] == "Active"


# ---------------------------------------------------------------- P27: locks


def test_p27_writes_stand_in_order_of_their_accounts(running: Crm) -> None:
    """Records of one account follow each other in the request, so that no two of them fight for its lock."""
    crm, deals = running.fresh().connected(), running.deals[:300]
    seen: list[str] = []
    real = running.server.org.update

    def noted(kind: str, record: str, fields: dict[str, object]) -> str:
        seen.append(record)
        return real(kind, record, fields)

    running.server.org.update = noted  # type: ignore[method-assign]
    try:
        crm.write([billed(d, D(1), group=f"account {n % 7}") for n, d in enumerate(deals)])
    finally:
        del running.server.org.update
    groups = [deals.index(d) % 7 for d in seen]
    assert groups == sorted(groups)


def test_p27_only_locked_records_are_sent_again_after_a_random_wait(running: Crm) -> None:
    """Two of 400 records are locked once: the second call carries those two, and never after the same wait."""
    waits = []
    for _ in range(2):
        here = running.fresh()
        crm = here.connected()
        running.fault(lock={running.deals[3]: 1, running.deals[250]: 1})
        written = crm.write([billed(d, D(2)) for d in running.deals[:400]])
        assert all(w.id for w in written)
        assert running.server.front.counters()["records_written"] == 400
        assert running.server.front.used == 2
        waits += here.waits
    assert len(waits) == 2
    assert waits[0] != waits[1]


def test_p27_a_lock_storm_on_one_account_delays_no_other(tmp_path: Path) -> None:
    """One account stays locked: its deal waits with growing pauses, the others are written in the same round, and in the end it is."""
    with desk(tmp_path) as it:
        made = it.world
        made.win("acme_seats", "cobalt_licence")
        made.org.faults.apply({"lock": {made.ids["acme"]: 9}})
        it.round()
        assert made.said("cobalt_licence")[0] == "Active"
        assert made.record("acme_seats")["Billing_Status__c"] is None
        ((due, problem),) = made.query("SELECT write_due, write_problem FROM deal WHERE name = ?", made.ids["acme_seats"])
        assert due
        assert "crm-busy" in problem
        for wait_s in (60, 120, 240):
            it.round(after_s=wait_s)
        assert made.said("acme_seats")[0] == "Active"
        assert made.query("SELECT COUNT(*) FROM deal WHERE write_problem IS NOT NULL") == [(0,)]


# ---------------------------------------------------------------- P28: a 200 that holds failures


def test_p28_a_poison_record_is_parked_and_199_are_written(running: Crm) -> None:
    """Results are taken by their place: the one that a rule refuses bears Salesforce's own words, the other 199 stand."""
    crm, poison = running.fresh().connected(), running.deals[77]
    running.fault(refuse={poison: "Closed deals are frozen by Finance."})
    written = crm.write([billed(d, D(3)) for d in running.deals[:200]])
    assert [n for n, w in enumerate(written) if w.id is None] == [77]
    assert [w.id for n, w in enumerate(written) if n != 77] == [d for n, d in enumerate(running.deals[:200]) if n != 77]
    problem = written[77].problem
    assert problem is not None
    assert (problem.code, problem.where.record) == ("crm-validation-rule", poison)
    assert "Closed deals are frozen by Finance." in problem.message
    assert not written[77].is_transient
    assert running.server.front.used == 1


def test_p28_two_hundred_failures_in_a_200_are_two_hundred_problems(running: Crm) -> None:
    """Status 200 says nothing: when every record is refused, none counts as written."""
    crm = running.fresh().connected()
    running.fault(refuse=dict.fromkeys(running.deals[:200], "No."))
    written = crm.write([billed(d, D(4)) for d in running.deals[:200]])
    assert all(w.id is None and w.problem is not None for w in written)
    assert running.server.front.counters()["records_written"] == 0


def test_p28_a_missing_result_never_counts_as_written() -> None:
    """A reply with fewer results than records, or with an odd one, leaves those records due."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        with_token(wire)
        wire.patch(f"{DATA}/composite/sobjects", json=[{"id": "006000000000001AAA", "success": True, "errors": []}, None])
        wire.patch(f"{DATA}/composite/sobjects", json=[])
        written = client().write([billed(f"00600000000000{n}AAA", D(1)) for n in (1, 2, 3)])
    assert [bool(w.id) for w in written] == [True, False, False]
    assert all(w.is_transient for w in written[1:])


def test_p28_what_a_rollback_took_along_is_tried_again() -> None:
    """ALL_OR_NONE_OPERATION_ROLLED_BACK says nothing against a record: the culprit is parked, the others go again."""
    told = {"statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK", "message": "Record rolled back", "fields": []}
    guilty = {"statusCode": "STRING_TOO_LONG", "message": "Name: data value too large", "fields": ["Name"]}
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        with_token(wire)
        first = [{"success": False, "errors": [guilty]}, {"success": False, "errors": [told]}]
        wire.patch(f"{DATA}/composite/sobjects", json=first)
        wire.patch(f"{DATA}/composite/sobjects", json=[{"id": "006000000000002AAA", "success": True, "errors": []}])
        written = client().write([billed(f"00600000000000{n}AAA", D(1)) for n in (1, 2)])
        again = json.loads(wire.calls[-1].request.body)
    assert [w.id for w in written] == [None, "006000000000002AAA"]
    assert not written[0].is_transient
    assert [r["id"] for r in again["records"]] == ["006000000000002AAA"]
    assert again["allOrNone"] is False


# ---------------------------------------------------------------- P36: what the edge answers, and replies that are lost

EDGE = ["setting_up", "not_acceptable", "too_many", "server_error", "bad_gateway", "unavailable", "unavailable_html", "gateway_timeout"]


@pytest.mark.parametrize("answer", EDGE)
def test_p36_reads_outlast_what_the_edge_answers(running: Crm, answer: str) -> None:
    """HTML or JSON, a page that says busy is asked again; 406, which no second try heals, goes to the next round."""
    crm = running.fresh().connected()
    running.fault(fail=[{"as": answer, "times": 2, "kind": "query"}])
    if answer == "not_acceptable":
        with pytest.raises(RetryableError):
            crm.query(ONE)
        return
    assert len(crm.query(ONE)[0]) == 1
    assert running.calls()["query"] == 3


def test_p36_a_login_is_sent_once(running: Crm) -> None:
    """What may not happen twice is not repeated: a token endpoint in trouble is asked again by the next round only."""
    crm = running.fresh().crm()
    running.fault(fail=[{"as": "unavailable_html", "times": 3, "kind": "token"}])
    with pytest.raises(RetryableError):
        crm.connect()
    assert running.calls() == {"token": 1}


@pytest.mark.parametrize("when", ["before", "after"])
def test_p36_a_lost_reply_is_still_one_record(running: Crm, when: str) -> None:
    """The connection breaks before or after the CRM has saved: the upsert goes again, and there is one record."""
    crm = running.fresh().connected()
    running.fault(drop=[{"when": when, "kind": "composite/sobjects"}])
    key = f"in_lost_{when}"
    (written,) = crm.write([invoice(key, Number__c=f"LOST-{when}", Total__c=D("10.00"))])
    rows = [r for r in running.server.org.rows("Billing_Invoice__c") if r["Billing_Invoice_Id__c"] == key]
    assert [r["Id"] for r in rows] == [written.id]
    assert running.calls()["composite/sobjects"] == 2


def test_p36_a_lost_reply_in_a_round_bills_once(tmp_path: Path) -> None:
    """Every write's reply is lost after the save, three times over: in the end one invoice row, the deal told, nothing doubled."""
    with desk(tmp_path) as it:
        made = it.world
        made.org.faults.apply({"drop": [{"when": "after", "times": 3, "kind": "composite"}]})
        made.win("acme_seats")
        for _ in range(4):
            it.round(after_s=900)
        assert [r["Number__c"] for r in made.invoices()] == ["INV-0001"]
        assert made.said("acme_seats")[0] == "Active"


# ---------------------------------------------------------------- P37: an external id that is not unique


def test_p37_an_external_id_that_occurs_twice_is_a_data_error_naming_it(running: Crm) -> None:
    """The org made the field not unique and somebody copied a row: the write is refused for good, the other rows are written."""
    crm, org = running.fresh().connected(), running.server.org
    running.fault(not_unique=["Billing_Invoice__c.Billing_Invoice_Id__c"])
    twins = [org.create("Billing_Invoice__c", {"Billing_Invoice_Id__c": "in_twin", "Number__c": f"TWIN-{n}"}) for n in (1, 2)]
    try:
        written = crm.write([invoice("in_twin", Number__c="INV-9"), invoice("in_single", Number__c="INV-10")])
    finally:
        for one in twins:
            org.delete("Billing_Invoice__c", one)
    problem = written[0].problem
    assert problem is not None
    assert (problem.code, written[0].is_transient) == ("crm-duplicate-key", False)
    assert "mark the external id field as unique" in problem.hint
    assert written[1].id


def test_p37_a_300_names_the_records() -> None:
    """Where the CRM lists the candidates, the problem names each of them, so that an administrator finds the surplus one."""
    urls = [f"/services/data/v62.0/sobjects/Billing_Invoice__c/a0000000000000{n}AAA" for n in (1, 2)]
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        with_token(wire)
        wire.patch(f"{DATA}/composite/sobjects/Billing_Invoice__c/Billing_Invoice_Id__c", status=300, json=urls)
        (written,) = client().write([invoice("in_twin", Number__c="INV-9")])
    problem = written.problem
    assert problem is not None
    assert problem.code == "crm-duplicate-key"
    assert "a00000000000001AAA" in problem.message
    assert "a00000000000002AAA" in problem.message
    assert not written.is_transient


# ---------------------------------------------------------------- P38: what the customer's automation refuses


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("Finance froze closed deals.", "crm-validation-rule"),
        ({"code": "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "message": "DealTrigger: System.NullPointerException"}, "crm-automation"),
        ({"code": "ENTITY_IS_LOCKED", "message": "the entity is locked for editing"}, "crm-record-locked"),
    ],
)
def test_p38_a_refused_mirror_leaves_the_invoice_row_alone(tmp_path: Path, rule: object, code: str) -> None:
    """A rule, a trigger or an approval keeps our fields off the deal: billing and invoice rows go on, the reason is seen, a retry writes it."""
    with desk(tmp_path) as it:
        made = it.world
        made.win("acme_seats")
        made.org.faults.apply({"refuse": {made.ids["acme_seats"]: rule}})
        state = it.round()
        assert state.standing == "ok"
        assert made.record("acme_seats")["Billing_Status__c"] is None
        assert [(r["Number__c"], r["Opportunity__c"]) for r in made.invoices()] == [("INV-0001", made.ids["acme_seats"])]
        (held,) = it.console().held
        assert held.label == "Acme team seats"
        said = rule if isinstance(rule, str) else rule["message"]  # type: ignore[index]
        assert said in held.message
        assert held.hint
        assert code in made.query("SELECT write_problem FROM deal WHERE name = ?", made.ids["acme_seats"])[0][0]
        made.org.faults.apply({"reset": True})
        with it.house.database.transaction() as unit:
            ledger.tell_crm(unit, [made.ids["acme_seats"]])
        it.round()
        assert made.said("acme_seats")[0] == "Active"
        assert not it.console().held
