"""The page of billing examples says what the program does."""

from __future__ import annotations

from pathlib import Path

from billing_page import page


def test_the_page_is_what_the_program_prints() -> None:
    """docs/billing.md equals what its scenarios yield now; if not, read the difference and run `make docs`."""
    written = Path(__file__).parents[1] / "docs" / "billing.md"
    assert written.read_text(encoding="utf-8") == page()
