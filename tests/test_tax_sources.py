"""Who is taxed how: countries and areas, VAT ids, rates by date, lists in the configuration, and every refusal in words."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connector.config import Config, load_config
from connector.core.tax import rates_on
from connector.errors import ConfigError
from connector.ports import AccountTax, Address, CustomerDetails
from connector.tax.eu import EuVat, standard_rates
from connector.tax.places import country_code, place_of
from connector.tax.rates import ListedRate, ListedRates
from connector.tax.vat_ids import is_well_formed

D = Decimal
FRENCH = EuVat(seller_country="FR")


def customer(country: str, postal_code: str = "10115", *, state: str = "", **more: Any) -> CustomerDetails:
    return CustomerDetails(account="A", name="Acme", address=Address(country=country, postal_code=postal_code, state=state), **more)


def percent(tax: AccountTax, day: str = "2026-01-01") -> Decimal | None:
    """The sum of the rates that are charged on a day; None: a problem."""
    if tax.problem is not None:
        return None
    return sum((r.percentage for r in rates_on(tax.rates, date.fromisoformat(day))), D(0)) if tax.exempt == "none" else D(0)


# ---------------------------------------------------------------- EU VAT


def test_every_member_state_has_rates_by_date() -> None:
    """27 states and three areas, from 2016 on or later for areas, each row later than the one before, from 15 to 27 %."""
    rates = standard_rates()
    assert len([place for place in rates if "-" not in place]) == 27
    for place, rows in rates.items():
        days = [r.valid_from for r in rows]
        assert days == sorted(set(days))
        assert "-" in place or days[0] == date(2016, 1, 1)
        assert all(D(15) <= r.percentage <= D(27) for r in rows)


@pytest.mark.parametrize(
    ("country", "before", "day", "after"),
    [
        ("EE", 20, "2024-01-01", 22), ("EE", 22, "2025-07-01", 24), ("LU", 17, "2023-01-01", 16), ("LU", 16, "2024-01-01", 17),
        ("FI", 24, "2024-09-01", "25.5"), ("SK", 20, "2025-01-01", 23), ("RO", 19, "2025-08-01", 21), ("DE", 19, "2020-07-01", 16),
        ("DE", 16, "2021-01-01", 19), ("IE", 23, "2020-09-01", 21), ("IE", 21, "2021-03-01", 23),
    ],
)  # fmt: skip
def test_a_changed_rate_begins_on_its_day(country: str, before: Any, day: str, after: Any) -> None:
    """The last day of the old rate and the first of the new one, for each change since 2020."""
    tax, changed = FRENCH.tax_of(customer(country)), date.fromisoformat(day)
    assert percent(tax, date.fromordinal(changed.toordinal() - 1).isoformat()) == D(before)
    assert percent(tax, day) == D(after)


@pytest.mark.parametrize(
    ("who", "rate", "note"),
    [
        (customer("Germany"), 19, ""),
        (customer("DE", tax_id="DE136695976"), 0, "reverse_eu"),
        (customer("Deutschland", tax_id="de 136.695.976"), 0, "reverse_eu"),
        (customer("Greece", tax_id="EL094259216"), 0, "reverse_eu"),
        (customer("France", "75002"), 20, ""),
        (customer("FR", "75002", tax_id="FR40303265045"), 20, ""),
        (customer("Monaco", "98000"), 20, ""),
        (customer("France", "98000"), 20, ""),
        (customer("United States", "10001"), 0, "outside:US"),
        (customer("UK", "EC1A 1BB"), 0, "outside:GB"),
        (customer("Northern Ireland", "BT1 1AA"), 0, "outside:GB"),
        (customer("XI", "BT1 1AA", tax_id="XI123456789"), 0, "outside:GB"),
        (customer("Isle of Man", "IM1 1AA"), 0, "outside:IM"),
        (customer("Spain", "28013"), 21, ""),
        (customer("Spain", "35001"), 0, "outside:IC"),
        (customer("Spain", "51001"), 0, "outside:EA"),
        (customer("DE", "D-27498"), 0, "outside:Heligoland"),
        (customer("Finland", "22100"), 0, "outside:AX"),
        (customer("Portugal", "9000-012"), 22, ""),
        (customer("Portugal", "1000-001"), 23, ""),
        (customer("Austria", "6991"), 19, ""),
        (customer("DE", tax_exempt="exempt"), 0, "exempt"),
        (customer("", tax_exempt="exempt"), 0, "exempt"),
    ],
)  # fmt: skip
def test_where_a_french_seller_charges_what(who: CustomerDetails, rate: int, note: str) -> None:
    """Consumers pay their place's rate, the seller's own country its own, businesses elsewhere in the EU and outsiders none."""
    tax = FRENCH.tax_of(who)
    assert (percent(tax), tax.note) == (D(rate), note)


@pytest.mark.parametrize(
    ("who", "code", "words"),
    [
        (customer(""), "tax-country-missing", "no billing country"),
        (customer("Atlantis"), "tax-country-unknown", "'Atlantis'"),
        (customer("Germany", ""), "tax-address-missing", "no billing postal code"),
        (customer("Germany", tax_id="DE136695977"), "tax-id-malformed", "'DE136695977'"),
        (customer("Germany", tax_id="136695976"), "tax-id-malformed", "no valid EU VAT id"),
        (customer("Germany", tax_id="FR40303265045"), "tax-id-country", "not one of Germany"),
        (customer("Germany", tax_exempt="reverse"), "tax-id-missing", "has no VAT id"),
        (customer("France", "97200"), "tax-territory", "Martinique"),
    ],
)
def test_who_cannot_be_taxed_is_told_why(who: CustomerDetails, code: str, words: str) -> None:
    """Nobody is taxed with zero by mistake: each problem names the account, what is wrong, and what to do."""
    problem = FRENCH.tax_of(who).problem
    assert problem is not None
    assert problem.code == code
    assert words in problem.message
    assert "Acme" in problem.message
    assert problem.hint


def test_the_seller_decides_what_is_at_home() -> None:
    """For a German seller the Paris business is reverse charge and the Berlin one pays 19 %; Martinique is plainly outside."""
    german = EuVat(seller_country="DE")
    assert german.tax_of(customer("FR", "75002", tax_id="FR40303265045")).exempt == "reverse"
    assert percent(german.tax_of(customer("DE", tax_id="DE136695976"))) == D(19)
    assert german.tax_of(customer("FR", "97200")).note == "outside:MQ"


def test_inclusive_prices_keep_the_rate_that_they_are_freed_of() -> None:
    """With inclusive prices a business with a VAT id still has its country's rate, so that its price can be freed of it."""
    tax = EuVat(seller_country="FR", is_inclusive=True).tax_of(customer("DE", tax_id="DE136695976"))
    assert (tax.exempt, [(r.percentage, r.inclusive) for r in rates_on(tax.rates, date(2026, 1, 1))]) == ("reverse", [(D(19), True)])


@pytest.mark.parametrize("vat_id", ["ATU12011204", "IT00743110157", "SE556012579001", "ESA13585625", "FR40303265045", "EL094259216"])
def test_vat_ids_of_the_member_states_are_checked_to_the_digit(vat_id: str) -> None:
    """A real id is well formed; with one digit changed it is not."""
    last = str((int(vat_id[-1]) + 1) % 10)
    assert is_well_formed(vat_id)
    assert not is_well_formed(vat_id[:-1] + last)


# ---------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("fr", "FR"), ("Allemagne", "DE"), ("España", "ES"), ("The Netherlands", "NL"), ("Czech Republic", "CZ"), ("EL", "GR"),
        ("U.S.A.", "US"), ("Côte d'Ivoire", "CI"), ("Norway", "NO"), ("", None), ("EU", None), ("Springfield", None),
    ],
)  # fmt: skip
def test_countries_are_read_as_people_write_them(text: str, code: str | None) -> None:
    """Codes and names in several languages, accents and signs aside; what is no country is not guessed."""
    assert country_code(text) == code


def test_a_postal_code_counts_in_its_country_only() -> None:
    """35001 is on the Canary Islands in Spain, and a usual place in France."""
    assert place_of("ES", Address(postal_code="35001")) == "IC"
    assert place_of("FR", Address(postal_code="35000")) == "FR"


# ---------------------------------------------------------------- listed rates


def test_listed_rates_by_region_country_and_everywhere() -> None:
    """Quebec's two rates add up and stand instead of Canada's; a country that is not listed has what is said for all others."""
    def rate(country: str, percentage: str, name: str, **more: Any) -> ListedRate:
        return ListedRate(country=country, percentage=D(percentage), name=name, **more)

    listed = [rate("CA", "5", "GST"), rate("CA", "5", "GST", region="Quebec"), rate("CA", "9.975", "QST", region="Quebec")]
    source = ListedRates([*listed, rate("US", "7.25", "Sales tax", region="CA")])
    assert percent(source.tax_of(customer("Canada", state="Ontario"))) == D(5)
    assert [r.id for r in source.tax_of(customer("Canada", state="quebec")).rates[0][1]] == ["GST 5%", "QST 9.975%"]
    for who, words in ((customer("US", state="NY"), "parts of United States"), (customer("DE"), "listed for Germany")):
        problem = source.tax_of(who).problem
        assert problem is not None
        assert problem.code == "tax-rate-missing"
        assert words in problem.message
    assert source.tax_of(customer("", tax_exempt="exempt")).problem is None
    assert percent(ListedRates([*listed, rate("*", "0", "Export")]).tax_of(customer("DE"))) == D(0)


def test_a_listed_rate_holds_until_the_next_of_its_name() -> None:
    """8.0 % from 2024 gives way to 8.1 % in July; a day before both has none, which billing refuses."""
    rates = [ListedRate(country="CH", percentage=D(p), name="MWST", valid_from=date.fromisoformat(d)) for p, d in (("8.1", "2024-07-01"), ("8.0", "2024-01-01"))]
    tax = ListedRates(rates).tax_of(customer("CH"))
    assert [percent(tax, day) for day in ("2024-06-30", "2024-07-01")] == [D("8.0"), D("8.1")]
    assert tax.rates[0][0] == date(2024, 1, 1)


# ---------------------------------------------------------------- the configuration

HEAD = "crm: {kind: demo, url: 'http://127.0.0.1:1'}\nsources: [{name: o, mapping: o.yaml}]\n"


def config(folder: Path, text: str) -> Config:
    file = folder / "config.yaml"
    file.write_text(HEAD + text, encoding="utf-8")
    return load_config(file, {})


def test_the_configuration_lists_rates(tmp_path: Path) -> None:
    """Countries by code or name, Norway's NO too; numbers stay exact and days are days."""
    made = config(
        tmp_path,
        "tax:\n  kind: rates\n  rates:\n    - {country: Switzerland, percentage: 8.1, name: MWST, inclusive: true, valid_from: 2024-01-01}\n"
        '    - {country: NO, percentage: 25}\n    - {country: "*", percentage: 0, name: Export}\n',
    ).tax  # fmt: skip
    assert made.rates == (
        ListedRate(country="CH", percentage=D("8.1"), name="MWST", is_inclusive=True, valid_from=date(2024, 1, 1)),
        ListedRate(country="NO", percentage=D(25), name="Tax"), ListedRate(country="*", percentage=D(0), name="Export"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("tax: {kind: rates, rates: [{country: Mordor, percentage: 5}]}", "bad-value", 3),
        ("tax:\n  kind: rates\n  rates:\n    - {country: DE, percentage: 190}", "bad-value", 6),
        ("tax: {kind: rates, rates: [{country: DE, percentage: nineteen}]}", "bad-value", 3),
        ("tax: {kind: rates, rates: [{country: DE, percentage: 19, valid_from: soon}]}", "bad-value", 3),
        ("tax: {kind: rates, rates: [{country: DE, percentage: 19, rate: 1}]}", "unknown-key", 3),
        ("tax: {kind: rates, rates: [{country: DE, percentage: 19}, {country: Germany, percentage: 7}]}", "duplicate-rate", 3),
        ("tax: {kind: rates, rates: [{country: DE}]}", "missing-key", 3),
        ("tax: {kind: none, rates: [{country: DE, percentage: 19}]}", "bad-value", 3),
        ("tax: {kind: none, inclusive: true}", "bad-value", 3),
        ("tax: {kind: vat}", "bad-value", 3),
        ("tax: {kind: none}\nseller: {country: Mordor}", "bad-value", 4),
        ("tax: {kind: none}\nseller: {address: 5}", "bad-type", 4),
        ("tax: {kind: eu_vat}\nseller: {country: US, vat_id: FR40303265045}", "bad-value", 4),
        ("tax: {kind: eu_vat}\nseller: {country: FR}", "missing-key", 4),
        ("tax: {kind: eu_vat}\nseller: {country: FR, vat_id: FR40303265046}", "bad-value", 4),
        ("tax: {kind: eu_vat, inclusive: maybe}\nseller: {country: FR, vat_id: FR40303265045}", "bad-type", 3),
    ],
)
def test_a_wrong_setting_of_tax_or_seller_is_shown_with_its_line(tmp_path: Path, text: str, code: str, line: int) -> None:
    """Each is one problem at its place of the file, with what to write instead."""
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, text + "\n")
    assert [(p.code, p.where.line) for p in caught.value.problems] == [(code, line)]
    assert all(p.hint for p in caught.value.problems)


def test_the_parts_of_portugal_and_austria_with_rates_of_their_own() -> None:
    """The Azores 18 % until June 2021 and 16 % since, Madeira 22 %, Jungholz and Mittelberg 19 % by their Austrian or German postal code."""
    azores, madeira = (FRENCH.tax_of(customer("PT", code)) for code in ("9500-150", "9000-012"))
    assert [percent(azores, on) for on in ("2016-01-01", "2021-06-30", "2021-07-01", "2026-01-01")] == [D(18), D(18), D(16), D(16)]
    assert [percent(madeira, on) for on in ("2016-01-01", "2026-01-01")] == [D(22), D(22)]
    for code in ("6691", "87491", "6993", "D-87569"):
        assert [percent(FRENCH.tax_of(customer("AT", code)), on) for on in ("2016-01-01", "2026-01-01")] == [D(19), D(19)]
    assert percent(FRENCH.tax_of(customer("AT", "6600")), "2026-01-01") == D(20)


def test_every_place_has_a_rate_from_the_first_day_of_the_table() -> None:
    """No place that the table names is untaxed in a period that other places are taxed in."""
    late = {place for place, listed in standard_rates().items() if listed[0].valid_from > date(2016, 1, 1)}
    assert late == set()
