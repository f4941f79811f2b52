"""Where a customer is: a country from what the CRM says, and the areas whose VAT differs from their country's.

Worked example: "Deutschland", "Germany" and "de" are DE. Spain with the postal code 35001 is the Canary Islands (IC), outside
the EU's VAT area; Portugal with 9000-012 is Madeira, inside it with a rate of its own.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from babel import Locale

from connector.ports import Address

# CRMs hold names in the language of whoever typed them; the first language that knows a name decides.
_LANGUAGES = ("en", "fr", "de", "es", "it", "nl", "pt")
_ALIASES = {
    "uk": "GB", "great britain": "GB", "england": "GB", "scotland": "GB", "wales": "GB", "northern ireland": "GB", "xi": "GB",
    "usa": "US", "u s a": "US", "united states of america": "US", "el": "GR", "hellas": "GR", "czech republic": "CZ",
    "holland": "NL", "the netherlands": "NL", "republic of ireland": "IE", "slovak republic": "SK",
}  # fmt: skip

# Parts of a member state with a code of their own, and the state they belong to.
PARTS = {
    "IC": "ES", "EA": "ES", "GP": "FR", "MQ": "FR", "GF": "FR", "RE": "FR", "YT": "FR", "BL": "FR", "MF": "FR", "PM": "FR",
    "WF": "FR", "PF": "FR", "NC": "FR", "TF": "FR", "AX": "FI",
    "Heligoland": "DE", "Büsingen": "DE", "Livigno": "IT", "Campione d’Italia": "IT", "Mount Athos": "GR",
}  # fmt: skip

# Postal codes, by what they begin with, of parts outside the VAT area or with a rate of their own.
_POSTAL = {
    "ES": {"35": "IC", "38": "IC", "51": "EA", "52": "EA"},
    "FR": {
        "971": "GP", "97133": "BL", "97150": "MF", "972": "MQ", "973": "GF", "974": "RE", "975": "PM", "976": "YT", "977": "BL",
        "978": "MF", "984": "TF", "986": "WF", "987": "PF", "988": "NC",
    },
    "FI": {"22": "AX"},
    "DE": {"27498": "Heligoland", "78266": "Büsingen"},
    "IT": {"23041": "Livigno", "22061": "Campione d’Italia"},
    "GR": {"63086": "Mount Athos"},
    "PT": {**dict.fromkeys(("90", "91", "92", "93", "94"), "PT-30"), **dict.fromkeys(("95", "96", "97", "98", "99"), "PT-20")},
    # these Austrian villages are reached from Germany alone, and have a German code besides their own
    "AT": dict.fromkeys(("6691", "6991", "6992", "6993", "87491", "87567", "87568", "87569"), "AT-JM"),
}  # fmt: skip


def _plain(text: str) -> str:
    """Return a name without accents, signs and case, as it is compared."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^\w]+", " ", letters).casefold().split())


@cache
def _names(language: str) -> dict[str, str]:
    """Return the codes of countries by their plain names in a language: reading a language takes a while, so only as far as needed."""
    found: dict[str, str] = {}
    for code, name in Locale.parse(language).territories.items():
        if len(code) == 2 and code.isalpha() and code not in ("EU", "EZ", "UN", "ZZ", "XA", "XB", "QO"):
            found.setdefault(_plain(name), code)
    return found


@cache
def _codes() -> frozenset[str]:
    return frozenset(code.casefold() for code in _names(_LANGUAGES[0]).values())


def country_code(text: str) -> str | None:
    """Return the ISO 3166 code of a country that is given as a code or a name; None: nobody knows it."""
    plain = _plain(text)
    if plain in _ALIASES:
        return _ALIASES[plain]
    if plain in _codes():
        return plain.upper()
    return next((code for language in _LANGUAGES if (code := _names(language).get(plain))), None)


def country_name(code: str) -> str:
    """Return a code's English name; what is no code stays as it is."""
    return str(Locale.parse("en").territories.get(code.split("-", maxsplit=1)[0], code))


def needs_postal_code(country: str) -> bool:
    """Whether a country has parts that only the postal code tells apart."""
    return country in _POSTAL


def place_of(country: str, address: Address) -> str:
    """Return the country, or the part of it that the postal code names where that has a VAT of its own; Monaco counts as France."""
    code = re.sub(r"^[A-Z]{1,3}(?=[\s-]?\d)|[\s-]", "", address.postal_code.strip().upper())  # D-27498 is 27498
    known = _POSTAL.get(country, {})
    for length in (5, 4, 3, 2):
        if code[:length] in known:
            return known[code[:length]]
    return "FR" if country == "MC" else country
