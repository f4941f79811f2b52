"""The demo's story, recomputed by hand: the CRM records, the books and the console show the same figures."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from connector import demo

D = Decimal


def test_the_story_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    """Each deal's billed amount follows from its price; together they are what books and console say."""
    assert demo.run(once=True, port=8080, crm_port=0, is_json=True) == 0
    result = json.loads(capsys.readouterr().out)
    billed = {r["Name"]: D(str(r.get("Amount_Billed__c") or 0)) for r in result["opportunities"]}
    march = D("238.55") - D("159.03")  # 15 seats and 10 seats for 17 of 31 days
    assert billed["Acme team seats"] == 3 * 10 * D(29) + march + 4 * 15 * D(29)
    assert billed["Borealis 3-year ramp"] == 50 * D(480)
    assert billed["Cobalt site licence"] == D(12_000) + D(2_500)
    assert billed["Delta platform"] == 2 * D(3_600) * D("0.95") + 2 * D(900)
    assert billed["Everest premium support"] == 4 * D(450)
    assert billed["Fjord team seats"] == 0
    total = sum(billed.values())
    assert total == D("51629.52") == D(str(result["books"]["total"]))
    assert result["console"]["billed, EUR"] == "€51,629.52"
    said = {r["Name"]: (r["Billing_Status__c"], r["Billing_Message__c"]) for r in result["opportunities"]}
    assert said["Fjord team seats"][0] == "Needs attention"
    assert "no billing e-mail" in said["Fjord team seats"][1]
    assert said["Everest premium support"][0] == "Canceled"


def test_the_story_adds_up_on_stripe(capsys: pytest.CaptureFixture[str]) -> None:
    """Billed on the look-alike, every deal has the same sum; CRM, books, console and the look-alike's own arithmetic agree."""
    assert demo.run(once=True, port=8080, crm_port=0, is_json=True, backend="stripe") == 0
    result = json.loads(capsys.readouterr().out)
    billed = {r["Name"]: D(str(r.get("Amount_Billed__c") or 0)) for r in result["opportunities"]}
    march = D("238.55") - D("159.03")
    assert billed["Acme team seats"] == 3 * 10 * D(29) + march + 4 * 15 * D(29)
    assert billed["Borealis 3-year ramp"] == 50 * D(480)
    assert billed["Cobalt site licence"] == D(12_000) + D(2_500)
    assert billed["Delta platform"] == 2 * D(3_600) * D("0.95") + 2 * D(900)
    assert billed["Everest premium support"] == 4 * D(450)
    assert billed["Fjord team seats"] == 0
    assert D(str(result["books"]["total"])) == D(str(result["stripe"]["total"])) == sum(billed.values()) == D("51629.52")
    assert D(str(result["books"]["count"])) == result["stripe"]["count"]
    assert result["console"]["billed, EUR"] == "€51,629.52"
    assert (result["console"]["test mode"], result["console"]["being sent"], result["console"]["refused there"]) == ("acct_demo", "0", "0")
    said = {r["Name"]: (r["Billing_Status__c"], r["Billing_Message__c"]) for r in result["opportunities"]}
    assert said["Fjord team seats"][0] == "Needs attention"
    assert said["Everest premium support"][0] == "Canceled"
    due = {r["Name"]: D(str(r.get("Amount_Due__c") or 0)) for r in result["opportunities"]}
    assert due["Cobalt site licence"] == due["Borealis 3-year ramp"] == 0
    assert due["Delta platform"] == billed["Delta platform"]
