"""The Salesforce package: valid by Salesforce's own description, equal to what the demo CRM has, exact in its rights, kind to files."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from metadata_wsdl import MET, description, faults
from world import mapping_files

from connector import app
from connector.asking.crm_package import Wanted, _chosen, package
from connector.crm.package.archive import archived
from connector.crm.package.catalogue import catalogue
from connector.crm.package.labels import FRENCH, LABELS
from connector.crm.package.project import project_files, sources
from connector.crm.package.rights import Writes, as_described, integration_rights
from connector.errors import ConfigError
from connector.lookalike.crm.catalogue import schema
from connector.mapping.uses import uses

NOWHERE = Path("no-config-here.yaml")
CARD = "force-app/main/default/lwc/billingCard"
WAYS = [Wanted(), Wanted(has_history=True), Wanted(has_quotes=False), Wanted(has_cpq=True)]
DESCRIBED = {
    "Text": "string", "TextArea": "textarea", "LongTextArea": "textarea", "Email": "email", "Url": "url", "Picklist": "picklist",
    "Number": "double", "Currency": "currency", "Percent": "percent", "Date": "date", "DateTime": "datetime", "Checkbox": "boolean",
    "Lookup": "reference",
}  # fmt: skip
IN_ZIP = ("objects", "permissionsets", "layouts", "labels", "quickActions", "tabs", "translations")
LENGTHS = {"TextArea": 255, "Email": 80, "Url": 255}


def project(wanted: Wanted = WAYS[0]) -> dict[str, str]:
    """Return the project's files for the shipped mappings."""
    return project_files(_chosen(NOWHERE, wanted)[0])


def permissions(files: dict[str, str], name: str) -> tuple[dict[str, str], dict[str, dict[str, bool]]]:
    """Return a permission set: field -> read or edit, object -> its rights."""
    root = ET.fromstring(files[f"force-app/main/default/permissionsets/{name}.permissionset-meta.xml"])
    fields = {
        node.findtext(f"{MET}field") or "": "edit" if node.findtext(f"{MET}editable") == "true" else "read"
        for node in root.iter(f"{MET}fieldPermissions")
    }
    objects = {
        node.findtext(f"{MET}object") or "": {child.tag.removeprefix(MET): child.text == "true" for child in node if child.text in ("true", "false")}
        for node in root.iter(f"{MET}objectPermissions")
    }
    return fields, objects


# ---------------------------------------------------------------- valid


def test_the_validator_knows_salesforces_types() -> None:
    """Its vocabulary is the real one, and it finds what is wrong: unknown, misplaced, missing, repeated, not of its type."""
    types, words = description()
    assert len(types) > 1300
    assert len(words) > 600
    head = '<CustomField xmlns="http://soap.sforce.com/2006/04/metadata">'
    assert faults(f"{head}<fullName>A__c</fullName><type>Text</type></CustomField>") == []
    assert faults(f"{head}<colour>red</colour></CustomField>") == ["CustomField: CustomField has no colour"]
    assert faults(f"{head}<type>Text</type><fullName>A__c</fullName></CustomField>") == ["CustomField: fullName stands too late"]
    assert faults(f"{head}<type>Words</type></CustomField>") == ["CustomField/type: 'Words' is no FieldType"]
    assert faults(f"{head}<length>many</length></CustomField>") == ["CustomField/length: 'many' is no xsd:int"]
    assert faults(f"{head}<label>a</label><label>b</label></CustomField>") == ["CustomField: label stands 2 times"]
    assert faults('<ListView xmlns="http://soap.sforce.com/2006/04/metadata"><label>a</label></ListView>') == ["ListView: filterScope is missing"]


@pytest.mark.parametrize("wanted", WAYS, ids=["all", "history", "no-quotes", "cpq"])
def test_every_metadata_file_is_valid(wanted: Wanted) -> None:
    """Every file of the project, and every file of the zip that is sent, follows the Metadata API's own description."""
    files = project(wanted)
    sent = archived(sources(files, has_french=True), "62.0").files
    checked = [(name, text) for name, text in (files | sent).items() if name.endswith("xml") or name.split("/")[0] in IN_ZIP]
    assert len(checked) > 100
    assert [f"{name}: {fault}" for name, text in checked for fault in faults(text)] == []


def test_the_cards_targets_are_in_their_form() -> None:
    """What the description leaves open in the card's file: its targets, the objects it stands on, the API version of the project."""
    root = ET.fromstring(project()[f"{CARD}/billingCard.js-meta.xml"])
    assert [node.text for node in root.iter(f"{MET}object")] == ["Account", "Opportunity", "Quote"]
    assert root.findtext(f"{MET}apiVersion") == "62.0"
    without = ET.fromstring(project(WAYS[2])[f"{CARD}/billingCard.js-meta.xml"])
    assert [node.text for node in without.iter(f"{MET}object")] == ["Account", "Opportunity"]


# ---------------------------------------------------------------- one list of fields


def test_the_package_and_the_demo_crm_agree() -> None:
    """Every field of ours in the demo CRM is in the package and the other way round: type, length, digits, values, external id, lookups."""
    org, ours = schema(has_cpq=True), catalogue(has_cpq=True)
    theirs = {
        (kind.name, field.name): field
        for kind in org.types
        for field in kind.fields
        if field.name.endswith("__c") and kind.name != "Billing_Connector__c" and "SBQQ" not in field.name + kind.name
    }
    mine = {(name, spec.name): spec for name, specs in ours.fields.items() for spec in specs}
    assert set(mine) == set(theirs)
    for place, spec in mine.items():
        field = theirs[place]
        lookup = (field.target, field.relationship, field.children) if field.target else ("", "", "")
        assert (field.type, field.length if not field.target and not field.picklist else 0, field.precision, field.scale, field.picklist) == (
            DESCRIBED[spec.type], spec.length or LENGTHS.get(spec.type, 0), spec.digits, spec.scale, spec.values,
        ), place  # fmt: skip
        assert (field.external_id, field.unique) == (spec.is_unique, spec.is_unique), place
        assert lookup == ((spec.to, f"{spec.name[:-1]}r", f"{spec.children}__r") if spec.to else ("", "", "")), place
    assert set(ours.objects) <= {kind.name for kind in org.types}


def test_every_field_of_the_shipped_mappings_is_in_the_package() -> None:
    """A custom field that a shipped mapping reads or writes exists where the package was deployed."""
    named = {
        name
        for file in mapping_files()
        for line in file.read_text(encoding="utf-8").splitlines()
        for name in re.findall(r"\b(\w+__c)\b", line.partition(" #")[0])
    }
    ours = {spec.name for specs in catalogue().fields.values() for spec in specs} | set(catalogue().objects)
    assert named - ours == set()


def test_every_field_explains_itself() -> None:
    """A rep finds a help text beside every field, in whole sentences and without our own jargon."""
    for specs in catalogue().fields.values():
        for spec in specs:
            assert spec.help[0].isupper(), spec
            assert spec.help[-1] in ".)", spec
            assert not re.search(r"mapping|ledger|parked|sync\b|JSON|upsert", spec.help), spec


# ---------------------------------------------------------------- rights


def test_the_integration_user_may_do_what_the_mappings_use_and_nothing_else() -> None:
    """Fields are readable that a mapping reads, editable that one writes; rows of invoices may be created, nothing may be deleted."""
    fields, objects = permissions(project(), "Billing_Connector_Integration")
    written = {"Opportunity": 16, "Quote": 24, "Account": 2, "Billing_Invoice__c": 19}  # 15 mapped, 4 of typed payments
    assert {name: sum(1 for f, can in fields.items() if can == "edit" and f.startswith(f"{name}.")) for name in written} == written
    assert sum(can == "edit" for can in fields.values()) == sum(written.values())
    assert fields["Opportunity.Billing_Status__c"] == "edit"
    assert fields["Opportunity.Billing_Contact__c"] == "read"
    assert fields["Account.BillingAddress"] == "read"
    assert fields["Contact.Email"] == "read"
    assert fields["Opportunity.Amount"] == "read"
    assert not {"Opportunity.Name", "Opportunity.StageName", "Opportunity.Billing_Preview__c", "OpportunityLineItem.UnitPrice"} & set(fields)
    assert not any(rights["allowDelete"] or rights["modifyAllRecords"] for rights in objects.values())
    assert [name for name, rights in objects.items() if rights["allowCreate"]] == ["Billing_Invoice__c"]
    assert [name for name, rights in objects.items() if rights["allowEdit"]] == ["Account", "Billing_Invoice__c", "Opportunity", "Quote"]
    assert [name for name, rights in objects.items() if rights["viewAllRecords"]] == ["Account", "Contact", "Opportunity", "Quote"]
    assert objects["Product2"]["allowRead"]


def test_rights_follow_the_mapping() -> None:
    """A field more in a mapping is a right more, one less a right less; expressions, conditions and lookups count."""
    text = mapping_files()[0].read_text(encoding="utf-8")
    changed = text.replace("  po_number: PO_Number__c\n", "  po_number: {expr: \"Account.Custom_Po__c or Account.Parent.Site_Code__c\"}\n")
    changed = changed.replace("when: IsWon = true", "when: IsWon = true AND Ready__c = true").replace("    URL__c: url\n", "").replace("      URL__c: url\n", "")
    before, after = ({*_rights(t).reads, *_rights(t).edits} for t in (text, changed))
    assert after - before == {("Account", "Custom_Po__c"), ("Account", "ParentId"), ("Account", "Site_Code__c"), ("Opportunity", "Ready__c")}
    assert before - after == {("Opportunity", "PO_Number__c"), ("Billing_Invoice__c", "URL__c")}


def test_a_path_that_leads_nowhere_known_is_named() -> None:
    """A mapping over a lookup of the customer's own cannot be granted, and that is said instead of guessed."""
    text = mapping_files()[0].read_text(encoding="utf-8").replace("memo: Invoice_Memo__c", "memo: Region__r.Note__c")
    assert _rights(text).unknown == {("Opportunity", "Region__r.Note__c")}


def _rights(text: str) -> Any:
    mapping, problems = app.checked(app.load_mapping("m.yaml", text), None, None)
    assert mapping is not None, problems
    used = uses(mapping)
    return integration_rights(catalogue(), used.reads, [Writes(object=b.object, fields=tuple(b.fields), key=b.key) for b in used.writes])


def test_reps_read_outputs_and_edit_inputs() -> None:
    """Every field of ours is in the reps' permission set: what the connector fills to read, what people fill to edit."""
    fields, objects = permissions(project(), "Billing_Connector_Rep")
    assert fields == {
        f"{name}.{spec.name}": "edit" if spec.role == "input" and name != "Billing_Invoice__c" else "read"
        for name, specs in catalogue().fields.items()
        for spec in specs
    }
    assert list(objects) == ["Billing_Invoice__c"]
    assert [right for right, is_given in objects["Billing_Invoice__c"].items() if is_given] == ["allowRead"]


def test_finance_people_edit_what_they_type() -> None:
    """The third permission set edits the three payment fields of invoice rows and reads the rest of them; no other object is in it."""
    fields, objects = permissions(project(), "Billing_Connector_Finance")
    assert {name for name, right in fields.items() if right == "edit"} == {
        f"Billing_Invoice__c.{name}" for name in ("Payment_Received__c", "Payment_Received_On__c", "Payment_Reference__c")
    }
    assert {name.split(".")[0] for name in fields} == set(objects) == {"Billing_Invoice__c"}
    assert [right for right, is_given in objects["Billing_Invoice__c"].items() if is_given] == ["allowEdit", "allowRead"]
    rights, _ = permissions(project(), "Billing_Connector_Integration")
    assert rights["Billing_Invoice__c.Payment_Message__c"] == rights["Billing_Invoice__c.Payment_Received__c"] == "edit"


def test_no_permission_set_names_a_licence() -> None:
    """Each can be given to any user, whatever licence that user has."""
    files = project()
    assert not [name for name, text in files.items() if "permissionsets" in name and "<license>" in text]


# ---------------------------------------------------------------- the project


def test_history_only_when_asked() -> None:
    """Field history of Billing Status is switched on with --history, on both objects, and nowhere else."""
    assert not [name for name, text in project().items() if "History" in text and name.endswith(".xml")]
    tracked = [name for name, text in project(WAYS[1]).items() if "<trackHistory>true" in text]
    assert tracked == [f"force-app/main/default/objects/{name}/fields/Billing_Status__c.field-meta.xml" for name in ("Opportunity", "Quote")]
    assert "<enableHistory>true" in project(WAYS[1])["force-app/main/default/objects/Quote/Quote.object-meta.xml"]


def test_without_quotes_nothing_speaks_of_them() -> None:
    """An org without quotes gets no component that needs one."""
    files = project(WAYS[2])
    assert not [name for name in files if "Quote" in name]
    metadata = {name: text for name, text in files.items() if name.endswith(".xml") and "labels" not in name and "translations" not in name}
    assert not [name for name, text in metadata.items() if re.search(r">(?:Quote|QuoteLineItem|Opportunity.SyncedQuoteId)\b", text)]


def test_manifest_and_zip_name_the_same_components() -> None:
    """package.xml of the project is the one that is sent, and each of its members is in the zip."""
    files = project()
    archive = archived(sources(files), "62.0")
    assert files["manifest/package.xml"] == archive.files["package.xml"]
    with zipfile.ZipFile(io.BytesIO(archive.zipped())) as zipped:
        names = set(zipped.namelist())
    assert {"package.xml", "objects/Opportunity.object", "lwc/billingCard/billingCard.js", "labels/CustomLabels.labels"} <= names
    assert not [name for name in names if "__tests__" in name]
    assert archive.count == sum(map(len, archive.components.values()))
    assert len(archive.components["CustomField"]) == sum(len(specs) for specs in catalogue().fields.values())
    assert archive.zipped() == archived(sources(project()), "62.0").zipped()


def test_what_cannot_be_sent_is_named() -> None:
    """Components of other kinds and broken files are named, all at once, with their place."""
    files = sources(project()) | {
        "flows/Mine.flow-meta.xml": "<Flow/>", "objects/Account/fields/X__c.field-meta.xml": "<CustomField>",
        "objects/Account/fields/Y__c.field-meta.xml": "<CustomField/>",
        "objects/Account/webLinks/W.webLink-meta.xml": '<WebLink xmlns="http://soap.sforce.com/2006/04/metadata"/>',
    }  # fmt: skip
    with pytest.raises(ConfigError) as refused:
        archived(files, "62.0")
    assert [(p.code, p.where.file) for p in refused.value.problems] == [
        ("unknown-component", "flows/Mine.flow-meta.xml"), ("bad-xml", "objects/Account/fields/X__c.field-meta.xml"),
        ("bad-xml", "objects/Account/fields/Y__c.field-meta.xml"), ("unknown-component", "objects/Account/webLinks/W.webLink-meta.xml"),
    ]  # fmt: skip


def test_labels_exist_in_both_languages_and_all_are_used() -> None:
    """Each label of the card has its French; the card imports exactly those; each keeps its places for values."""
    imported = set(re.findall(r"@salesforce/label/c\.(\w+)", project()[f"{CARD}/billingCard.js"]))
    assert set(LABELS) == set(FRENCH) == imported
    assert all(("{0}" in LABELS[name]) == ("{0}" in FRENCH[name]) for name in LABELS)


def test_the_card_names_only_fields_that_exist() -> None:
    """Every custom field in the card's code is one that the package brings."""
    ours = {spec.name for specs in catalogue().fields.values() for spec in specs} | set(catalogue().objects)
    assert set(re.findall(r"\b\w+__c\b", project()[f"{CARD}/billingCard.js"])) - ours == set()


def test_files_of_a_person_are_left_alone(tmp_path: Path) -> None:
    """A second run changes nothing; an edited file stays and is named; an unedited one of an earlier choice is renewed."""
    first = package(NOWHERE, tmp_path / "sf", Wanted())
    assert (len(first["written"]), first["same"], first["kept"]) == (len(project()), 0, [])
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "sf").rglob("*") if path.is_file()}
    again = package(NOWHERE, tmp_path / "sf", Wanted())
    assert (again["written"], again["renewed"], again["same"], again["kept"]) == ([], [], len(project()), [])
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    status = "force-app/main/default/objects/Opportunity/fields/Billing_Status__c.field-meta.xml"
    mine = tmp_path / "sf" / "force-app/main/default/objects/Opportunity/fields/PO_Number__c.field-meta.xml"
    mine.write_text("<mine/>")
    changed = package(NOWHERE, tmp_path / "sf", Wanted(has_history=True))
    assert status in changed["renewed"]
    assert changed["kept"] == ["force-app/main/default/objects/Opportunity/fields/PO_Number__c.field-meta.xml"]
    assert mine.read_text() == "<mine/>"
    fewer = package(NOWHERE, tmp_path / "sf", Wanted(has_quotes=False))
    assert "force-app/main/default/objects/Quote/fields/Quote_URL__c.field-meta.xml" in fewer["left_over"]


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """The command wants a folder."""
    (tmp_path / "sf").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        package(NOWHERE, tmp_path / "sf", Wanted())


def test_the_project_is_one_that_salesforces_tools_read() -> None:
    """sfdx-project.json names the folders, package.json carries the card's test, the source API version is ours."""
    files = project()
    told = json.loads(files["sfdx-project.json"])
    assert [one["path"] for one in told["packageDirectories"]] == ["force-app", "french"]
    assert told["sourceApiVersion"] == "62.0"
    assert json.loads(files["package.json"])["scripts"]["test"] == "sfdx-lwc-jest"
    assert "**/__tests__/**" in files[".forceignore"]


def test_the_cards_own_tests(tmp_path: Path) -> None:
    """The card's jest test passes; run where its tools are installed already (`npm install` in the folder that CARD_TOOLS names)."""
    tools = os.environ.get("CARD_TOOLS")
    if not tools or not shutil.which("npx"):
        pytest.skip("set CARD_TOOLS to a folder with node_modules of the project's package.json to run the card's jest test")
    package(NOWHERE, tmp_path, Wanted())
    (tmp_path / "node_modules").symlink_to(Path(tools) / "node_modules")
    done = subprocess.run(["npx", "--no-install", "sfdx-lwc-jest"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_orders_of_cpq_have_their_rights() -> None:
    """With --cpq the mapping of orders counts: its lookups through CPQ's quotes, and the right to write on activated orders."""
    files = project(WAYS[3])
    fields, objects = permissions(files, "Billing_Connector_Integration")
    assert fields["Order.Billing_Status__c"] == "edit"
    assert fields["SBQQ__Quote__c.SBQQ__MasterContract__c"] == fields["Contract.SBQQ__Order__c"] == fields["Order.PoNumber"] == "read"
    assert objects["Order"]["allowEdit"]
    assert objects["SBQQ__Quote__c"]["viewAllRecords"]
    sets = {name: text for name, text in files.items() if "permissionsets" in name}
    assert [name for name, text in sets.items() if "EditActivatedOrders" in text] == [name for name in sets if "Integration" in name]
    assert not [name for name, text in project().items() if "EditActivatedOrders" in text]


def test_rights_as_an_org_describes_them() -> None:
    """A standard field that takes no rights in an org has no line there, one that does has, whatever our own list says."""
    rights = _rights(mapping_files()[0].read_text(encoding="utf-8"))
    assert ("OpportunityLineItem", "UnitPrice") in rights.common
    made = as_described(rights, refused={"Opportunity": ["SyncedQuoteId"]}, granted={"OpportunityLineItem": ["UnitPrice"]})
    assert made.reads - rights.reads == {("OpportunityLineItem", "UnitPrice")}
    assert rights.reads - made.reads == {("Opportunity", "SyncedQuoteId")}
