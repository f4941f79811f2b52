"""Mapping files are checked all at once: golden complaints, the shipped files, the schema."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mapping_world import ROOT, bad_case, describe, org, said_of, shipped, source_text

from connector.errors import ConfigError
from connector.mapping.check import check
from connector.mapping.language import DEAL, LINE, objects_needed
from connector.mapping.report import WARNINGS
from connector.mapping.schema import schema

BAD = sorted((ROOT / "tests" / "mappings_bad").glob("*.yaml"))


@pytest.mark.parametrize("file", BAD, ids=lambda f: f.stem)
def test_bad_file_says_exactly_this(file: Path) -> None:
    """A bad file gives exactly the text beside it: place, excerpt with caret, what is wrong, what to type."""
    assert said_of(file) == file.with_suffix(".txt").read_text(encoding="utf-8")


def test_warnings_leave_the_file_usable() -> None:
    """A file with nothing but warnings becomes a mapping; one with errors does not."""
    for file in BAD:
        text = file.read_text(encoding="utf-8")
        shown, the_org = bad_case(text)
        mapping, problems = check(source_text(text), describe=shown, org=the_org)
        assert (mapping is not None) == all(p.code in WARNINGS for p in problems), file.name
        assert all(p.code.startswith("warn") == (p.code in WARNINGS) for p in problems)


@pytest.mark.parametrize("name", ["opportunity", "quote"])
@pytest.mark.parametrize("multi_currency", [False, True])
def test_shipped_mapping_is_clean(name: str, multi_currency: bool) -> None:
    """The shipped mappings check without a word, with and without several currencies, and offline."""
    found = describe(multi_currency=multi_currency)
    mapping, problems = check(source_text(shipped(name)), describe=found, org=org(is_multi_currency=multi_currency))
    assert mapping is not None
    assert problems == ()
    assert check(source_text(shipped(name)), describe=None, org=None)[1] == ()


def test_shipped_opportunity_mapping_fills_every_key() -> None:
    """The shipped Opportunity mapping uses every key of the grammar but a quote's last day, so that it can serve as its example."""
    mapping, _ = check(source_text(shipped()), describe=describe(), org=org())
    assert mapping is not None
    orders_only = {"price.term_months", "price.timing", "runs", "revises", "base", "prior_quantity"}
    assert set(mapping.deal) == set(DEAL) - {"expires_on", "last_day"}
    assert set(mapping.line) == set(LINE) - orders_only
    cpq, _ = check(source_text(shipped("cpq-order")), describe=describe(has_cpq=True), org=org())
    assert cpq is not None
    assert set(cpq.line) >= orders_only
    assert "last_day" in cpq.deal


@pytest.mark.parametrize("multi_currency", [False, True])
def test_the_mapping_of_cpq_orders_is_clean_in_an_org_with_the_package(multi_currency: bool) -> None:
    """The mapping of CPQ orders checks without a word, with and without several currencies, and offline."""
    found = describe(multi_currency=multi_currency, has_cpq=True)
    mapping, problems = check(source_text(shipped("cpq-order")), describe=found, org=org(is_multi_currency=multi_currency))
    assert mapping is not None
    assert problems == ()
    assert check(source_text(shipped("cpq-order")), describe=None, org=None)[1] == ()


def test_an_org_without_cpq_is_told_so_once() -> None:
    """Not forty missing fields: one problem, at the first field of the package, with what to do."""
    mapping, problems = check(source_text(shipped("cpq-order")), describe=describe(), org=org())
    assert mapping is None
    (problem,) = problems
    assert problem.code == "package-missing"
    assert "Salesforce CPQ" in problem.message
    assert "SBQQ__Quote__r" in problem.excerpt


def test_five_mistakes_are_five_problems_in_file_order() -> None:
    """All problems of a file are told at once, in the order of the file."""
    file = ROOT / "tests" / "mappings_bad" / "many.yaml"
    _, problems = check(source_text(file.read_text(encoding="utf-8")), describe=describe(), org=org())
    assert [p.code for p in problems] == ["bad-condition", "unknown-field", "unquoted-decimal", "unknown-source"]
    assert [p.where.line for p in problems] == sorted(p.where.line or 0 for p in problems)


DAMAGES = ("xx", "[1, 2]", "{first: 3}", "{field: 7, values: {A: b}}", "null", "9", "true", "{expr: '1 +'}")


@pytest.mark.parametrize("damage", DAMAGES)
def test_position_of_every_problem_lies_in_its_file(damage: str) -> None:
    """Whatever line of a good file is damaged, every problem points into the file, and nothing raises."""
    whole, described, the_org = shipped().splitlines(), describe(), org()
    for at in range(len(whole)):
        lines = list(whole)
        key, colon, rest = lines[at].partition(":")
        if not colon or "&" in rest or "*" in rest:
            continue
        lines[at] = f"{key}: {damage}"
        while at + 1 < len(lines) and lines[at + 1].startswith(key[: len(key) - len(key.lstrip())] + " "):
            del lines[at + 1]
        try:
            source = source_text("\n".join(lines))
        except ConfigError:
            continue  # no YAML any more: the reader's complaint, not the checker's
        for problem in check(source, describe=described, org=the_org)[1]:
            assert problem.where.line is not None
            assert problem.where.column is not None
            assert 1 <= problem.where.line <= len(lines)
            assert 1 <= problem.where.column <= len(lines[problem.where.line - 1]) + 1


def test_hidden_field_is_not_taken_for_a_slip() -> None:
    """A field that the integration user may not see is said to be missing or hidden, without a wrong suggestion."""
    text = "# org: hide Opportunity.Billing_Day__c\n" + shipped()
    shown, the_org = bad_case(text)
    _, problems = check(source_text(text), describe=shown, org=the_org)
    (problem,) = problems
    assert problem.message == 'Opportunity shows no field "Billing_Day__c": it does not exist, or the integration user lacks field access.'
    assert problem.hint == "Correct the name, or let an administrator grant the integration user access to Opportunity.Billing_Day__c."


def test_objects_needed_follow_lookups() -> None:
    """The objects to describe are found from the file, lookup by lookup."""
    tree = source_text(shipped("quote")).located.value
    first = objects_needed(tree, {})
    assert first == ("Quote", "QuoteLineItem", "Account", "Billing_Invoice__c")
    assert set(objects_needed(tree, describe())) == {*first, "Opportunity", "Contact", "Product2", "User"}


def test_schema_knows_every_key() -> None:
    """The JSON Schema has every key of the grammar, nested as in the file."""
    found = schema()["properties"]
    for block, table in (("deal", DEAL), ("line", LINE)):
        for key in table:
            node = found[block]
            for part in key.split("."):
                node = node["properties"][part]
            assert "anyOf" in node


def test_documentation_names_every_complaint_about_records() -> None:
    """docs/mapping.md has every code that a record may be told."""
    text = (ROOT / "docs" / "mapping.md").read_text(encoding="utf-8")
    code = re.compile(r'(?:fail|_UnfitError)\(\s*"([a-z-]+)"')
    sources = [(ROOT / "connector" / "mapping" / f"{name}.py").read_text(encoding="utf-8") for name in ("deals", "lines", "readers")]
    codes = {found for source in sources for found in code.findall(source)}
    assert len(codes) > 20
    assert [found for found in sorted(codes) if f"`{found}`" not in text] == []


def test_documentation_names_every_key() -> None:
    """docs/mapping.md explains every key, every write-back source and every complaint."""
    text = (ROOT / "docs" / "mapping.md").read_text(encoding="utf-8")
    from connector.mapping.functions import FUNCTIONS
    from connector.mapping.language import WRITABLE

    keys = [*DEAL, *LINE, *FUNCTIONS, *WARNINGS, *(name for table in WRITABLE.values() for name in table)]
    codes = {line.split(": ")[1] for f in BAD for line in f.with_suffix(".txt").read_text().splitlines() if line.startswith(f.name)}
    assert [key for key in (*keys, *sorted(codes)) if f"`{key}`" not in text and f"`{key}(" not in text] == []


def test_what_is_written_is_what_the_messages_say() -> None:
    """The words that fields are held against are those that the write-back puts there; no text that is written lacks a length."""
    from connector.mapping.language import WRITABLE
    from connector.mapping.written import _NEEDS, words_of
    from connector.sync import messages, quote_words

    beside = {"Needs attention", "Blocked", "Queued"}
    assert set(words_of("deal", "status", "Opportunity")) == {*messages._STATUS.values(), *beside}
    assert set(words_of("deal", "status", "Quote")) == {*messages._STATUS.values(), *beside, *quote_words._WORDS.values(), "Replaced"}
    texts = {(scope, name) for scope, table in WRITABLE.items() for name, kind in table.items() if kind == "text"}
    assert {(scope, name) for scope, table in _NEEDS.items() for name in table} == texts
