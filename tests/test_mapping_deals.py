"""What records mean: realistic opportunities and quotes as contract terms and changes, or every problem at once."""

from __future__ import annotations

import itertools
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from mapping_world import ACCOUNT, OPTIONS, compiled, line, mapping, opportunity, org, product, shipped
from mapping_world import describe as demo_describe

from connector.core import schedule
from connector.core.terms import Contract, ContractTerms, Interval, Prebill
from connector.errors import ConfigError, Problem
from connector.mapping.compile import Compiled, Options, compile_mapping
from connector.ports import Desired

OPPORTUNITY = compiled()
QUOTE = compiled("quote")
PARENT = "006000000000009AAA"


def wanted(record: dict[str, Any], *lines: dict[str, Any], by: Compiled = OPPORTUNITY) -> Any:
    result = by.map(record, list(lines))
    assert result.desired is not None, "\n".join(f"{p.code}: {p.message} {p.hint}" for p in result.problems)
    assert result.problems == ()
    return result.desired


def terms(record: dict[str, Any], *lines: dict[str, Any], by: Compiled = OPPORTUNITY) -> Any:
    found: ContractTerms | None = wanted(record, *lines, by=by).terms
    assert found is not None
    return found


def change(action: str, *lines: dict[str, Any], **fields: Any) -> Any:
    found: Desired = wanted(amending(action, **fields), *lines)
    assert found.terms is None
    assert found.amends == PARENT
    assert found.change is not None
    return found.change


def problems(record: dict[str, Any], *lines: dict[str, Any], by: Compiled = OPPORTUNITY) -> tuple[Problem, ...]:
    result = by.map(record, list(lines))
    assert result.desired is None
    return result.problems


def said(*args: Any, **more: Any) -> list[str]:
    return [f"{p.message} {p.hint}" for p in problems(*args, **more)]


def amending(action: str, **fields: Any) -> dict[str, Any]:
    blank = {"Contract_Start_Date__c": None, "Contract_Term_Months__c": None}
    return opportunity(**({"Billing_Action__c": action, "Amends_Opportunity__c": PARENT, "CloseDate": "2026-04-16"} | blank | fields))


def items(found: ContractTerms) -> tuple[Any, ...]:
    return found.phases[0].items


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


# ---------------------------------------------------------------- new deals


def test_monthly_seats_for_a_year() -> None:
    """10 seats at 30.00 a month for 12 months are one phase of one item, in minor units, that ends with the term."""
    found = terms(opportunity(), line())
    assert found.currency == "eur"
    assert found.start == at("2026-01-01")
    assert [(p.start, p.end) for p in found.phases] == [(at("2026-01-01"), at("2027-01-01"))]
    (item,) = items(found)
    assert (item.id, item.quantity, item.price.unit_amount, item.price.interval) == ("GOLD", 10, 3000, Interval(unit="month"))
    assert str(item.quantity) == "10"
    assert str(item.price.unit_amount) == "3000"
    assert (item.start, item.end, item.crm_lines) == (None, None, ("00k000000000001AAA",))
    assert found.end_behavior == "cancel"
    assert found.anchor is None
    assert found.settings.proration == "day"
    assert found.timezone == "Europe/Paris"


def test_blank_fields_take_the_defaults_that_the_mapping_states() -> None:
    """Blank start is CloseDate, blank term open-ended, blank action New, blank frequency Monthly; the record's notes say so."""
    record = opportunity(Contract_Start_Date__c=None, Contract_Term_Months__c=None)
    found = wanted(record, line())
    assert found.terms is not None
    assert found.terms.start == at("2025-12-20")
    assert found.terms.phases[0].end is None
    assert found.terms.end_behavior == "release"
    assert found.action == "new"
    assert found.notes == (
        "Billing Action: New by default", "Payment terms: Net 30, from the configuration", "Billing Frequency: Monthly by default",
    )  # fmt: skip
    assert (found.how.collection_method, found.how.days_until_due) == ("send_invoice", 30)


@pytest.mark.parametrize(
    ("word", "interval"),
    [
        ("Monthly", Interval(unit="month")),
        ("Quarterly", Interval(unit="month", count=3)),
        ("Semiannual", Interval(unit="month", count=6)),
        ("Annual", Interval(unit="year")),
        ("Upfront", Interval(unit="month", count=12)),
    ],
)
def test_frequency_of_the_deal_holds_for_lines_without_their_own(word: str, interval: Interval) -> None:
    """A line's blank frequency is the deal's; UnitPrice is the price of that period."""
    found = terms(opportunity(Billing_Frequency__c=word), line(), line(Id="b", Product2=product("BOX", "Box"), Billing_Frequency__c="Annual"))
    by_id = {item.id: item for item in items(found)}
    assert by_id["GOLD"].price.interval == interval
    assert by_id["BOX"].price.interval == Interval(unit="year")
    assert by_id["GOLD"].price.per is None


def test_three_year_ramp() -> None:
    """A ramp is lines with dates: the last day is inclusive, the next step starts the day after, names follow the dates."""
    record = opportunity(Contract_Term_Months__c=36)
    lines = [
        line(Id="c", Quantity=30, ServiceDate="2028-01-01"),
        line(Id="a", Quantity=10, ServiceDate="2026-01-01", End_Date__c="2026-12-31"),
        line(Id="b", Quantity=20, ServiceDate="2027-01-01", End_Date__c="2027-12-31"),
    ]
    found = terms(record, *lines)
    assert [(i.id, i.quantity, i.start, i.end) for i in items(found)] == [
        ("GOLD", 10, None, at("2027-01-01")),
        ("GOLD#2", 20, at("2027-01-01"), at("2028-01-01")),
        ("GOLD#3", 30, at("2028-01-01"), None),
    ]


def test_order_and_ids_of_lines_do_not_matter() -> None:
    """Whatever order and ids the lines have, the items and their names are the same."""
    lines = [
        line(Quantity=1), line(Quantity=2, UnitPrice=Decimal("25.00")), line(Quantity=3, ServiceDate="2026-06-01"),
        line(Quantity=4, Product2=product("BOX", "Box")),
    ]  # fmt: skip
    seen = set()
    for order in itertools.permutations(range(4)):
        found = terms(opportunity(), *({**lines[n], "Id": f"00k{k}"} for k, n in enumerate(order)))
        seen.add(tuple((i.id, i.quantity, i.price, i.start) for i in items(found)))
    assert len(seen) == 1
    assert [name for name, *_ in seen.pop()] == ["BOX", "GOLD", "GOLD#2", "GOLD#3"]


def test_equal_lines_add_up_and_keep_their_ids() -> None:
    """Two equal lines are one item with both CRM line ids; 2.50 and 2.5 are the same number."""
    found = terms(opportunity(), line(Id="b", Quantity=Decimal("2.50")), line(Id="a", Quantity=Decimal("2.5")))
    (item,) = items(found)
    assert (item.quantity, item.crm_lines) == (5, ("a", "b"))
    assert str(item.quantity) == "5"


def test_one_time_lines_and_skipped_lines() -> None:
    """A one-time line is charged once on its date; a line with Skip Billing is left out, even if it is wrong."""
    setup = line(Id="s", Product2=product("SETUP", "Setup"), Charge_Type__c="One-time", UnitPrice=500, Quantity=1, ServiceDate="2026-02-01")
    found = terms(opportunity(), line(), setup, line(Id="x", Skip_Billing__c=True, Charge_Type__c=None, Quantity=None))
    (item,) = found.phases[0].add_invoice_items
    assert (item.id, item.price.interval, item.price.unit_amount, item.start) == ("SETUP", None, 50000, at("2026-02-01"))
    assert [i.id for i in items(found)] == ["GOLD"]


def test_charge_type_comes_from_the_product_where_the_line_is_blank() -> None:
    """A blank charge type is the product's; blank there too is a problem."""
    found = terms(opportunity(), line(Charge_Type__c=None, Product2=product("SETUP", "Setup", Charge_Type__c="One-time")))
    assert [i.id for i in found.phases[0].add_invoice_items] == ["SETUP"]
    assert said(opportunity(), line(Charge_Type__c=None)) == [
        'Not billed: line "Gold seats": no charge type. Fill Charge Type on the line or Charge Type on the product; it is tried again by itself.'
    ]


def test_discounts_of_line_and_deal() -> None:
    """Percent discounts become coupons named after themselves; months make them end."""
    found = terms(opportunity(Discount_Percent__c=Decimal("10.00"), Discount_Months__c=3), line(Discount=Decimal("12.50")), line(Id="b", Discount=0))
    assert [(c.id, c.percent_off, c.duration, c.duration_in_months) for c in found.discounts] == [("10% for 3 months", 10, "repeating", 3)]
    assert [[c.id for c in i.discounts] for i in items(found)] == [[], ["12.5%"]]


def test_trial_billing_day_and_renewal() -> None:
    """Trial days end the trial, the billing day is the first such day from the start on, Auto Renew renews with its uplift."""
    record = opportunity(
        Contract_Start_Date__c="2026-01-20", Free_Trial_Days__c=14, Billing_Day__c=15, Auto_Renew__c=True,
        Renewal_Uplift_Percent__c=Decimal("3.50"),
    )  # fmt: skip
    found = terms(record, line())
    assert found.trial_end == at("2026-02-03")
    assert found.anchor == at("2026-02-15")
    assert found.end_behavior == "renew"
    assert str(found.renewal.uplift_percent) == "3.5"


@pytest.mark.parametrize(
    ("deal", "account", "how"),
    [
        ("Net 60", "Net 15", ("send_invoice", 60)),
        (None, "Net 15", ("send_invoice", 15)),
        ("Due on receipt", None, ("send_invoice", 0)),
        ("Charge automatically", None, ("charge_automatically", 0)),
    ],
)
def test_payment_terms_are_the_deals_else_the_accounts(deal: str | None, account: str | None, how: tuple[str, int]) -> None:
    """Payment terms of the deal come before those of the account."""
    found = wanted(opportunity(Payment_Terms__c=deal, Account={**ACCOUNT, "Payment_Terms__c": account}), line())
    assert (found.how.collection_method, found.how.days_until_due) == how


def test_prices_keep_every_digit_in_minor_units_of_the_currency() -> None:
    """A sub-cent price is exact, and yen have no minor unit."""
    assert items(terms(opportunity(), line(UnitPrice=Decimal("0.00125"))))[0].price.unit_amount == Decimal("0.125")
    yen = compiled(currency="JPY")
    assert items(terms(opportunity(), line(UnitPrice=1200), by=yen))[0].price.unit_amount == 1200


def test_upfront_of_a_line_is_its_own_span() -> None:
    """Upfront bills the line's own span: whole months where it is some, else days; without an end it is a problem."""
    record = opportunity(Billing_Frequency__c="Upfront")
    half, odd = line(ServiceDate="2026-07-01"), line(End_Date__c="2026-01-10")
    assert items(terms(record, half))[0].price.interval == Interval(unit="month", count=6)
    assert items(terms(record, odd))[0].price.interval == Interval(unit="day", count=10)
    assert [p.code for p in problems({**record, "Contract_Term_Months__c": None}, line())] == ["upfront-without-end"]


def test_price_per_term_keeps_what_it_is_for() -> None:
    """`per: term` keeps the price of the whole term and says so; nothing is divided here."""
    text = shipped().replace("per: period ", "per: term ")
    found = terms(opportunity(Billing_Frequency__c="Monthly"), line(UnitPrice=100), by=compile_mapping(mapping(text), demo_describe(), org(), OPTIONS))
    price = items(found)[0].price
    assert (price.unit_amount, price.interval, price.per) == (10000, Interval(unit="month"), Interval(unit="month", count=12))


# ---------------------------------------------------------------- problems


def test_no_email_says_which_field_to_fill() -> None:
    """A missing e-mail names the fields by their labels, depending on what is filled already."""
    account = {**ACCOUNT, "Billing_Email__c": None}
    assert said(opportunity(Account=account), line()) == [
        "Not billed: no billing e-mail. Fill Billing Contact on this opportunity or Billing Email on the account; it is tried again by itself."
    ]
    contact = {"Id": "003000000000001AAA", "Email": None}
    assert said(opportunity(Account=account, Billing_Contact__c=contact["Id"], Billing_Contact__r=contact), line()) == [
        "Not billed: no billing e-mail. Fill Email on the billing contact or Billing Email on the account; it is tried again by itself."
    ]


def test_amount_alone_is_never_billed() -> None:
    """A won deal without lines is a problem, whatever its Amount."""
    found = problems(opportunity(Amount=Decimal(5000)))
    assert [p.code for p in found] == ["no-lines"]


def test_all_problems_of_a_record_come_at_once() -> None:
    """Every problem of a record and its lines is told at once, each with its record and field."""
    record = opportunity(Account={**ACCOUNT, "Billing_Email__c": None}, Contract_Term_Months__c=0, Discount_Percent__c=120, Billing_Day__c=40)
    lines = [
        line(ServiceDate="2025-12-31"),
        line(Id="b", Billing_Frequency__c="Weekly"),
        line(Id="c", Quantity=-1, Charge_Type__c="Usage"),
    ]
    found = problems(record, *lines)
    assert [(p.code, p.where.object, p.where.record, p.where.field) for p in found] == [
        ("no-billing-e-mail", "Opportunity", record["Id"], "Billing_Contact__r.Email"),
        ("bad-term", "Opportunity", record["Id"], "Contract_Term_Months__c"),
        ("line-too-early", "OpportunityLineItem", "00k000000000001AAA", "ServiceDate"),
        ("unmapped-value", "OpportunityLineItem", "b", "Billing_Frequency__c"),
        ("bad-quantity", "OpportunityLineItem", "c", "Quantity"),
        ("bad-discount", "Opportunity", record["Id"], "Discount_Percent__c"),
        ("bad-billing-day", "Opportunity", record["Id"], "Billing_Day__c"),
    ]


@pytest.mark.parametrize(
    ("fields", "line_fields", "message"),
    [
        ({"Prebill_Periods__c": 3}, {}, "Prebill Periods is not supported yet. Clear Prebill Periods on this opportunity"),
        ({"Prebill_Until__c": "2026-12-31"}, {}, "Prebill Until is not supported yet. Clear Prebill Until on this opportunity"),
        ({"Proration__c": "Up front"}, {}, 'Proration "Up front" is for Amend deals only. Choose another value in Proration on this opportunity'),
        ({"Account": {**ACCOUNT, "Tax_Exempt__c": "Exempt"}}, {}, "Tax Exempt is not supported yet. Clear Tax Exempt on the account"),
        ({}, {"Trial_Price__c": 1}, 'line "Gold seats": Trial Price is not supported yet. Clear Trial Price on the line'),
    ],
)
def test_filled_field_of_a_missing_feature_is_never_ignored(fields: dict[str, Any], line_fields: dict[str, Any], message: str) -> None:
    """A field whose feature is missing is a clear problem when filled."""
    assert said(opportunity(**fields), line(**line_fields)) == [f"Not billed: {message}; it is tried again by itself."]


def test_features_that_the_engine_has_are_mapped() -> None:
    """With the engine's consent prebilling, paid trials and exemption become terms; usage needs none."""
    options = Options(
        timezone="UTC", proration="day", tax_rounding="line", cancellation_day="free", payment_terms="Net 30",
        supports=frozenset({"prebill", "paid_trial", "tax_exempt"}),
    )  # fmt: skip
    record = opportunity(Prebill_Periods__c=3, Account={**ACCOUNT, "Tax_Exempt__c": "Reverse charge"})
    lines = [line(Trial_Price__c=1, Trial_Periods__c=2), line(Id="u", Charge_Type__c="Usage", Product2=product("GB", "Gigabytes"))]
    found = wanted(record, *lines, by=compiled(options=options))
    assert found.customer.tax_exempt == "reverse"
    assert found.terms is not None
    assert found.terms.prebill == Prebill(periods=3)
    usage, gold = items(found.terms)
    assert (usage.price.usage_type, usage.price.timing, usage.quantity) == ("metered", "in_arrears", None)
    assert gold.trial is not None
    assert (gold.trial.price.unit_amount, gold.trial.periods) == (100, 2)


def test_unmapped_picklist_value_names_the_known_ones() -> None:
    """A picklist value that the mapping does not translate is a problem, never a guess."""
    assert said(opportunity(Billing_Action__c="Upsell"), line()) == [
        ('Not billed: Billing Action "Upsell" is not known to the mapping. '
         "Choose one of New, Amend, Renew, Cancel, Pause, Resume, or ask the admin to add it to the mapping; it is tried again by itself.")
    ]


def test_a_base_without_an_action_is_not_a_new_deal() -> None:
    """A record that names the deal it amends, with a blank action, is a problem rather than a second contract."""
    found = problems(opportunity(Amends_Opportunity__c=PARENT), line())
    assert [p.code for p in found] == ["action-missing"]


def test_unknown_payment_terms_of_the_configuration() -> None:
    """Payment terms of the configuration that nobody understands are a problem of the configuration."""
    options = Options(timezone="UTC", proration="day", tax_rounding="line", cancellation_day="free", payment_terms="soon")
    with pytest.raises(ConfigError):
        compiled(options=options)


# ---------------------------------------------------------------- changes


def test_amendment_by_the_sign_of_quantity() -> None:
    """An amendment line carries the change in quantity; the effective date is CloseDate where blank, proration Immediately."""
    found = change("Amend", line(Quantity=5), line(Id="b", Quantity=-2, Product2=product("BOX", "Box")))
    assert (found.id, found.kind, found.effective) == ("006000000000001AAA", "amend", at("2026-04-16"))
    assert [(c.op, c.item.id, c.item.quantity, c.item_id) for c in found.items if c.item] == [
        ("delta", "BOX", -2, None), ("delta", "GOLD", 5, None),
    ]  # fmt: skip
    assert found.proration_behavior == "always_invoice"
    assert found.made_at < found.effective
    assert found.new_end is None
    assert found.discounts_set is None


def test_words_of_amendment_lines() -> None:
    """Add, Reduce, Set and Remove spare negative numbers; Amends Line names the running item by its number."""
    found = change(
        "Amend",
        line(Id="a", Quantity=3, Line_Change__c="Reduce"),
        line(Id="b", Quantity=7, Line_Change__c="Set", Amends_Line__c="2: Box 5 x 12.00", Product2=product("BOX", "Box")),
        line(Id="c", Quantity=1, Line_Change__c="Remove", Product2=product("OLD", "Old")),
        line(Id="d", Quantity=1, Charge_Type__c="One-time", Product2=product("SETUP", "Setup")),
        Proration__c="Next invoice",
        Billing_Effective_Date__c="2026-05-01",
    )
    assert [(c.op, c.item.price.product, c.item.quantity, c.item_id) for c in found.items if c.item] == [
        ("remove", "OLD", 1, None), ("set", "BOX", 7, "2"), ("delta", "GOLD", -3, None),
    ]  # fmt: skip
    assert [i.id for i in found.one_time] == ["SETUP"]
    assert found.effective == at("2026-05-01")
    assert found.proration_behavior == "create_prorations"


def test_amendment_of_the_deals_own_fields() -> None:
    """Filled deal fields are changes: the term counts from the effective date, a discount replaces the old one, 0 ends it."""
    found = change("Amend", Contract_Term_Months__c=12, Discount_Percent__c=0, Billing_Day__c=1)
    assert found.new_end == at("2027-04-16")
    assert found.discounts_set == ()
    assert found.billing_cycle_anchor == at("2026-05-01")
    assert [p.code for p in problems(amending("Amend"))] == ["nothing-changes"]


def test_renewal_without_and_with_lines() -> None:
    """No lines renew the same terms with the uplift; lines are the complete new set; both from the end of the old term."""
    same = change("Renew", Contract_Term_Months__c=12, Renewal_Uplift_Percent__c=5)
    assert (same.kind, same.phases, same.duration, same.uplift_percent) == ("renew", (), Interval(unit="month", count=12), 5)
    assert same.when == "term_end"
    anew = change("Renew", line(Quantity=20), Contract_Term_Months__c=24, Auto_Renew__c=True)
    (phase,) = anew.phases
    assert [(i.id, i.quantity) for i in phase.items] == [("GOLD", 20)]
    assert (phase.start, phase.end) == (at("2026-04-16"), at("2028-04-16"))
    assert anew.end_behavior == "renew"


def test_renewal_with_a_later_start() -> None:
    """A filled first day lets the new term begin later; lines with dates of their own need it."""
    record = opportunity(Billing_Action__c="Renew", Amends_Opportunity__c=PARENT, Contract_Start_Date__c="2027-03-01")
    found = wanted(record, line(ServiceDate="2027-06-01")).change
    assert found is not None
    assert (found.effective, found.when) == (at("2027-03-01"), "at")
    assert found.phases[0].items[0].start == at("2027-06-01")
    assert [p.code for p in problems(amending("Renew"), line(ServiceDate="2027-06-01"))] == ["no-renewal-start"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Billing_Effective_Date__c": "2026-07-01", "Proration__c": "Immediately"}, ("at", "2026-07-01", True, True)),
        ({"Billing_Effective_Date__c": "2026-07-01", "Proration__c": "Next invoice"}, ("at", "2026-07-01", True, False)),
        ({"Billing_Effective_Date__c": "2026-07-01", "Proration__c": "None"}, ("at", "2026-07-01", False, False)),
        ({}, ("period_end", "2026-04-16", False, False)),
        ({"Cancel_When__c": "End of term"}, ("term_end", "2026-04-16", False, False)),
        ({"Cancel_When__c": "End of period", "Billing_Effective_Date__c": "2026-07-01"}, ("period_end", "2026-07-01", False, False)),
    ],
)
def test_cancellation(fields: dict[str, Any], expected: tuple[str, str, bool, bool]) -> None:
    """A cancellation counts from its date where one is given, else from the end of the period."""
    found = change("Cancel", **fields)
    assert (found.when, found.effective.date().isoformat(), found.prorate, found.invoice_now) == expected
    assert found.item_ids == ()


def test_cancellation_of_some_lines_names_them() -> None:
    """Lines on a Cancel deal limit it to their products, or to the item that Amends Line numbers."""
    found = change("Cancel", line(), line(Id="b", Product2=product("BOX", "Box"), Amends_Line__c="3"))
    assert found.item_ids == ("3", "GOLD")


def test_cancellation_on_a_date_must_say_what_becomes_of_unused_time() -> None:
    """Proration has no default: left blank it stays unsaid, for the engine to refuse inside a period; the date is asked for."""
    assert change("Cancel", Billing_Effective_Date__c="2026-07-01").prorate is None
    found = problems(amending("Cancel", Cancel_When__c="On date", Proration__c="None"))
    assert [(p.code, p.where.field) for p in found] == [("no-effective-date", "Billing_Effective_Date__c")]


def test_pause_and_resume() -> None:
    """Pause and Resume count from the effective date; unused time is credited."""
    assert (change("Pause").kind, change("Pause").pause_behavior, change("Resume").kind) == ("pause", "credit", "resume")


def test_a_change_needs_its_base() -> None:
    """An amendment that names no base says which field to fill; a contract id is a base too."""
    record = amending("Amend", Amends_Opportunity__c=None)
    assert [p.code for p in problems(record, line())] == ["no-base"]
    found = wanted({**record, "Amends_Contract_Id__c": "con_1"}, line())
    assert (found.amends, found.amends_contract) == (None, "con_1")


def test_a_change_needs_no_email() -> None:
    """A cancellation is not held back by a contact that the contract does not need for it."""
    assert wanted(amending("Cancel", Account={**ACCOUNT, "Billing_Email__c": None})).customer.email == ""


def test_changes_of_one_day_are_ordered_by_their_creation() -> None:
    """Of two changes closed on one day the one created first was made first, and neither is known later than its day."""
    first = change("Pause", CreatedDate="2026-04-01T08:00:00.000+0000")
    second = change("Pause", CreatedDate="2026-04-16T08:00:00.000+0000")
    assert first.made_at < second.made_at < second.effective


# ---------------------------------------------------------------- quotes, conditions


def quote(**fields: Any) -> dict[str, Any]:
    base = opportunity()
    parent = {"AccountId": base["AccountId"], "Account": base["Account"], "CloseDate": "2025-12-20"}
    del base["Account"], base["AccountId"], base["CloseDate"]
    return base | {"Id": "0Q0000000000001AAA", "OpportunityId": "006000000000001AAA", "Opportunity": parent, "Status": "Accepted"} | fields


def test_quote_belongs_to_its_opportunitys_deal() -> None:
    """An accepted quote gives the terms that its opportunity would give, under the same deal's name."""
    found = wanted(quote(), line(), by=QUOTE)
    assert (found.object, found.deal, found.record) == ("Quote", "006000000000001AAA", "0Q0000000000001AAA")
    assert found.terms == terms(opportunity(), line())
    assert found.customer == wanted(opportunity(), line()).customer
    assert wanted(quote(OpportunityId=None), line(), by=QUOTE).deal == "0Q0000000000001AAA"


@pytest.mark.parametrize(("status", "condition"), [("Accepted", "won"), ("Presented", "open"), ("Denied", "dropped"), ("Draft", "preview")])
def test_conditions_of_a_quote(status: str, condition: str) -> None:
    """The quote's status decides what it is; only won and open ones have terms."""
    found = wanted(quote(Status=status), line(), by=QUOTE)
    assert found.condition == condition
    assert (found.terms is not None) == (condition in ("won", "open"))


def test_record_that_is_no_deal_any_more_is_not_judged() -> None:
    """A reopened record is only said to be reopened, even if it could not be billed now; a preview gives its terms all the same."""
    record = opportunity(IsWon=False, Account={**ACCOUNT, "Billing_Email__c": None}, Contract_Term_Months__c=0)
    found = wanted(record)
    assert (found.condition, found.terms, found.customer.account) == ("idle", None, ACCOUNT["Id"])
    preview = OPPORTUNITY.map(opportunity(IsWon=False), [line()], as_won=True).desired
    assert preview is not None
    assert preview.terms is not None


def test_who_is_billed_and_who_edited() -> None:
    """Customer, label, editor, close date and synced quote travel with the desired state."""
    found = wanted(opportunity(SyncedQuoteId="0Q0000000000001AAA", PO_Number__c="PO 7", Invoice_Memo__c="Thanks"), line())
    assert (found.customer.name, found.customer.email, found.customer.tax_id) == ("Acme GmbH", "ap@acme.example", "DE123456789")
    assert (found.customer.address.city, found.customer.address.country) == ("Berlin", "Germany")
    assert (found.label, found.editor, found.closed_on, found.synced_quote) == ("Acme 2026", "Rita Rep", date(2025, 12, 20), "0Q0000000000001AAA")
    assert (found.how.po_number, found.how.memo) == ("PO 7", "Thanks")


def test_the_engine_draws_every_change_that_the_mapping_makes() -> None:
    """Terms and changes as mapped are drawn by the engine without a complaint, and mean what the record says."""
    base = terms(opportunity(), line(), line(Id="b", Product2=product("BOX", "Box"), Quantity=5, UnitPrice=12))
    changes = [
        change("Amend", line(Quantity=5), line(Id="b", Quantity=-2, Product2=product("BOX", "Box"), UnitPrice=12)),
        change("Amend", line(Quantity=7, Line_Change__c="Set", Amends_Line__c="1: Box 5 x 12.00", Product2=product("BOX", "Box"), UnitPrice=15)),
        change("Renew", Contract_Term_Months__c=12, Renewal_Uplift_Percent__c=5),
        change("Renew", line(Quantity=20), Contract_Term_Months__c=24),
        change("Cancel"),
        change("Cancel", line(), Billing_Effective_Date__c="2026-07-01", Proration__c="Immediately"),
        change("Pause"),
    ]
    ends = []
    for one in changes:
        contract = Contract(id="con", terms=base, changes=(one,))
        assert schedule.problems(contract) == ()
        drawn = schedule.timeline(contract)
        ends.append(max(s.end for s in drawn.segments if s.end is not None).date().isoformat())
    assert ends == ["2027-01-01", "2027-01-01", "2028-01-01", "2029-01-01", "2026-05-01", "2027-01-01", "2026-04-16"]
