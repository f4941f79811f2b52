"""The currencies that Stripe presents prices in. Source: docs.stripe.com/currencies."""

from __future__ import annotations

from connector.lookalike.stripe.account import Refused

CURRENCIES = frozenset({
    "usd", "aed", "afn", "all", "amd", "ang", "aoa", "ars", "aud", "awg", "azn", "bam", "bbd", "bdt", "bgn", "bhd",
    "bif", "bmd", "bnd", "bob", "brl", "bsd", "bwp", "byn", "bzd", "cad", "cdf", "chf", "clp", "cny", "cop", "crc",
    "cve", "czk", "djf", "dkk", "dop", "dzd", "egp", "etb", "eur", "fjd", "fkp", "gbp", "gel", "gip", "gmd", "gnf",
    "gtq", "gyd", "hkd", "hnl", "htg", "huf", "idr", "ils", "inr", "isk", "jmd", "jod", "jpy", "kes", "kgs", "khr",
    "kmf", "krw", "kwd", "kyd", "kzt", "lak", "lbp", "lkr", "lrd", "lsl", "mad", "mdl", "mga", "mkd", "mmk", "mnt",
    "mop", "mur", "mvr", "mwk", "mxn", "myr", "mzn", "nad", "ngn", "nio", "nok", "npr", "nzd", "omr", "pab", "pen",
    "pgk", "php", "pkr", "pln", "pyg", "qar", "ron", "rsd", "rub", "rwf", "sar", "sbd", "scr", "sek", "sgd", "shp",
    "sle", "sos", "srd", "std", "szl", "thb", "tjs", "tnd", "top", "try", "ttd", "twd", "tzs", "uah", "ugx", "uyu",
    "uzs", "vnd", "vuv", "wst", "xaf", "xcd", "xcg", "xof", "xpf", "yer", "zar", "zmw",
})  # fmt: skip


def check_currency(said: str, param: str = "currency") -> str:
    """Return a currency in lower case. Raises: Refused."""
    if said.lower() not in CURRENCIES:
        raise Refused(
            f"Invalid currency: {said.lower()}. Stripe currently supports these currencies: {', '.join(sorted(CURRENCIES))}",
            param=param,
        )
    return said.lower()


_WHOLE = frozenset({
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf",
})  # fmt: skip
_THREE = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


def amount_text(minor: int, currency: str) -> str:
    """Return an amount of Stripe's as people read it: 1050 usd is `10.50 USD`."""
    digits = 0 if currency in _WHOLE else 3 if currency in _THREE else 2
    whole, part = divmod(abs(minor), 10**digits)
    text = f"{whole}.{part:0{digits}d}" if digits else str(whole)
    return f"{'-' if minor < 0 else ''}{text} {currency.upper()}"
