"""What a compiled mapping offers: fields to select, digests, previews, write-back, and its speed."""

from __future__ import annotations

import itertools
import timeit
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from mapping_world import ACCOUNT, OPTIONS, compiled, day, describe, line, mapping, opportunity, org, product, shipped

from connector.mapping.compile import Compiled, compile_mapping
from connector.mapping.preview import rows

OPPORTUNITY = compiled()
QUOTE = compiled("quote")


def compiled_text(text: str) -> Compiled:
    return compile_mapping(mapping(text), describe(), org(), OPTIONS)


def three_lines() -> list[dict[str, Any]]:
    return [
        line(),
        line(Id="00k000000000002AAA", Product2=product("SETUP", "Setup"), Charge_Type__c="One-time", UnitPrice=Decimal(500), Quantity=1),
        line(Id="00k000000000003AAA", ServiceDate="2026-06-01", Discount=Decimal("10.00")),
    ]


def test_fields_to_select_exist() -> None:
    """Every path that is selected exists in describe; optional ones that the org lacks are left out."""
    assert "CurrencyIsoCode" not in OPPORTUNITY.record_fields
    assert "Account.BillingCountry" in OPPORTUNITY.record_fields
    assert "Account.BillingCountryCode" not in OPPORTUNITY.record_fields
    assert {"Id", "OpportunityId", "Skip_Billing__c", "UnitPrice"} <= set(OPPORTUNITY.line_fields)
    assert not any(path.startswith("$") for path in (*OPPORTUNITY.record_fields, *OPPORTUNITY.line_fields))


def test_related_objects_are_those_that_billing_reads() -> None:
    """A change of account or contact may change a deal; the user who saved it may not."""
    assert OPPORTUNITY.related == {"Account": "Account", "Contact": "Billing_Contact__r"}
    assert QUOTE.related == {"Opportunity": "Opportunity", "Account": "Opportunity.Account", "Contact": "Billing_Contact__r"}


def test_first_load_reads_deals_only() -> None:
    """The condition of the first load is the source's own; a quote that is shown or priced counts too."""
    assert OPPORTUNITY.first_load == "IsWon = true"
    assert QUOTE.first_load.startswith("(Status = 'Accepted') OR (Status = 'Presented') OR (Status IN ('Draft', ")


def test_start_from_is_a_day() -> None:
    """`start_from` reaches whoever decides as a day."""
    assert OPPORTUNITY.start_from is None
    assert compiled_text(shipped().replace("# start_from: 2026-01-01 ", "start_from: 2026-01-01 ")).start_from == day("2026-01-01")


def test_preview_condition_is_off_as_shipped() -> None:
    """Open records are previewed only where the mapping says which."""
    record = {"Id": "006", "IsWon": False, "IsClosed": False, "Probability": Decimal(60)}
    assert not OPPORTUNITY.is_previewed(record)
    switched_on = compiled_text(shipped().replace("# preview: IsClosed", "preview: IsClosed"))
    assert switched_on.is_previewed(record)
    assert "Probability" in switched_on.record_fields


def test_write_back_names_sources() -> None:
    """Write-back is CRM field to source name by object; rows that we create have their key."""
    assert OPPORTUNITY.write_back["Opportunity"]["Billing_Status__c"] == "status"
    assert OPPORTUNITY.write_back["Billing_Invoice__c"]["Total__c"] == "total"
    assert OPPORTUNITY.write_back_keys == {"Billing_Invoice__c": "Billing_Invoice_Id__c"}
    assert set(QUOTE.write_back) == {"Quote", "Account", "Billing_Invoice__c"}


# ---------------------------------------------------------------- digest


def test_digest_ignores_order_spelling_and_what_billing_does_not_read() -> None:
    """Line order, 10 or 10.00, the editor and the stage leave the digest as it is."""
    lines = three_lines()
    first = OPPORTUNITY.digest(opportunity(), lines)
    assert {OPPORTUNITY.digest(opportunity(), list(order)) for order in itertools.permutations(lines)} == {first}
    same = opportunity(LastModifiedBy={"Name": "Other"}, StageName="Won!", Name="Renamed", Contract_Term_Months__c=12)
    assert OPPORTUNITY.digest(same, [{**lines[0], "Quantity": 10}, *lines[1:]]) == first
    assert OPPORTUNITY.digest(opportunity(), [*lines, line(Id="x", Skip_Billing__c=True)]) == first


@pytest.mark.parametrize(
    "fields",
    [
        {"IsWon": False},
        {"CloseDate": "2025-12-21"},
        {"Account": {**ACCOUNT, "BillingCity": "Bonn"}},
        {"PO_Number__c": "7"},
        {"Contract_Term_Months__c": 24},
        {"Discount_Percent__c": 5},
    ],
)
def test_digest_sees_what_billing_reads(fields: dict[str, Any]) -> None:
    """Any field that billing reads, and the condition, changes the digest."""
    assert OPPORTUNITY.digest(opportunity(**fields), three_lines()) != OPPORTUNITY.digest(opportunity(), three_lines())


def test_digest_sees_lines() -> None:
    """A changed, added or removed line changes the digest."""
    lines = three_lines()
    seen = {
        OPPORTUNITY.digest(opportunity(), changed)
        for changed in (lines, lines[:2], [*lines, line(Id="9")], [{**lines[0], "UnitPrice": Decimal("30.01")}, *lines[1:]], ())
    }
    assert len(seen) == 5


def test_digest_stays_the_same_over_processes_and_releases() -> None:
    """The digest of one record is a constant: a stored one may be compared with a new one."""
    assert OPPORTUNITY.digest(opportunity(), three_lines()) == compiled().digest(opportunity(), three_lines())
    renamed = compiled_text(shipped().replace("name: salesforce-opportunity", "name: other"))
    assert renamed.digest(opportunity(), three_lines()) == OPPORTUNITY.digest(opportunity(), three_lines())


# ---------------------------------------------------------------- the language at work


def test_expression_default_and_when_in_values() -> None:
    """Values may calculate, fall back and depend on a condition; `as` reads a text field as a date or number."""
    text = (
        shipped()
        .replace("memo: Invoice_Memo__c", "memo: {expr: \"'Order ' + coalesce(PO_Number__c, '-')\", when: not blank(PO_Number__c)}")
        .replace("billing_day: Billing_Day__c", "billing_day: {field: Billing_Day__c, default: 15}")
        .replace("trial_days: Free_Trial_Days__c", "trial_days: {field: NextStep, as: integer}")
        .replace("{percent_off: Discount, months: Discount_Months__c}", '{percent_off: {value: "2.5"}, when: Quantity >= 10}')
    )
    found = compiled_text(text)
    desired = found.map(opportunity(PO_Number__c="7", NextStep="30"), [line(), line(Id="b", Quantity=9, UnitPrice=20)]).desired
    assert desired is not None
    assert desired.terms is not None
    assert desired.how.memo == "Order 7"
    assert desired.terms.anchor is not None
    assert (desired.terms.anchor.day, desired.terms.trial_end and desired.terms.trial_end.isoformat()) == (15, "2026-01-31T00:00:00")
    assert [[c.id for c in i.discounts] for i in desired.terms.phases[0].items] == [[], ["2.5%"]]
    assert "Billing Day: 15 by default" in desired.notes
    blank = found.map(opportunity(NextStep="soon"), [line()])
    assert [p.message for p in blank.problems] == ['Not billed: Next Step "soon" is no number.']


def test_expression_that_fails_for_a_record_is_its_problem() -> None:
    """An expression that cannot be calculated for a record parks that record with words."""
    text = shipped().replace("memo: Invoice_Memo__c", 'memo: {expr: "text(1 / Contract_Term_Months__c)"}')
    result = compiled_text(text).map(opportunity(Contract_Term_Months__c=0), [line()])
    assert "expression-failed" in [p.code for p in result.problems]


def test_multi_currency_reads_the_records_own_currency() -> None:
    """In an org with several currencies the record's own code is read, never the org's."""
    shown, the_org = describe(multi_currency=True), org(is_multi_currency=True, currency="USD")
    found = compile_mapping(mapping(shipped(), multi_currency=True), shown, the_org, OPTIONS)
    desired = found.map(opportunity(CurrencyIsoCode="GBP"), [line()]).desired
    assert desired is not None
    assert desired.terms is not None
    assert desired.terms.currency == "gbp"
    assert [p.code for p in found.map(opportunity(CurrencyIsoCode=None), [line()]).problems] == ["no-currency"]
    assert [p.code for p in found.map(opportunity(CurrencyIsoCode="XXQ"), [line()]).problems] == ["unknown-currency"]


# ---------------------------------------------------------------- previews


def test_explain_says_source_rule_and_value() -> None:
    """Field by field: where a value came from, by which rule, what it became."""
    found = {v.target: v for v in OPPORTUNITY.explain(opportunity(Billing_Frequency__c="Annual"), three_lines())}
    assert (found["deal.frequency"].source, found["deal.frequency"].value) == ("Billing_Frequency__c", "year")
    assert found["deal.frequency"].rule.startswith("as it is; values Monthly = month")
    assert found["line 1.price.interval"].value == "year"
    assert found["line 3.discounts.percent_off"].value == Decimal("10.00")
    assert "line 4.id" not in found


def test_preview_rows_show_what_is_wrong() -> None:
    """A preview shows what the CRM holds, what it becomes, and the complaint where it does not fit."""
    found = {r.target: r for r in rows(OPPORTUNITY, opportunity(Billing_Frequency__c="Weekly"), three_lines())}
    step = found["deal.frequency"]
    assert (step.found, step.result) == ("Weekly", "")
    assert step.problem.startswith('Not billed: Billing Frequency "Weekly" is not known to the mapping.')
    assert (found["deal.start"].found, found["deal.start"].result) == ("2026-01-01", "2026-01-01")


def test_speed_is_printed() -> None:
    """Mapping an opportunity with three lines takes microseconds (printed, not judged: machines differ)."""
    record, lines = opportunity(), three_lines()
    for name, work in (("map", lambda: OPPORTUNITY.map(record, lines)), ("digest", lambda: OPPORTUNITY.digest(record, lines))):
        best = min(timeit.repeat(work, number=300, repeat=3)) / 300 * 1e6
        print(f"{name}: {best:.1f} microseconds a record with 3 lines")
    assert OPPORTUNITY.map(record, lines).desired is not None


def test_options_travel_into_terms() -> None:
    """Settings that shape money are copied into the contract."""
    other = compiled(options=replace(OPTIONS, timezone="America/New_York", proration="month_and_day", cancellation_day="billed"))
    desired = other.map(opportunity(), [line()]).desired
    assert desired is not None
    assert desired.terms is not None
    assert (desired.terms.timezone, desired.terms.settings.proration, desired.terms.settings.cancellation_day) == (
        "America/New_York", "month_and_day", "billed",
    )  # fmt: skip
