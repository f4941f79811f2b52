"""The commands as people type them: exit status, JSON on stdout and nothing else, and nothing lost on bad input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from world import ROOT, World, world

from connector import cli
from connector.app import lock_path
from connector.config import load_config
from connector.kit import lock
from connector.kit.db import Database
from connector.lookalike.crm.org import Org, Traits
from connector.lookalike.crm.server import CrmServer

ENV = {"SF_CLIENT_ID": "demo-client", "SF_CLIENT_SECRET": "demo-secret"}


class Desk:
    """A folder with config.yaml and mappings/, in which commands are typed."""

    def __init__(self, made: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.world, self._capsys = made, capsys

    def type(self, *words: str) -> tuple[int, str, str]:
        """Run a command; return its exit status, stdout and stderr."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            cli.main(list(words))
        out, err = self._capsys.readouterr()
        return int(ending.value.code or 0), out, err

    def json(self, *words: str) -> tuple[int, Any]:
        """Run a command with --json; return its exit status and the result."""
        status, out, _ = self.type(*words, "--json")
        return status, json.loads(out)

    def point_to(self, url: str) -> None:
        """Let config.yaml lead to another CRM."""
        file = Path("config.yaml")
        file.write_text(file.read_text().replace(self.world.crm.url, url))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    """A desk after `connector init`, its configuration pointing at a demo CRM of today."""
    monkeypatch.chdir(tmp_path)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "crm").mkdir()
    with world(tmp_path / "crm") as made:
        sitting = Desk(made, capsys)
        assert sitting.type("init")[0] == 0
        for file in Path("mappings").glob("*.yaml"):
            file.write_text("\n".join(x for x in file.read_text().splitlines() if "start_from" not in x))
        sitting.point_to(made.crm.url)
        text = Path("config.yaml").read_text()
        Path("config.yaml").write_text(text.replace("https://YOUR-DOMAIN.my.salesforce.com", made.crm.url))
        yield sitting


def test_init_never_overwrites(desk: Desk) -> None:
    """A second init keeps every file as it is and says so."""
    Path("config.yaml").write_text("mine")
    status, out, _ = desk.type("init")
    assert status == 0
    assert "kept  config.yaml" in out
    assert Path("config.yaml").read_text() == "mine"


def test_sync_and_bill_report_what_they_did(desk: Desk) -> None:
    """The documented keys; status 1 while a deal needs attention, 0 when none does; a second run does nothing."""
    desk.world.win("acme_seats", "fjord_seats")
    status, result = desk.json("sync")
    assert status == 1
    assert {k: result[k] for k in ("staged", "mapped", "applied", "waiting", "parked")} == {
        "staged": 5, "mapped": 5, "applied": 1, "waiting": 0, "parked": 1,
    }  # fmt: skip
    assert result["api_calls"] > 0
    (problem,) = result["problems"]
    assert problem["record"] == desk.world.ids["fjord_seats"]
    assert problem["message"].startswith("Not billed")
    assert "Billing Email" in problem["hint"]
    desk.world.edit("fjord", "Account", Billing_Email__c="post@fjord.example")
    status, result = desk.json("sync")
    assert (status, result["applied"], result["parked"]) == (0, 1, 0)
    status, first = desk.json("bill", "--as-of", "2027-01-01")
    assert (status, first["contracts"]) == (0, 2)
    status, again = desk.json("bill", "--as-of", "2027-01-01")
    assert (status, again["invoices"], again["lines"], again["written"]) == (0, 0, 0, 0)


def test_plan_shows_the_invoice_and_writes_nothing(desk: Desk) -> None:
    """The plan equals what sync then makes; neither the CRM nor a ledger is touched before."""
    desk.world.win("acme_seats")
    before = dict(desk.world.record("acme_seats"))
    status, plan = desk.json("plan", "--record", desk.world.ids["acme_seats"])
    assert status == 0
    assert plan["decision"] == "make a contract"
    assert not Path("connector.db").exists()
    assert dict(desk.world.record("acme_seats")) == before
    desk.json("sync")
    _, listed = desk.json("invoices", "list")
    assert plan["invoices"][0]["total"] == f"{listed[0]['total']} EUR"
    status, out, _ = desk.type("plan", "--record", desk.world.ids["acme_seats"])
    assert status == 0
    assert "nothing: what is billed is what the record says" in out


def test_plan_says_why_a_won_deal_is_left_alone(desk: Desk) -> None:
    """Closed before the day from which the mapping bills: the plan names both days and the file, not just that there is nothing to do."""
    file = Path("mappings/salesforce-opportunity.yaml")
    file.write_text(file.read_text().replace("  when: IsWon = true", "  start_from: 2099-01-01\n  when: IsWon = true"))
    desk.world.win("acme_seats")
    status, plan = desk.json("plan", "--record", desk.world.ids["acme_seats"])
    assert status == 0
    closed_on = desk.world.record("acme_seats")["CloseDate"]
    assert plan["decision"].startswith(f"nothing: it was closed on {closed_on}, and deals closed before 2099-01-01 are left alone")
    assert plan["decision"].endswith("salesforce-opportunity.yaml)")


def test_the_books_and_the_ledger_can_be_read(desk: Desk) -> None:
    """Lists and single views of deals, contracts and invoices; a payment is recorded and reaches the CRM."""
    desk.world.win("acme_seats", "fjord_seats")
    desk.json("sync")
    _, deals = desk.json("deals", "list", "--state", "parked")
    assert [d["label"] for d in deals] == ["Fjord team seats"]
    assert desk.json("deals", "show", desk.world.ids["acme_seats"])[1]["revision"] == 1
    assert desk.type("deals", "retry", desk.world.ids["fjord_seats"])[0] == 0
    _, contracts = desk.json("contracts", "list")
    assert [c["name"] for c in contracts] == ["Acme team seats"]
    assert desk.json("contracts", "show", contracts[0]["contract"])[1]["items"][0]["quantity"] == "10"
    status, out, _ = desk.type("invoices", "show", "INV-0001")
    assert status == 0
    assert "Team Seat" in out
    assert desk.type("invoices", "pay", "INV-0001")[0] == 0
    desk.json("sync")
    assert desk.json("invoices", "list", "--status", "paid")[1][0]["number"] == "INV-0001"
    assert desk.world.record("acme_seats")["Last_Invoice_Status__c"] == "Paid"
    assert desk.type("invoices", "pay", "INV-0001")[0] == 1
    assert desk.type("invoices", "show", "INV-9999")[0] == 1


def test_the_event_log_says_who_did_what(desk: Desk) -> None:
    """`events list` tells the newest first, in pages, of one thing or of all; `show` ends with who asked; unknown names are refused."""
    desk.world.win("acme_seats")
    desk.json("sync")
    desk.type("invoices", "pay", "INV-0001")
    status, found = desk.json("events", "list", "--invoice", "INV-0001")
    assert status == 0
    assert [(e["event"], e["before"].get("status"), e["after"]["status"]) for e in found] == [
        ("payment.recorded", "open", "paid"), ("invoice.finalized", None, "open"),
    ]  # fmt: skip
    assert found[0]["by"].startswith("cli:")
    contract = found[0]["contract"]
    _, all_of_it = desk.json("events", "list", "--contract", contract)
    _, older = desk.json("events", "list", "--contract", contract, "--before", str(all_of_it[0]["seq"]))
    assert older == all_of_it[1:] != []
    assert desk.json("events", "list", "--customer", desk.world.ids["acme"])[1][-1]["event"] == "customer.made"
    assert desk.json("events", "list", "--since", "2999-01-01") == (0, [])
    _, out, _ = desk.type("events", "list", "--invoice", "INV-0001")
    assert "status open -> paid" in out
    assert "payment.recorded INV-0001, by cli:" in desk.type("invoices", "show", "INV-0001")[1]
    assert "contract.made" in desk.type("contracts", "show", contract)[1]
    status, out, err = desk.type("events", "list", "--invoice", "INV-0404")
    assert (status, "The books have no invoice INV-0404." in err) == (1, True)
    assert desk.type("events", "list", "--since", "yesterday")[0] == 2


def test_check_says_what_is_wrong_with_the_fix(desk: Desk) -> None:
    """A CRM whose clock is months away is a difference, status 1; with a wrong secret nothing could run, status 3 as for sync."""
    status, out, _ = desk.type("check")
    assert status == 1, out
    assert out.startswith("FAIL clock: ")
    assert "ok   tax: none: no tax on any invoice" in out
    assert "ok   typed-payments: read from Billing_Invoice__c.Payment_Received__c" in out
    text = Path("config.yaml").read_text()
    Path("config.yaml").write_text(text.replace("${SF_CLIENT_SECRET}", "${WRONG:-another-secret}"))
    status, out, _ = desk.type("check")
    assert status == 3
    assert "FAIL login: " in out
    assert "crm.client_secret" in out
    assert desk.type("sync")[0] == 3


def test_bad_config_and_mappings_list_everything_with_places(desk: Desk) -> None:
    """Two mistakes in the config are both listed with line and column; so is a field that does not exist; status 2."""
    good = Path("config.yaml").read_text()
    Path("config.yaml").write_text(good.replace("timezone: UTC", "timezone: Mars/Olympus").replace("proration: day", "proratoin: day"))
    status, _, err = desk.type("sync")
    assert status == 2
    assert "config.yaml:13:11: bad-timezone" in err
    assert "Did you mean `proration`?" in err
    Path("config.yaml").write_text(good)
    mapping = Path("mappings/salesforce-opportunity.yaml")
    mapping.write_text(mapping.read_text().replace("quantity: Quantity", "quantity: Quantitty"))
    status, _, err = desk.type("mapping", "check")
    assert status == 2
    assert 'Did you mean "Quantity"?' in err
    status, found = desk.json("sync")
    assert status == 2
    assert found["problems"][0]["where"]["line"] > 0


def test_a_hidden_field_stops_the_mapping_before_any_write(desk: Desk) -> None:
    """Field access taken away from the integration user is named; nothing is written."""
    desk.world.win("acme_seats")
    desk.world.org.faults.apply({"hide": ["OpportunityLineItem.UnitPrice"]})
    status, _, err = desk.type("sync")
    assert status == 2
    assert "lacks field access" in err
    assert desk.world.record("acme_seats").get("Billing_Status__c") is None


def test_what_cannot_run_now_exits_3_and_says_why(desk: Desk) -> None:
    """Unreachable CRM, a second process on the ledger, another org, a newer schema: each with its way out."""
    desk.world.win("acme_seats")
    assert desk.json("sync")[0] == 0
    config = load_config(Path("config.yaml"), ENV)
    with lock.held(lock_path(config), "run"):
        status, _, err = desk.type("sync")
    assert status == 3
    assert "`connector run`, process" in err
    own = desk.world.crm.url
    with CrmServer(Org(clock=desk.world.clock.now, traits=Traits(org_number=7))) as other:
        desk.point_to(other.url)
        status, _, err = desk.type("sync")
        Path("config.yaml").write_text(Path("config.yaml").read_text().replace(other.url, own))
    assert status == 3
    assert "This ledger belongs to org" in err
    desk.point_to("http://127.0.0.1:9")
    status, _, err = desk.type("sync")
    Path("config.yaml").write_text(Path("config.yaml").read_text().replace("http://127.0.0.1:9", own))
    assert status == 3
    assert "could not be reached" in err
    with Database(config.database).transaction() as unit:
        unit.execute("UPDATE alembic_version SET version_num = '9999'")
    status, _, err = desk.type("sync")
    assert status == 3
    assert "newer version" in err


def test_billing_goes_on_without_the_crm(desk: Desk) -> None:
    """Read within the day, the books are billed while the CRM is away; the CRM is told when it is back; status 1 says so."""
    desk.world.win("acme_seats")
    desk.json("sync")
    own = desk.world.crm.url
    desk.point_to("http://127.0.0.1:9")
    status, result = desk.json("bill", "--as-of", "2027-01-01")
    assert (status, result["contracts"], result["drafts"]) == (1, 1, 0), result
    assert result["problems"][0]["code"] == "crm-unreachable"
    Path("config.yaml").write_text(Path("config.yaml").read_text().replace("http://127.0.0.1:9", own))
    assert desk.json("sync")[0] == 0
    assert len(desk.world.invoices()) == 1 + result["invoices"]


def test_usage_and_scenarios(desk: Desk) -> None:
    """Unknown options exit 2; an impossible scenario exits 2 naming the key; a possible one prints its invoices."""
    assert desk.type("sync", "--nope")[0] == 2
    assert desk.type("bill", "--as-of", "soon")[0] == 2
    scenario = Path("scenario.yaml")
    scenario.write_text((ROOT / "README.md").name)
    assert desk.type("simulate", str(scenario))[0] == 2
    scenario.write_text(
        "currency: eur\ntimezone: UTC\nsettings: {proration: day, tax_rounding: line}\n"
        "prices: {seat: {unit_amount: 2900, recurring: {interval: month}}}\n"
        "contract: {start: 2026-01-01, phases: [{items: [{price: seat, quantity: '10'}]}]}\nuntil: 2026-02-01\n"
    )
    status, result = desk.json("simulate", str(scenario))
    assert status == 0
    assert [i["total"] for i in result["invoices"]] == [29000, 29000]


def test_the_share_of_the_orgs_calls_is_kept(desk: Desk) -> None:
    """Beyond crm.daily_api_budget nothing is polled: status 3, in words; a larger share goes on."""
    desk.world.win("acme_seats")
    desk.world.org.daily_limit = 10
    file = Path("config.yaml")
    file.write_text(file.read_text().replace("daily_api_budget: 0.5", "daily_api_budget: 0.01"))
    status, _, err = desk.type("sync")
    assert status == 3
    assert "daily_api_budget" in err
    assert desk.world.record("acme_seats").get("Billing_Status__c") is None
    desk.world.org.daily_limit = 15_000
    assert desk.type("sync")[0] == 0


def test_a_deal_is_left_out_and_taken_up_again(desk: Desk) -> None:
    """Skipped it stays unbilled whatever changes on it; retried it is billed; what is billed cannot be skipped."""
    desk.world.win("fjord_seats", "acme_seats")
    desk.json("sync")
    fjord = desk.world.ids["fjord_seats"]
    assert desk.type("deals", "skip", fjord, "--reason", "a pilot for friends")[0] == 0
    desk.world.edit("fjord", "Account", Billing_Email__c="post@fjord.example")
    assert desk.json("sync")[1]["applied"] == 0
    assert desk.world.record("fjord_seats")["Billing_Message__c"].startswith("Left out of billing by decision: a pilot for friends.")
    assert desk.type("deals", "retry", fjord)[0] == 0
    assert desk.json("sync")[1]["applied"] == 1
    assert desk.type("deals", "skip", fjord, "--reason", "too late")[0] == 1
