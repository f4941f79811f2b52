"""`connector check`: each finding against a real demo CRM with the fault on, through the command line; nothing is ever written."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from doctor_world import (
    NAMES,
    OPPORTUNITY,
    Doctor,
    doctors,
    everything,
    free_port,
    line_of,
    places,
)
from world import ROOT

from connector import app, printing
from connector.config import load_config
from connector.doctor.findings import CHECKS
from connector.lookalike.crm.org import Org, Traits
from connector.lookalike.crm.server import CrmServer
from connector.sync import rounds
from connector.sync.seam import Tally


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Doctor]]:
    """What makes a doctor for an org; keywords are the org's."""
    with doctors(tmp_path, monkeypatch, capsys) as make:
        yield make


@pytest.fixture
def doctor(made: Callable[..., Doctor]) -> Doctor:
    """A doctor at the usual demo CRM."""
    return made()


# ---------------------------------------------------------------- all is well


def test_a_healthy_demo_is_fine_in_every_check(doctor: Doctor, tmp_path: Path) -> None:
    """Every check says ok and what it saw, the status is 0; before the first run and after it; no byte here or record there changes."""
    for has_books in (False, True):
        if has_books:
            assert doctor.type("sync")[0] in (0, 1)
        before, told = everything(tmp_path), doctor.crm.front.counters()["records_written"]
        status, found = doctor.check()
        assert (status, [c for c in found if c["state"] != "ok"]) == (0, [])
        assert [c["name"] for c in found] == NAMES
        assert everything(tmp_path) == before
        assert doctor.crm.front.counters()["records_written"] == told
    said = {c["name"]: c["message"] for c in found}
    assert "00D" in said["ledger"]
    assert "schema 0" in said["database"]


def test_the_visit_costs_few_calls(doctor: Doctor) -> None:
    """One login and at most ten calls of the org's allocation."""
    doctor.crm.front.reset_counters()
    assert doctor.check()[0] == 0
    counted = doctor.crm.front.counters()
    assert counted["by_kind"]["token"] == 1
    assert counted["total"] <= 10


def test_books_in_use_are_looked_at_without_a_trace(doctor: Doctor, tmp_path: Path) -> None:
    """While another connection holds the database open with its log beside it, the check reads what was committed and changes nothing."""
    assert doctor.type("sync")[0] in (0, 1)
    with closing(sqlite3.connect("connector.db")) as other:
        other.execute("INSERT INTO meta (key, value) VALUES ('said', 'now')")
        other.commit()
        assert Path("connector.db-wal").stat().st_size > 0
        before = everything(tmp_path)
        assert doctor.check()[0] == 0
        assert {k: v for k, v in everything(tmp_path).items() if not k.endswith("-shm")} == {
            k: v for k, v in before.items() if not k.endswith("-shm")
        }


def test_people_read_the_worst_first(doctor: Doctor) -> None:
    """Plain lines: failures with place and fix above warnings, above what went well; a sum at the end; on a terminal nothing is cut off."""
    doctor.org.faults.apply({"hide": ["OpportunityLineItem.UnitPrice"], "clock_skew_s": 300})
    status, out, _ = doctor.type("check")
    assert status == 2
    lines = out.splitlines()
    at = line_of("unit_amount: UnitPrice")
    assert re.match(rf"FAIL fields: .*salesforce-opportunity\.yaml:{at}:\d+: OpportunityLineItem shows no field \"UnitPrice\"", lines[0])
    assert "lacks field access" in lines[0]
    states = [line.split(" ")[0] for line in lines[:-1]]
    assert states == sorted(states, key=["FAIL", "warn", "skip", "ok"].index)
    assert lines[-1].startswith("1 failed, 1 to look at, ")
    found = json.loads(doctor.type("check", "--json")[1])
    shown = re.sub(r"\x1b\[[\d;]*m", "", printing.check_table(found))
    assert shown.startswith("FAIL  fields ")
    assert all(len(line) <= 80 for line in shown.splitlines() if "/" not in line)
    assert " ".join(shown.split()).count("-> Switch on time synchronization (NTP) on this machine.") == 1


# ---------------------------------------------------------------- the login


def test_a_refused_login_keeps_nothing_else_from_being_checked(doctor: Doctor) -> None:
    """A wrong secret: status 3 with the fix; mistakes in a mapping are still found, what needs the org says that it was not checked."""
    doctor.change("${SF_CLIENT_SECRET}", "${WRONG:-another}")
    status, found = doctor.bad()
    assert status == 3
    assert [c["name"] for c in found if c["state"] == "fail"] == ["login"]
    assert "crm.client_secret" in found[0]["hint"] + found[1]["hint"]
    skipped = {c["name"]: c["message"] for c in found if c["state"] == "skip"}
    assert {"org", "fields", "currency", "catalogue", "api-calls"} <= set(skipped)
    assert set(skipped.values()) == {"Not checked: no login."}
    doctor.change("quantity: Quantity", "quantitty: Quantity", OPPORTUNITY)
    status, found = doctor.bad()
    assert status == 2
    assert ("mappings", "unknown-key", line_of("quantitty")) in places(found)


def test_a_crm_that_does_not_answer_ends_the_wait(doctor: Doctor) -> None:
    """Nobody listens: status 3, in a few seconds."""
    doctor.change(doctor.crm.url, f"http://127.0.0.1:{free_port()}")
    status, found = doctor.bad()
    assert status == 3
    assert places([c for c in found if c["state"] == "fail"]) == [("login", "unreachable", 0)]


def test_the_password_login_is_warned_of_and_ends_with_version_65(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 62.0 it works and the date is named; with 65.0, and client credentials at a login host, the line of the configuration is."""
    monkeypatch.setenv("SF_PASSWORD", "demo")
    doctor.change("  auth: client_credentials", "  username: integration@demo.example\n  password: ${SF_PASSWORD}\n  auth: password")
    status, found = doctor.bad()
    assert (status, [(c["name"], c["state"]) for c in found]) == (0, [("login-flow", "warn")])
    assert "Summer '27" in found[0]["message"]
    doctor.change('api_version: "62.0"', 'api_version: "65.0"')
    status, found = doctor.bad()
    assert status == 2
    assert found[0]["name"] == "config"
    assert "no password login" in found[0]["message"]
    assert found[0]["where"]["line"] == line_of("auth: password", Path("config.yaml"))
    doctor.change("auth: password", "auth: client_credentials")
    doctor.change(doctor.crm.url, "https://login.salesforce.com")
    status, found = doctor.bad()
    assert status == 2
    assert "cannot log in at login.salesforce.com" in found[0]["message"]


def test_an_api_version_that_the_org_lacks_or_that_is_old(doctor: Doctor) -> None:
    """70.0 is not listed, and those that are, are named; one that Salesforce has retired fails alike; 60.0 is old but supported."""
    doctor.change('"62.0"', '"70.0"')
    status, found = doctor.bad()
    assert status == 3
    (version,) = [c for c in found if c["state"] == "fail"]
    assert version["name"] == "api-version"
    assert '"68.0"' in version["hint"]
    assert {c["message"] for c in found if c["state"] == "skip"} == {"Not checked: the org does not offer our API version."}
    doctor.change('"70.0"', '"62.0"')
    doctor.org.faults.apply({"retired_below": 64})
    status, found = doctor.bad()
    assert status == 3
    assert any("does not offer API version 62.0; it has 64.0 to 68.0" in c["message"] for c in found)
    from connector.doctor import login

    assert login.version("60.0", ["60.0", "69.0"]).state == "warn"
    assert login.version("62.0", ["60.0", "69.0", "62.0"]).state == "ok"


# ---------------------------------------------------------------- the org


def test_another_org_is_refused_and_a_sandbox_said(made: Callable[..., Doctor]) -> None:
    """An org that the configuration does not expect, or the ledger is not bound to, fails with status 3; a sandbox is named as one."""
    doctor = made()
    assert doctor.type("sync")[0] in (0, 1)
    doctor.change("org_id: null", "org_id: 00D000000000009AAA")
    status, found = doctor.bad()
    assert status == 3
    assert ("org", "other-org", 0) in places(found)
    doctor.change("org_id: 00D000000000009AAA", "org_id: null")
    other = CrmServer(Org(traits=Traits(org_number=2, is_sandbox=True))).start()
    try:
        doctor.change(doctor.crm.url, other.url)
        status, found = doctor.check()
    finally:
        other.stop()
    assert status == 3
    assert [(c["name"], c["code"]) for c in found if c["state"] == "fail"] == [("ledger", "other-org")]
    assert ", sandbox)" in next(c["message"] for c in found if c["name"] == "org")


def test_clocks_that_differ(doctor: Doctor) -> None:
    """Within a minute nothing; five minutes are a warning, an hour in either direction a failure."""
    for skew_s, state, status in ((20, None, 0), (300, "warn", 0), (3600, "fail", 1), (-3600, "fail", 1)):
        doctor.org.faults.apply({"clock_skew_s": skew_s})
        ended, found = doctor.bad()
        assert ended == status
        assert [(c["name"], c["state"]) for c in found] == ([("clock", state)] if state else [])
    assert "ahead of the CRM's" in found[0]["message"]


def test_a_time_zone_far_from_the_orgs(made: Callable[..., Doctor]) -> None:
    """The default UTC beside an org in New York is a warning; the same zone is fine."""
    doctor = made(timezone="America/New_York")
    status, found = doctor.bad()
    assert (status, places(found)) == (0, [("time-zone", "", 0)])
    doctor.change("timezone: UTC", "timezone: America/New_York")
    assert doctor.bad() == (0, [])


@pytest.mark.parametrize("has_orders", [False, True])
def test_the_calls_that_it_plans_are_those_that_are_made(made: Callable[..., Doctor], *, has_orders: bool) -> None:
    """Rounds, billing runs and the comparison at night are reckoned as the passes ask: counted in the demo CRM, with two sources and with three."""
    doctor = made(traits=Traits(has_cpq=has_orders))
    if has_orders:
        doctor.change("sources:\n", "sources:\n  - {name: orders, mapping: mappings/salesforce-cpq-order.yaml, every: 30s}\n")
    assert doctor.type("sync")[0] == 0
    found = {c["name"]: c["message"] for c in doctor.check()[1]}
    figures = re.search(r"polling every 30 s makes ([\d,]+) a day, billing runs and comparisons ([\d,]+),", found["api-calls"])
    assert figures
    calls = []
    with app.writing_house(load_config(Path("config.yaml"), os.environ), "test") as house:
        time.sleep(3.1)  # stamps count whole seconds: what was saved up to two seconds before a read is read again (P3)
        rounds.read_all(house.seam, Tally())  # the first look at what the command wrote
        for what in (
            lambda: rounds.read_all(house.seam, Tally(), turn=1),
            lambda: rounds.read_all(house.seam, Tally()),
            lambda: rounds.reconcile(house.seam, Tally()),
        ):
            before = doctor.crm.front.counters()["total"]
            what()
            calls.append(doctor.crm.front.counters()["total"] - before)
    a_round, a_run, a_night = calls
    assert figures[1] == f"{2880 * a_round:,}"
    assert figures[2] == f"{144 * a_run + a_night:,}"


def test_calls_that_do_not_suffice(doctor: Doctor) -> None:
    """None left, more used than our share, a cadence above it (with the interval that fits), and a share that is nearly used up."""
    faults = doctor.org.faults
    faults.apply({"limit_reached": True})
    status, found = doctor.bad()
    assert status == 3
    assert ("api-calls", "crm-call-limit", 0) in places(found)
    assert {c["message"] for c in found if c["state"] == "skip"} == {"Not checked: the org has no calls left."}
    for limit, used, words in ((10_000, 9_000, "asked every 15 minutes only"), (4_000, 0, "Polling every 30 s makes 2,880"), (100_000, 49_900, "Less than an hour")):
        faults.apply({"reset": True, "limit_max": limit, "limit_used": used})
        status, found = doctor.bad()
        assert [(c["name"], words in c["message"]) for c in found] == [("api-calls", True)]
        assert status == (3 if "15 minutes" in words else 0)
    faults.apply({"reset": True, "limit_max": 4_000})
    every = re.search(r"every: (\d+)s", doctor.bad()[1][0]["hint"])
    assert every
    doctor.change("every: 30s", f"every: {every[1]}s")
    assert doctor.bad() == (0, [])


# ---------------------------------------------------------------- the books and the house


def test_a_database_that_cannot_be_used(doctor: Doctor) -> None:
    """A folder that is not there, a newer schema, a damaged file, another time zone: status 3 and what to do, everything else checked."""
    doctor.change("sqlite:///connector.db", "sqlite:///nowhere/connector.db")
    status, found = doctor.bad()
    assert (status, places(found)[0]) == (3, ("database", "database", 0))
    doctor.change("sqlite:///nowhere/connector.db", "sqlite:///connector.db")
    assert doctor.type("sync")[0] in (0, 1)
    doctor.change("timezone: UTC", "timezone: Europe/London")
    status, found = doctor.bad()
    assert status == 3
    assert ("ledger", "other-timezone", 0) in places(found)
    doctor.change("timezone: Europe/London", "timezone: UTC")
    whole = Path("connector.db").read_bytes()
    with closing(sqlite3.connect("connector.db")) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
    status, found = doctor.bad()
    assert status == 3
    assert ("database", "newer-schema", 0) in places(found)
    Path("connector.db").write_bytes(whole)
    with Path("connector.db").open("r+b") as file:
        for page in range(20, 60):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    status, found = doctor.bad()
    assert status == 3
    assert {c["name"] for c in found if c["state"] == "fail"} in ({"integrity"}, {"integrity", "database"}, {"database"})
    assert all("restore the last good copy" in c["hint"] for c in found if c["state"] == "fail")


def test_an_older_schema_is_said_and_left_alone(doctor: Doctor, tmp_path: Path) -> None:
    """The next run brings it up to date; the check does not."""
    from connector import migrations

    assert doctor.type("sync")[0] in (0, 1)
    with closing(sqlite3.connect("connector.db")) as db:
        db.execute("UPDATE alembic_version SET version_num = ?", (migrations.KNOWN[-2],))
        db.commit()
    before = everything(tmp_path)
    status, found = doctor.bad()
    assert (status, [(c["name"], c["state"]) for c in found if c["state"] != "skip"]) == (0, [("database", "warn")])
    assert everything(tmp_path) == before


def test_contracts_made_with_other_settings(doctor: Doctor) -> None:
    """A changed setting says how many running contracts keep the old one."""
    OPPORTUNITY.write_text("\n".join(x for x in OPPORTUNITY.read_text().splitlines() if "start_from" not in x))
    with doctor.org.lock, doctor.org.transaction(user=doctor.org.rep_user):
        doctor.org.update("Opportunity", doctor.ids["acme_seats"], {"StageName": "Closed Won"})
    assert doctor.type("sync")[0] in (0, 1)
    doctor.change("tax_rounding: line", "tax_rounding: invoice")
    status, found = doctor.bad()
    assert (status, places(found)) == (0, [("contracts", "", 0)])
    assert "1 with another tax_rounding" in found[0]["message"]


class _Stranger(BaseHTTPRequestHandler):
    body = b"hello"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_the_port_of_the_pages(doctor: Doctor) -> None:
    """Another program on it fails; the connector itself there is fine."""
    text = Path("config.yaml").read_text()
    port = int(re.findall(r"listen: 127.0.0.1:(\d+)", text)[0])
    for body, states in ((b"hello", [("web", "fail")]), (b'{"status": "ok"}', [])):
        server = HTTPServer(("127.0.0.1", port), type("Answers", (_Stranger,), {"body": body}))
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            status, found = doctor.bad()
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        assert ([(c["name"], c["state"]) for c in found], status) == (states, 1 if states else 0)


def test_mails_links_and_secrets(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mail server fails; links to this machine in mails, a weak password and no secret are warned of."""
    monkeypatch.setenv("SMTP_URL", f"smtp://127.0.0.1:{free_port()}")
    monkeypatch.setenv("CONNECTOR_ADMIN_PASSWORD", "admin1")
    doctor.change("  url: null ", "  url: ${SMTP_URL}")
    doctor.change("  from: null ", "  from: billing@example.com")
    status, found = doctor.bad()
    assert status == 1
    assert [(c["name"], c["state"]) for c in found] == [("mail", "fail"), ("public-url", "warn"), ("secrets", "warn"), ("secrets", "warn")]
    monkeypatch.setenv("CONNECTOR_ADMIN_PASSWORD", "correct horse battery")
    monkeypatch.setenv("CONNECTOR_SECRET", "0123456789abcdef0123456789abcdef")
    doctor.change("public_url: http://127.0.0.1:8080", "public_url: http://billing.example.com")
    _, found = doctor.bad()
    assert [(c["name"], c["state"]) for c in found] == [("mail", "fail"), ("public-url", "warn")]
    assert "not encrypted" in found[1]["message"]
    doctor.change("public_url: http:", "public_url: https:")
    assert [c["name"] for c in doctor.bad()[1]] == ["mail"]


def test_a_configuration_with_mistakes_is_told_in_one_go(doctor: Doctor) -> None:
    """Two mistakes in config.yaml and one in a mapping are all there; no host is asked; without any file the way out is named."""
    doctor.change("timezone: UTC", "timezone: Mars/Olympus")
    doctor.change("proration: day", "proratoin: day")
    doctor.change("quantity: Quantity", "quantitty: Quantity", OPPORTUNITY)
    doctor.crm.front.reset_counters()
    status, found = doctor.bad()
    assert status == 2
    assert [(c["name"], c["code"]) for c in found if c["state"] == "fail"][:3] == [
        ("config", "bad-timezone"), ("config", "unknown-key"), ("mappings", "missing-key"),
    ]  # fmt: skip
    assert doctor.crm.front.counters()["by_kind"] == {}
    Path("config.yaml").unlink()
    status, found = doctor.bad()
    assert status == 2
    assert "connector init" in found[0]["hint"]


def test_the_documentation_lists_every_check() -> None:
    """docs/troubleshooting.md has the table of all checks as the code has them, in order."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows[: len(CHECKS)] == [f"| `{c.name}` | {c.meaning} | {c.fix} | {c.exit_status} |" for c in CHECKS]


def test_a_key_file_that_cannot_be_read(doctor: Doctor) -> None:
    """The login by a key whose file is not there is told with the file's name; the mappings are checked all the same."""
    doctor.change("  auth: client_credentials", "  username: integration@demo.example\n  private_key_file: nowhere.pem\n  auth: jwt")
    status, found = doctor.bad()
    assert status == 3
    assert [(c["name"], c["code"]) for c in found if c["state"] == "fail"] == [("login", "unreadable-file")]
    assert "nowhere.pem" in next(c["message"] for c in found if c["state"] == "fail")
    assert doctor.type("sync")[0] == 2
