"""The words of mails: every case in both languages is whole, escapes what it is given, and keeps its subject in one line."""

from __future__ import annotations

from typing import get_args

import pytest

from connector.mail.letters import Case, Letter, rendered

VALUES = {
    "number": "INV-0007", "total": "€1,080.00", "open": "€580.00", "due_on": "1 May 2026", "amount": "€500.00", "why": "The card was declined.",
    "retry_on": "4 May 2026", "note": "CN-0001", "label": "Acme 2026", "until_on": "30 May 2026",
}  # fmt: skip


def letter(case: Case, language: str, **more: str) -> Letter:
    """Return a letter of a case with everything in it."""
    given = {"seller": "Northwind", "customer": "Acme", "link": "https://pay.example/i/1?a=1&b=2", "iban": "FR76", "reason": "late <delivery>"}
    return Letter(case=case, language=language, values=VALUES, **(given | more))


@pytest.mark.parametrize("language", ["en", "fr", "de"])
@pytest.mark.parametrize("case", get_args(Case))
def test_every_letter_is_whole(case: Case, language: str) -> None:
    """No placeholder stays, number and link are in text and HTML, the languages differ, and another one reads English."""
    made = rendered(letter(case, language))
    for text in (made.subject, made.text, made.html):
        assert "INV-0007" in text
        assert "{" not in text.replace("{font", "")
    assert "https://pay.example/i/1?a=1&b=2" in made.text
    assert "https://pay.example/i/1?a=1&amp;b=2" in made.html
    assert ("Bonjour Acme," in made.text) == (language == "fr")
    assert ("Dear Acme," in made.text) == (language != "fr")
    if case.startswith("reminder") or case == "invoice":
        assert "FR76" in made.text
        assert "€580.00" in made.text


def test_what_customers_are_called_is_never_markup_nor_a_header() -> None:
    """A name with markup is escaped in HTML, and a name with a line break cannot begin a new header."""
    made = rendered(letter("invoice", "en", seller="Evil\r\nBcc: all@example.com <b>", customer="<script>x</script>"))
    assert "\n" not in made.subject
    assert "<script>" not in made.html
    assert "<b>" not in made.html


def test_a_reminder_reads_as_it_should() -> None:
    """The whole plain text of the mildest reminder after the due date."""
    assert rendered(letter("reminder_after", "en", reason="")).text == (
        "Dear Acme,\n\n"
        "Invoice INV-0007 was due on 1 May 2026; €580.00 is open. We have not received your payment yet.\n\n"
        "If you have paid already, please disregard this message.\n\n"
        "See and pay the invoice: https://pay.example/i/1?a=1&b=2\n\n"
        "By bank transfer to Northwind, IBAN FR76, reference INV-0007.\n\n"
        "Kind regards,\nNorthwind\n"
    )
