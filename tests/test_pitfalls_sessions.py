"""Pitfalls P29 to P35 of Salesforce: sessions, versions, orgs and other APIs, each against the demo CRM with the fault on.

The numbers are those of the closing note of issue 4; each test's name begins with its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs

import jwt
import pytest
import responses
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pitfalls import desk
from salesforce_wire import DATA, HOST, ONE, SOQL, with_token
from salesforce_world import DEALS, World, billed, invoice, running_world
from world import world

from connector import cli
from connector.crm.bulk import cell
from connector.crm.login import Login
from connector.crm.salesforce import SalesforceCrm
from connector.errors import ConfigError, HaltError, RetryableError
from connector.lookalike.crm.gate import DEMO_CLIENT_ID, DEMO_USERNAME, Logins
from connector.lookalike.crm.org import Org, Traits
from connector.lookalike.crm.server import CrmServer
from connector.ports import Upsert
from connector.sync import ledger

LIMITED = ["SELECT Id FROM Opportunity LIMIT 1"]


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    with running_world() as made:
        yield made


@pytest.fixture
def crm_world(running: World) -> World:
    return running.fresh()


# ---------------------------------------------------------------- P29: sessions that end


def test_p29_one_401_is_one_new_login(crm_world: World) -> None:
    """A session that expired in the middle of pages costs one login, and every row comes once."""
    crm = crm_world.connected()
    crm_world.fault(page_size=500, fail=[{"as": "session_expired", "kind": "query_more", "after": 1}])
    (rows,) = crm.query(["SELECT Id FROM Opportunity ORDER BY Id"])
    assert [r["Id"] for r in rows] == sorted(crm_world.deals)
    assert crm_world.calls()["token"] == 1


def test_p29_a_401_for_ever_is_one_login_and_an_auth_error(crm_world: World) -> None:
    """Whatever the CRM is asked while it refuses every session: at most one login a minute, and words that say what to check."""
    now = [0.0]
    crm = SalesforceCrm(crm_world.login(), monotonic=lambda: now[0])
    crm.connect()
    crm_world.fault(fail=[{"as": "session_expired", "times": "for_ever", "kind": "query"}])
    crm_world.server.front.reset_counters()
    for second in range(0, 180, 10):
        now[0] = float(second)
        with pytest.raises((HaltError, RetryableError)) as caught:
            crm.query(LIMITED)
        assert caught.value.hint
    assert crm_world.calls()["token"] == 3  # in three minutes


@pytest.mark.parametrize("text", ["session_not_for_rest", "app_not_attached"])
def test_p29_texts_that_never_heal_are_not_answered_by_a_login(crm_world: World, text: str) -> None:
    """Two messages come with the code of an expired session, but no login helps: none is made."""
    crm = crm_world.connected()
    crm_world.fault(fail=[{"as": text, "times": "for_ever", "kind": "query"}])
    with pytest.raises(HaltError) as caught:
        crm.query(LIMITED)
    assert caught.value.code == "crm-session-refused"
    assert crm_world.calls() == {"query": 1}


def test_p29_a_401_that_is_no_json_is_an_expired_session(crm_world: World) -> None:
    """A page of HTML with status 401 does not break the client; it logs in once and goes on."""
    crm = crm_world.connected()
    crm_world.fault(fail=[{"as": "session_html", "kind": "query"}])
    assert len(crm.query(LIMITED)[0]) == 1
    assert crm_world.calls() == {"query": 2, "token": 1}


def test_p29_threads_that_meet_the_same_expired_session_share_one_login(crm_world: World) -> None:
    """Eight threads at once, all sessions over: one login, eight answers."""
    crm = crm_world.connected()
    crm_world.fault(revoke_tokens=True, latency_ms=50)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(crm.query(LIMITED)[0]))) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert found == [1] * 8
    assert crm_world.calls()["token"] == 1


# ---------------------------------------------------------------- P30: an instance that moves


def test_p30_instance_and_token_change_in_the_middle_of_pages(crm_world: World) -> None:
    """The org moves between two pages: the rest is read from the new instance with the new token, no row lost or doubled."""
    crm = crm_world.connected()
    before = crm._logged_in()
    crm_world.fault(
        page_size=500, instance_url="https://demo2.my.salesforce.com", fail=[{"as": "session_expired", "kind": "query_more", "after": 1}]
    )
    (rows,) = crm.query(["SELECT Id FROM Opportunity ORDER BY Id"])
    after = crm._logged_in()
    assert [r["Id"] for r in rows] == sorted(crm_world.deals)
    assert len(rows) == DEALS
    assert (after.sf_instance, "demo2" in before.sf_instance) == ("demo2.my.salesforce.com", False)
    assert after.session_id != before.session_id


# ---------------------------------------------------------------- P31: logins


def _key() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@pytest.mark.parametrize(
    ("url", "audience"),
    [
        (HOST, "https://login.salesforce.com"),
        ("https://acme--dev.sandbox.my.salesforce.com", "https://test.salesforce.com"),
        ("https://login.salesforce.com", "https://login.salesforce.com"),
    ],
)
def test_p31_the_audience_of_a_jwt_is_the_login_host(url: str, audience: str) -> None:
    """The token is fetched at My Domain, but the assertion is for login.salesforce.com, or test for a sandbox."""
    private, public = _key()
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        with_token(wire, url)
        wire.get(f"{DATA}/query", json=ONE)
        SalesforceCrm(Login(url=url, auth="jwt", client_id="key", username="int@acme.example", private_key=private)).query(SOQL)
        sent = parse_qs(str(wire.calls[0].request.body))["assertion"][0]
    assert jwt.decode(sent, public, algorithms=["RS256"], audience=audience)["iss"] == "key"


def test_p31_both_flows_log_in_and_a_login_host_is_refused_for_client_credentials() -> None:
    """A signed assertion opens the demo CRM, which checks it; client credentials at a login host are a mistake of the configuration."""
    private, public = _key()
    with CrmServer(Org(), logins=Logins(jwt_public_key=public)) as server:
        login = Login(url=server.url, auth="jwt", client_id=DEMO_CLIENT_ID, username=DEMO_USERNAME, private_key=private)
        assert SalesforceCrm(login).connect().id == server.org.org_id
    with pytest.raises(ConfigError, match="My Domain"):
        Login(url="https://login.salesforce.com", client_id="a", client_secret="b")


# ---------------------------------------------------------------- P32: versions


def test_p32_a_retired_version_stops_us_with_the_fix(crm_world: World) -> None:
    """410 names the version and what to set; a version of the configuration below 60.0 is refused before anything is sent."""
    crm_world.fault(retired_below=63)
    with pytest.raises(HaltError, match=r"API version 62\.0") as caught:
        crm_world.crm().connect()
    assert caught.value.code == "crm-api-version"
    assert "crm.api_version" in caught.value.hint


def test_p32_what_the_org_offers_is_asked_without_a_call(crm_world: World) -> None:
    """GET /services/data costs none of the allocation and lists what is pinned; one that is not listed stops us, naming both."""
    crm = crm_world.connected()
    assert "62.0" in crm.versions()
    assert crm_world.server.front.used == 0
    crm_world.fault(retired_below=65)
    assert "62.0" not in crm.versions()
    crm_world.fault(reset=True)
    with pytest.raises(HaltError, match=r"API version 99\.0") as caught:
        crm_world.crm(api_version="99.0").connect()
    assert "connector check" in caught.value.hint


# ---------------------------------------------------------------- P33: another org


def test_p33_a_refresh_while_we_run_is_refused(tmp_path: Path) -> None:
    """The org becomes another one under the running daemon: nothing is read, written or billed for it, and the job says why."""
    with desk(tmp_path, org=lambda clock: Org(clock=clock, traits=Traits(is_sandbox=True))) as it:
        made = it.world
        made.win("acme_seats")
        it.round()
        before = made.query("SELECT COUNT(*) FROM invoice")
        with made.org.lock:
            made.org.become_another(is_sandbox=True)
            made.crm.front.gate.revoke()
        made.win("cobalt_licence")
        state = it.round(after_s=120)
        assert state.standing == "halted"
        assert "was expected" in state.error
        assert "connector crm rebind" in state.hint
        assert made.query("SELECT COUNT(*) FROM invoice") == before
        assert it.console().where.endswith(", sandbox)")


def test_p33_a_person_confirms_the_other_org(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`crm rebind` shows both orgs and what follows, does nothing without --yes, and then bills no known deal again."""
    monkeypatch.chdir(tmp_path)
    with world(tmp_path / "crm", org=lambda clock: Org(clock=clock, traits=Traits(is_sandbox=True))) as made:
        text = (Path(__file__).parent.parent / "config.example.yaml").read_text()
        Path("mappings").mkdir()
        for file in (Path(__file__).parent.parent / "mappings").glob("*.yaml"):
            Path("mappings", file.name).write_text(file.read_text())
        Path("config.yaml").write_text(text.replace("https://YOUR-DOMAIN.my.salesforce.com", made.crm.url))
        for name, value in {"SF_CLIENT_ID": "demo-client", "SF_CLIENT_SECRET": "demo-secret"}.items():
            monkeypatch.setenv(name, value)

        def typed(*words: str) -> tuple[int, str]:
            capsys.readouterr()
            with pytest.raises(SystemExit) as ending:
                cli.main(words)
            out = capsys.readouterr()
            return int(ending.value.code or 0), out.out + out.err

        made.win("acme_seats")
        assert typed("sync")[0] == 0
        assert "sandbox" in typed("check")[1]
        old, contracts = made.org.org_id, made.invoices()
        with made.org.lock:
            made.org.become_another(is_sandbox=True)
            made.crm.front.gate.revoke()
        new = made.org.org_id
        made.win("cobalt_licence")
        status, said = typed("sync")
        assert status == 3
        assert old in said
        assert new in said
        assert "connector crm rebind" in said
        status, said = typed("crm", "rebind")
        assert status == 1
        assert f"old org  {old}  Northwind Instruments, sandbox" in said
        assert f"new org  {new}  Northwind Instruments, sandbox" in said
        assert "Records of the ledger that the new org has: " in said
        assert "Cobalt site licence" in said
        assert "Nothing was changed." in said
        assert typed("sync")[0] == 3
        status, said = typed("--json", "crm", "rebind", "--yes")
        assert (status, json.loads(said)["done"]) == (0, True)
        assert typed("sync")[0] == 0
        assert [r["Number__c"] for r in made.invoices()] == ["INV-0001", "INV-0002"]
        assert made.invoices()[0]["Total__c"] == contracts[0]["Total__c"]
        assert typed("crm", "rebind") == (0, f"The ledger belongs to this org already: {new}  Northwind Instruments, sandbox. Nothing to do.\n")


# ---------------------------------------------------------------- P34: events are not needed


def test_p34_polling_by_documented_rest_calls_is_the_only_source(tmp_path: Path) -> None:
    """A life of a deal needs logins, composites, queries and describes alone: no subscription, no stream; our writes bear our name."""
    with desk(tmp_path) as it:
        made = it.world
        seen: list[tuple[str, str | None]] = []
        real = made.crm.front.answer

        def watched(request):  # type: ignore[no-untyped-def]
            seen.append((request.path, request.headers.get("sforce-call-options")))
            return real(request)

        made.crm.front.answer = watched  # type: ignore[method-assign]
        made.win("acme_seats")
        it.round()
        made.edit("acme_seats", Name="Acme, renamed")
        it.round()
        it.billing_run(after_s=40 * 24 * 3600)
    prefix = "/services/data/v62.0/"
    assert {path.removeprefix(prefix).split("/")[0] for path, _ in seen} <= {"composite", "query", "queryAll", "sobjects"}
    assert all(path.startswith(prefix) for path, _ in seen)
    assert {client for _, client in seen} == {"client=connector"}  # what change events show as changeOrigin (P10)


# ---------------------------------------------------------------- P35: Bulk API 2.0, opt-in


def test_p35_many_records_go_by_bulk_and_each_is_judged_alone(running: World) -> None:
    """Above the threshold: nulls as #N/A, the text NA as it is, results by record, a locked and a refused one told apart, few calls."""
    here = running.fresh()
    crm = SalesforceCrm(here.login(), bulk_above=500, sleep=here.waits.append)
    crm.connect()
    org, deals = here.server.org, here.deals[:900]
    here.fault(lock={deals[3]: 1}, refuse={deals[5]: "Closed: for audit, ask Finance."}, bulk_polls=2)
    here.server.front.reset_counters()
    org.update("Opportunity", deals[0], {"Billing_Message__c": "old"})
    values = {"Billing_Status__c": "NA", "Amount_Billed__c": Decimal("0.30"), "Next_Invoice_Date__c": date(2026, 2, 1)}
    blank = {"Billing_Message__c": None}
    upserts = [Upsert(object="Opportunity", id=d, values=values | blank, group=d) for d in deals]
    upserts += [invoice(f"in_bulk_{n}", Number__c=f'B "{n}", line\none', Total__c=Decimal(n)) for n in range(20)]
    written = crm.write(upserts)
    assert [n for n, w in enumerate(written) if w.id is None] == [3, 5]
    assert (written[3].is_transient, written[5].is_transient) == (True, False)
    problem = written[5].problem
    assert problem is not None
    assert problem.code == "crm-validation-rule"
    assert "Closed: for audit, ask Finance." in problem.message
    row = org.get("Opportunity", deals[0])
    assert (row["Billing_Status__c"], row.get("Billing_Message__c"), row["Amount_Billed__c"]) == ("NA", None, Decimal("0.30"))
    made = [r for r in org.rows("Billing_Invoice__c") if r["Billing_Invoice_Id__c"].startswith("in_bulk_")]
    assert sorted(r["Id"] for r in made) == sorted(str(w.id) for w in written[900:])
    assert 'B "7", line\none' in {r["Number__c"] for r in made}
    assert here.server.front.used <= 2 * 8
    assert here.waits == [1.0, 2.0, 1.0, 2.0]
    again = crm.write(upserts)  # as after a kill: the same records to the same values, no second row
    assert [w.id for w in again[900:]] == [w.id for w in written[900:]]
    assert again[3].id == deals[3]


def test_p35_a_job_that_does_not_end_is_waited_for_within_a_bound(running: World) -> None:
    """After ten minutes of ever longer pauses the records count as not known, and are written again by a later round."""
    here = running.fresh()
    crm = SalesforceCrm(here.login(), bulk_above=1, sleep=here.waits.append)
    here.fault(bulk_polls=10_000)
    written = crm.write([billed(d, Decimal(1)) for d in here.deals[:3]])
    assert all(w.is_transient and w.problem is not None for w in written)
    assert 600 <= sum(here.waits) < 660
    assert max(here.waits) == 30


def test_p35_a_job_refused_as_a_whole_says_why(running: World) -> None:
    """A hidden field fails the job: every record has the problem of the missing right, none counts as written."""
    here = running.fresh()
    crm = SalesforceCrm(here.login(), bulk_above=1, sleep=here.waits.append)
    here.fault(hide=["Opportunity.Amount_Billed__c"])
    written = crm.write([billed(d, Decimal(1)) for d in here.deals[:3]])
    assert {w.problem.code for w in written if w.problem} == {"crm-field-hidden"}
    assert all(w.id is None for w in written)


def test_p35_both_forms_of_a_stamp_are_one_instant() -> None:
    """REST ends a stamp in +0000, a bulk result in Z: both are the same second for the ledger."""
    rest, bulk = "2026-01-31T10:00:05.000+0000", "2026-01-31T10:00:05.000Z"
    assert ledger.instant(rest) == ledger.instant(bulk) == datetime(2026, 1, 31, 10, 0, 5, tzinfo=UTC)
    assert cell(datetime(2026, 1, 31, 10, 0, 5, tzinfo=UTC)) == "2026-01-31T10:00:05Z"
    assert [cell(v) for v in (None, "NA", True, Decimal("1E+3"), date(2026, 1, 31))] == ["#N/A", "NA", "true", "1000", "2026-01-31"]


def test_p35_bulk_is_off_unless_the_configuration_wants_it(running: World) -> None:
    """By default a thousand records are composites, whatever their number."""
    here = running.fresh()
    crm = here.connected()
    crm.write([billed(d, Decimal(2)) for d in here.deals[:1000]])
    assert here.calls() == {"composite": 1}
