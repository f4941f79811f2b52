"""How amounts, dates and lengths of time are written on pages; formats only, never arithmetic on money (decision D-12).

Digits of a currency are ISO 4217's, not the locale data's: 13 currencies differ.
`amount_text(108000, "eur", "en")` is "€1,080.00"; in "fr" it is "1 080,00 €".
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache

from babel import Locale
from babel.dates import format_date
from babel.numbers import NumberPattern, format_decimal, get_currency_symbol, parse_pattern

from connector.core.money import digits
from connector.documents.texts import known_language

UNIT_PRICE_PLACES = 12


def amount_text(amount_minor: int, currency: str, language: str) -> str:
    """Return an amount in minor units as the language writes money."""
    return _money(Decimal(amount_minor), currency, language, more_places=0)


def unit_price_text(unit_amount: Decimal, currency: str, language: str) -> str:
    """Return a price in minor units as the language writes money, with all of its sub-cent places."""
    return _money(unit_amount, currency, language, more_places=UNIT_PRICE_PLACES)


def _money(minor: Decimal, currency: str, language: str, *, more_places: int) -> str:
    locale, code, places = known_language(language), currency.upper(), digits(currency)
    pattern = _pattern(locale, code, places, more_places)
    written: str = pattern.apply(minor.scaleb(-places), locale, currency=code, currency_digits=False)
    return written


@lru_cache(maxsize=256)
def _pattern(locale: str, currency: str, places: int, more_places: int) -> NumberPattern:
    """Return the locale's way to write money, with *places* decimals and up to *more_places* where they are not zero."""
    standard = Locale.parse(locale).currency_formats["standard"].pattern
    fraction = "." + "0" * places + "#" * more_places if places + more_places else ""
    if get_currency_symbol(currency, locale=locale)[-1].isalpha():
        standard = standard.replace("¤#", "¤\xa0#")  # CLDR puts a space between letters and digits: CHF 5, not CHF5
    return parse_pattern(standard.replace(".00", fraction))


def place_text(place: str, language: str) -> str:
    """Return a country's code as the language names it; what is no code stays as it is."""
    return str(Locale.parse(known_language(language)).territories.get(place, place))


def quantity_text(quantity: Decimal | None, language: str) -> str:
    """Return a quantity without trailing zeros; None (usage not yet known) is empty."""
    if quantity is None:
        return ""
    return format_decimal(quantity, locale=known_language(language), decimal_quantization=False)


def date_text(day: date | None, language: str) -> str:
    """Return "1 Apr 2026" or "1 avr. 2026"; None is empty."""
    if day is None:
        return ""
    return format_date(day, "d MMM y", locale=known_language(language))


def period_text(start: date, end: date, language: str) -> str:
    """Return the half-open period [start, end) with its last day included, the shared month and year said once.

    [2026-04-01, 2026-05-01) is "1 – 30 Apr 2026".
    """
    last = max(start, end - timedelta(days=1))
    if start == last:
        return date_text(start, language)
    shared = "d MMM y"
    if start.year == last.year:
        shared = "d" if start.month == last.month else "d MMM"
    return f"{format_date(start, shared, locale=known_language(language))} – {date_text(last, language)}"


def length_text(seconds: float) -> str:
    """Return a length of time in its two largest units: "0.4 s", "12 s", "3 min 5 s", "2 h 10 min", "3 d 4 h"."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    for size, unit, smaller_size, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"
