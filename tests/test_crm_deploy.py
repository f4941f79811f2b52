"""`connector crm deploy` against the demo CRM's Metadata API: from an org without our fields to the first billed deal, and every refusal."""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from simple_salesforce.api import Salesforce
from world import World, world

from connector import cli
from connector.asking.crm_package import Wanted, _chosen
from connector.crm.deploy import Administrator, Deployment, Failure, MetadataApi
from connector.crm.package.archive import archived
from connector.crm.package.project import project_files, sources
from connector.crm.session import CrmSession, RetryPolicy
from connector.errors import ConfigError, HaltError, RetryableError
from connector.lookalike.crm.catalogue import schema
from connector.lookalike.crm.org import Org, Traits
from connector.lookalike.crm.seed import seed
from connector.lookalike.crm.server import CrmServer

ENV = {"SF_CLIENT_ID": "demo-client", "SF_CLIENT_SECRET": "demo-secret"}
STATUS_FIELD = "force-app/main/default/objects/Opportunity/fields/Billing_Status__c.field-meta.xml"


def bare(**traits: Any) -> Callable[[Callable[[], datetime]], Org]:
    """Return a maker of orgs that have standard fields only."""
    return lambda clock: Org(clock=clock, traits=Traits(is_bare=True, **traits))


class Desk:
    """A folder with config.yaml, in which an administrator types commands; the token is in the environment."""

    def __init__(self, made: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.world, self._capsys = made, capsys
        self.token = made.crm.front.gate.admin_token

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


@contextmanager
def sitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **traits: Any) -> Iterator[Desk]:
    """Give a desk after `connector init`, before a bare org."""
    monkeypatch.chdir(tmp_path)
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "crm").mkdir()
    with world(tmp_path / "crm", org=bare(**traits)) as made:
        desk = Desk(made, capsys)
        monkeypatch.setenv("SF_ADMIN_TOKEN", desk.token)
        assert desk.type("init")[0] == 0
        for file in Path("mappings").glob("*.yaml"):
            file.write_text("\n".join(x for x in file.read_text().splitlines() if "start_from" not in x))
        file = Path("config.yaml")
        file.write_text(file.read_text().replace("https://YOUR-DOMAIN.my.salesforce.com", made.crm.url))
        yield desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Desk]:
    """A desk before a bare org with quotes."""
    with sitting(tmp_path, monkeypatch, capsys) as made:
        yield made


def custom_fields(org: Org) -> dict[tuple[str, str], Any]:
    """Return the fields that were added to an org."""
    return {(kind.name, field.name): field for kind in org.schema.types for field in kind.fields if field.name.endswith("__c")}


# ---------------------------------------------------------------- the way in


def test_from_a_bare_org_to_the_first_billed_deal(desk: Desk) -> None:
    """The doctor names what is missing; a check-only deployment changes nothing; after the real one check passes and a won deal is billed."""
    status, out, err = desk.type("check")
    assert status == 2, out + err
    for name in ("Billing_Frequency__c", "Billing_Email__c", "Billing_Invoice__c"):
        assert name in out + err
    status, out, err = desk.type("crm", "deploy", "--check-only")
    assert status == 0, out + err
    assert "would be accepted by Northwind Instruments" in out
    assert custom_fields(desk.world.org) == {}
    status, out, err = desk.type("crm", "deploy")
    assert status == 0, out + err
    assert "components were deployed to Northwind Instruments" in out
    assert "Billing Connector Integration" in out
    assert "Succeeded" in err
    _, out, _ = desk.type("check")
    assert [line[:10] for line in out.splitlines() if line.startswith("FAIL")] == ["FAIL clock"], "this world's clock stands in January"
    assert "ok   fields:" in out
    world = desk.world
    world.edit("acme", "Account", Billing_Email__c="billing@acme.example", BillingCountry="France")
    world.add("Product2", "audit", Name="Audit", ProductCode="AUDIT", IsActive=True, Charge_Type__c="One-time")
    world.add("PricebookEntry", "audit_entry", Pricebook2Id="@standard", Product2Id="@audit", UnitPrice=100, IsActive=True)
    world.deal("first", {"product": "audit", "UnitPrice": "250.00"}, account="acme", Payment_Terms__c="Net 30")
    world.win("first")
    status, result = desk.json("sync")
    assert (status, result["applied"]) == (1, 1), "the demo company's own quote lacks what nobody could fill in before"
    assert world.ids["first"] not in [p["record"] for p in result["problems"]]
    assert world.said("first")[0] in ("Active", "Completed")
    (row,) = world.invoices()
    assert (str(row["Total__c"]), row["Opportunity__c"]) == ("250.00", world.ids["first"])


def test_what_is_deployed_is_what_the_demo_crm_has(desk: Desk) -> None:
    """Every deployed field is the field of the complete demo CRM, but for words; the object numbers its rows in the same form."""
    assert desk.type("crm", "deploy")[0] == 0
    full = {(kind.name, field.name): field for kind in schema().types for field in kind.fields if field.name.endswith("__c")}
    expected = {place: field for place, field in full.items() if place[0] not in ("Billing_Connector__c", "Order", "OrderItem")}
    found = {place: replace(field, label="") for place, field in custom_fields(desk.world.org).items()}
    assert found == {place: replace(field, label="") for place, field in expected.items()}
    kinds = {kind.name: kind for kind in desk.world.org.schema.types}
    theirs = {kind.name: kind for kind in schema().types}
    assert {f.name: f for f in kinds["Billing_Invoice__c"].fields}["Name"] == {f.name: f for f in theirs["Billing_Invoice__c"].fields}["Name"]


def test_deploying_again_changes_nothing(desk: Desk) -> None:
    """A second deployment is accepted and leaves schema and records as they are."""
    assert desk.type("crm", "deploy")[0] == 0
    before, rows = custom_fields(desk.world.org), list(desk.world.org.rows("Account"))
    assert desk.type("crm", "deploy")[0] == 0
    assert custom_fields(desk.world.org) == before
    assert list(desk.world.org.rows("Account")) == rows


def test_orders_on_request(desk: Desk) -> None:
    """With --cpq the fields of orders come along."""
    assert desk.type("crm", "deploy", "--cpq")[0] == 0
    assert ("Order", "Billing_Status__c") in custom_fields(desk.world.org)
    assert ("OrderItem", "Skip_Billing__c") in custom_fields(desk.world.org)


def test_french_labels_on_request(desk: Desk) -> None:
    """With --french the translations are one component more."""
    assert desk.json("crm", "deploy", "--check-only", "--french")[1]["components"] == desk.json("crm", "deploy", "--check-only")[1]["components"] + 1


def test_a_deployed_org_keeps_its_fields_in_its_file(tmp_path: Path) -> None:
    """What was deployed is still there after a restart, records with their checkboxes included."""
    org = Org(path=tmp_path / "org.db", traits=Traits(is_bare=True))
    seed(org, datetime(2026, 1, 1).date())
    with CrmServer(org) as crm:
        deployed(crm.url, crm.front.gate.admin_token)
    org.close()
    again = Org(path=tmp_path / "org.db")
    assert custom_fields(again) == custom_fields(org)
    account = next(again.rows("Account"))
    assert account["Consolidate_Invoices__c"] is False
    made = again.create("Billing_Invoice__c", {"Billing_Invoice_Id__c": "in_1"})
    assert again.get("Billing_Invoice__c", made)["Name"] == "BI-000001"
    again.close()


def deployed(url: str, token: str, **changed: str) -> Deployment:
    """Deploy the package, some files of it changed, as code does."""
    files = sources(project_files(_chosen(Path("nowhere.yaml"), Wanted())[0])) | changed
    api = MetadataApi(Administrator(url=url, token=token), sleep=lambda _s: None)
    return api.wait(api.start(archived(files, "62.0").zipped(), check_only=False), limit_s=60, on_progress=lambda _d: None)


# ---------------------------------------------------------------- what the org refuses


def test_refused_components_are_named_with_place_and_fix(desk: Desk) -> None:
    """Of a changed project each refused component is a line: which, where, why, what to do; and nothing at all is changed."""
    assert desk.type("crm", "package", "sf")[0] == 0
    field = Path("sf", STATUS_FIELD)
    field.write_text(field.read_text().replace("<type>Text</type>", "<type>Texture</type>"))
    rights = Path("sf/force-app/main/default/permissionsets/Billing_Connector_Integration.permissionset-meta.xml")
    rights.write_text(rights.read_text().replace("Opportunity.PO_Number__c", "Opportunity.Po_Nr__c").replace(">Quote.ExpirationDate<", ">Quote.Name<"))
    contact = Path("sf/force-app/main/default/objects/Quote/fields/Billing_Contact__c.field-meta.xml")
    contact.write_text(contact.read_text().replace("<referenceTo>Contact<", "<referenceTo>Kontakt<"))
    status, out, _ = desk.type("crm", "deploy", "--package", "sf")
    assert status == 1
    lines = out.splitlines()
    texture = next(line for line in lines if "Texture" in line)
    assert texture.startswith("refused CustomField Opportunity.Billing_Status__c (objects/Opportunity.object:")
    assert any("no CustomField named Opportunity.Po_Nr__c found" in line for line in lines)
    assert any("You cannot deploy to a required field: Quote.Name" in line for line in lines)
    assert any("'Kontakt' does not resolve" in line for line in lines)
    assert lines[lines.index(texture) + 1].strip()
    assert "Nothing was changed in Northwind Instruments" in lines[-1]
    assert custom_fields(desk.world.org) == {}
    status, result = desk.json("crm", "deploy", "--package", "sf")
    assert (status, result["ok"]) == (1, False)
    row = next(r for r in result["errors"] if "Texture" in r["problem"])
    assert row["line"] > 1
    assert row["hint"]
    assert len(result["errors"]) >= 5


def test_a_field_of_another_type_is_not_overwritten(desk: Desk) -> None:
    """Where the org has a field of that name and another type, the org refuses, and the hint says what to do."""
    url = desk.world.crm.url
    mine = '<CustomField xmlns="http://soap.sforce.com/2006/04/metadata"><fullName>PO_Number__c</fullName><label>PO</label><type>Date</type></CustomField>'
    ended = deployed(url, desk.token, **{"objects/Opportunity/fields/PO_Number__c.field-meta.xml": mine})
    assert ended.is_success
    status, out, _ = desk.type("crm", "deploy")
    assert status == 1
    assert "Cannot update a field to a string from something else" in out
    assert "rename yours" in out
    assert custom_fields(desk.world.org)["Opportunity", "PO_Number__c"].type == "date"


def test_quotes_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In an org without quotes the command says how to go on before it sends anything; --no-quotes deploys the rest."""
    with sitting(tmp_path, monkeypatch, capsys, has_quotes=False) as desk:
        status, _, err = desk.type("crm", "deploy")
        assert status == 2
        assert "This org shows no Quote and QuoteLineItem" in err
        assert "--no-quotes" in err
        assert desk.type("crm", "deploy", "--no-quotes")[0] == 0
        assert ("Opportunity", "Billing_Status__c") in custom_fields(desk.world.org)


def test_wrong_tokens(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token, one that is none, one that is not accepted, one of a user without the rights, one of another org."""
    gate, org = desk.world.crm.front.gate, desk.world.org
    prefix = f"{org.org_id[:15]}!"
    for token, status, code in (("", 2, "bad-argument"), ("abc", 2, "crm-token"), (f"{prefix}AQnosession", 3, "crm-token-refused")):
        monkeypatch.setenv("SF_ADMIN_TOKEN", token)
        found, result = desk.json("crm", "deploy")
        assert (found, result["problems"][0]["code"]) == (status, code)
    monkeypatch.setenv("SF_ADMIN_TOKEN", gate._open(org.integration_user))
    found, result = desk.json("crm", "deploy")
    assert (found, result["problems"][0]["code"]) == (3, "crm-no-rights")
    api = MetadataApi(Administrator(url=desk.world.crm.url, token=f"{prefix}AQnosession"))
    with pytest.raises(HaltError, match="does not accept the administrator's token"):
        api.start(_zip(), check_only=True)
    monkeypatch.setenv("OTHER_NAME", desk.token)
    assert desk.json("crm", "deploy", "--check-only", "--token-env", "OTHER_NAME")[0] == 0
    config = Path("config.yaml")
    config.write_text(config.read_text().replace("org_id: null", "org_id: 00D5g0000000009EAA"))
    found, result = desk.json("crm", "deploy", "--token-env", "OTHER_NAME")
    assert (found, result["problems"][0]["code"]) == (2, "other-org")
    assert custom_fields(org) == {}


def test_addresses() -> None:
    """Only a My Domain address over https, or this machine, is deployed to; the refusal does not show the token."""
    token = "00D5g0000000001!AQsecrettoken"
    for url in ("https://login.salesforce.com", "http://x.my.salesforce.com", "https://x.lightning.force.com", "https://evil.example", ""):
        with pytest.raises(ConfigError, match="My Domain") as refused:
            Administrator(url=url, token=token)
        assert token not in str(refused.value)
    assert token not in repr(Administrator(url="https://x.my.salesforce.com", token=token))


def test_the_wait_is_bounded_and_survives_trouble(desk: Desk) -> None:
    """Trouble while asking is asked over; an org that never gets done ends the wait with the deployment's id; steps grow to a bound."""
    slept: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    policy = RetryPolicy(first_wait_s=0.0, longest_wait_s=0.0)
    api = MetadataApi(Administrator(url=desk.world.crm.url, token=desk.token), policy=policy, sleep=sleep, monotonic=lambda: now[0])
    files = _zip()
    started = api.start(files, check_only=True)
    faults = desk.world.org.faults
    faults.apply({"fail": [{"kind": "metadata", "status": 503, "times": 2}]})
    seen: list[str] = []
    assert api.wait(started, limit_s=60, on_progress=lambda d: seen.append(d.state)).is_success
    assert seen == ["Pending", "InProgress", "Succeeded"]
    assert max(slept) <= 5
    faults.apply({"fail": [{"kind": "metadata", "status": 503, "times": 50}]})
    with pytest.raises(RetryableError):
        api.wait(started, limit_s=60, on_progress=lambda _d: None)
    faults.fail.clear()
    slow = api.start(files, check_only=True)
    with pytest.raises(HaltError, match=r"was not done after 0\.1 s") as ended:
        api.wait(slow, limit_s=0.1, on_progress=lambda _d: None)
    assert slow in ended.value.hint


def _zip() -> bytes:
    return archived(sources(project_files(_chosen(Path("nowhere.yaml"), Wanted())[0])), "62.0").zipped()


@pytest.mark.parametrize(
    ("problem", "word"),
    [
        ("Entity of type 'CustomObject' named 'Quote' cannot be found", "--no-quotes"),
        ("In field: field - no CustomField named Opportunity.X__c found", "not in this org"),
        ("You cannot deploy to a required field: Account.Name", "fieldPermissions"),
        ("Cannot update a field to a Text from something else", "rename yours"),
        ("Not available for deploy for this organization: Translations", "Translation Workbench"),
        ("History tracking is not available", "--history"),
        ("Something nobody has seen", "crm package"),
    ],
)  # fmt: skip
def test_every_problem_has_a_way_out(problem: str, word: str) -> None:
    """What the org says is said on, with what to do about it."""
    failure = Failure(kind="CustomField", name="X", file="objects/X.object", line=3, column=5, problem=problem, is_warning=False)
    assert word in failure.as_problem().hint


def test_rights_that_cannot_be_worked_out_are_said(desk: Desk) -> None:
    """A mapping that reads over a lookup of the customer's own: package and deployment both name the right that is not given."""
    file = Path("mappings/salesforce-opportunity.yaml")
    file.write_text(file.read_text().replace("memo: Invoice_Memo__c", "memo: Region__r.Note__c"))
    for words in (("package", "sf"), ("deploy", "--check-only")):
        status, out, _ = desk.type("crm", *words)
        assert status == 0
        assert "not granted: Opportunity.Region__r.Note__c: a mapping reads it over a lookup" in out


# ---------------------------------------------------------------- the token


def test_the_token_is_in_no_log_and_stored_nowhere(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With everything logged, well or refused, as text or JSON: the token is not on stdout, stderr, in a log record or in a file."""
    config = Path("config.yaml")
    config.write_text(config.read_text().replace("level: info", "level: debug"))
    caplog.set_level(logging.DEBUG)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)
    refused = f"{desk.world.org.org_id[:15]}!AQrefusedbutsecret"
    try:
        for token in (desk.token, refused):
            monkeypatch.setenv("SF_ADMIN_TOKEN", token)
            for words in (("--check-only",), (), ("--json",), ("-v",), ("--package", "nowhere")):
                _, out, err = desk.type("crm", "deploy", *words)
                secret = token.partition("!")[2]
                assert secret not in out + err
                assert secret not in said.getvalue() + caplog.text
    finally:
        logging.getLogger().removeHandler(handler)
    secrets = [one.partition("!")[2].encode() for one in (desk.token, refused)]
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not [path for path in before if any(secret in path.read_bytes() for secret in secrets)]


# ---------------------------------------------------------------- any client


def test_another_client_can_deploy(desk: Desk, tmp_path: Path) -> None:
    """simple-salesforce's own deployment, which shares nothing with ours, works against the demo CRM, well and refused."""
    file = tmp_path / "package.zip"
    file.write_bytes(_zip())
    session = CrmSession(desk.world.crm.url, timeouts_s=(5, 60), policy=RetryPolicy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client = Salesforce(session_id=desk.token, instance="loopback.my.salesforce.com", session=session, version="62.0")
        asked = client.deploy(str(file), sandbox=True, checkOnly="true")
    states = []
    for _ in range(5):
        told = client.checkDeployStatus(asked["asyncId"])
        states.append(told["state"])
    assert states == ["Pending", "InProgress", "Succeeded", "Succeeded", "Succeeded"]
    assert told["deployment_detail"]["failed_count"] == "0"
    assert custom_fields(desk.world.org) == {}
    shutil.copyfile(file, tmp_path / "broken.zip")
    with zipfile.ZipFile(tmp_path / "broken.zip", "a") as zipped:
        zipped.writestr("flows/Mine.flow", "<Flow/>")
    asked = client.deploy(str(tmp_path / "broken.zip"), sandbox=True, checkOnly="true")
    for _ in range(3):
        told = client.checkDeployStatus(asked["asyncId"])
    assert told["state"] == "Failed"
    assert told["deployment_detail"]["errors"][0]["file"] == "flows/Mine.flow"


def test_the_reps_pages_stand_in_a_bare_org(desk: Desk) -> None:
    """Every page of the demo CRM that can be reached shows what there is, before our fields exist and after."""
    for verb, invoices in (((), 404), (("crm", "deploy"), 200)):
        if verb:
            assert desk.type(*verb)[0] == 0
        assert requests.get(f"{desk.world.crm.url}/invoices", timeout=10).status_code == invoices
        seen: set[str] = set()
        todo = ["/"]
        while todo and len(seen) < 60:
            page = todo.pop()
            if page not in seen:
                seen.add(page)
                reply = requests.get(desk.world.crm.url + page, timeout=10)
                assert reply.status_code == 200, page
                todo += re.findall(r'href="(/[^"]+)"', reply.text)
        assert len(seen) > 30
