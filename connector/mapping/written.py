"""What we write to the CRM, source by source: which words, how long a text, how large an amount; so that a field can be held against it.

Example: `status` is one of a few words of up to 15 characters: a text field of 10 cuts "Needs attention", and a restricted
picklist without that value refuses it too. What is too long is cut or left out when it is written (sync.fitting), so that a field too
short is a warning: `warn-text-too-short` where the usual value does not fit, `warn-short-text` where only the longest does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from connector.core.money import digits
from connector.mapping.language import WRITABLE
from connector.mapping.report import listed
from connector.ports import FieldInfo, Org

_STATUS = (
    "Draft", "Scheduled", "Trialing", "Active", "Past due", "Unpaid", "Paused", "Withdrawn", "Canceled", "Completed",
    "Queued", "Needs attention", "Blocked",
)  # fmt: skip
_QUOTED = ("Draft", "Quoted", "Accepted", "Declined", "Expired", "Outdated", "Replaced")
_INVOICE = ("Draft", "Open", "Paid", "Void", "Uncollectible", "Issued")
_WHOLE_DIGITS = 9
_USUAL_DECIMALS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a text field must take: *least* characters for the usual value, *most* for the longest we know of; *words* where it is one of few.

    is_address - counted behind `web.public_url`.
    """

    least: int
    most: int = 0
    words: tuple[str, ...] = ()
    is_address: bool = False


_NEEDS: Mapping[str, Mapping[str, Need]] = {
    "deal": {
        "status": Need(least=15, words=_STATUS),
        "message": Need(least=255, most=1000),
        "contract_id": Need(least=22),
        "last_invoice_number": Need(least=12, most=20),
        "last_invoice_status": Need(least=13, words=_INVOICE),
        "last_invoice_url": Need(least=53, is_address=True),
        "quote_number": Need(least=10, most=20),
        "quote_url": Need(least=35, is_address=True),
        "quote_pdf_url": Need(least=39, is_address=True),
        "accepted_by": Need(least=40, most=120),
    },
    "customer": {"customer_id": Need(least=22), "portal_url": Need(least=58, is_address=True)},
    "invoice": {
        "invoice_id": Need(least=21),
        "number": Need(least=12, most=20),
        "status": Need(least=13, words=_INVOICE),
        "type": Need(least=11, words=("Invoice", "Credit note")),
        "contract_id": Need(least=22),
        "currency": Need(least=3),
        "url": Need(least=53, is_address=True),
    },
}
"""Per scope and source: ids have 21 or 22 characters, a link 50 or less behind `/i/` or `/portal/`, 32 behind `/q/`."""


def words_of(scope: str, source: str, object_name: str) -> tuple[str, ...]:
    """Return the words that a source may write to an object; () where they are not a few."""
    need = _NEEDS.get(scope, {}).get(source)
    words = need.words if need else ()
    return tuple(dict.fromkeys((*words, *_QUOTED))) if words is _STATUS and object_name == "Quote" else words


def misfits(
    info: FieldInfo, object_name: str, source: str, *, scope: str, org: Org | None, public_url: str
) -> Iterator[tuple[str, str, str]]:
    """Yield (code, message, hint) for everything of what *source* writes that the field does not take."""
    full = f"{object_name}.{info.name}"
    if WRITABLE[scope][source] == "money":
        yield from _digits(info, full, org)
    elif info.type == "picklist":
        yield from _words(info, full, source, words_of(scope, source, object_name))
    elif info.type != "reference" and (need := _NEEDS[scope].get(source)):
        yield from _length(info, full, need, public_url)


def _words(info: FieldInfo, full: str, source: str, words: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    if not info.is_restricted:
        return
    if not words:
        yield "missing-picklist-value", f"{full} takes the values of its list only; {source} is free text.", "Make it a text field."
    elif missing := [w for w in words if w not in info.picklist]:
        hint = "Add the values to the picklist, let it take others too, or make it a text field."
        named = listed(f'"{word}"' for word in missing)
        yield "missing-picklist-value", f"{full} has no active value {named}; {source} writes it.", hint


def _length(info: FieldInfo, full: str, need: Need, public_url: str) -> Iterator[tuple[str, str, str]]:
    before = len(public_url.rstrip("/")) if need.is_address else 0
    least, most = before + need.least, before + max(need.least, need.most)
    if 0 < info.length < least:
        message = f"{full} takes {info.length} characters; what is written has {least:,}: a text is cut, a number or link is left out."
        yield "warn-text-too-short", message, f"Make it at least {most:,} long."
    elif 0 < info.length < most:
        message = f"{full} takes {info.length} characters; what is written may have {most:,}, and what is longer is cut."
        yield "warn-short-text", message, f"Make it at least {most:,} long."


def _digits(info: FieldInfo, full: str, org: Org | None) -> Iterator[tuple[str, str, str]]:
    if not info.precision:
        return
    if info.scale < (wanted := decimals_of(org)):
        message = f"{full} keeps {_places(info.scale)}; amounts have {wanted}, and the CRM rounds them."
        yield "warn-few-decimals", message, f"Give it {wanted} decimal places."
    if (whole := info.precision - info.scale) < _WHOLE_DIGITS:
        message = f"{full} has room for {whole} digits before the point; the CRM refuses a larger amount."
        yield "warn-few-digits", message, f"Give it at least {_WHOLE_DIGITS} digits before the point."


def decimals_of(org: Org | None) -> int:
    """Return the decimal places of the org's currency; 2 where it has several or does not say."""
    if org is None or org.is_multi_currency or not org.currency:
        return _USUAL_DECIMALS
    try:
        return digits(org.currency)
    except ValueError:
        return _USUAL_DECIMALS


def price_misfit(info: FieldInfo, org: Org | None) -> tuple[str, str] | None:
    """Return (message, hint) where a field that prices are read from keeps fewer decimals than the org's currency has."""
    wanted = decimals_of(org)
    if not info.precision or info.scale >= wanted:
        return None
    return f"{info.name} keeps {_places(info.scale)}: a price with {wanted} is rounded in the CRM before it is billed.", (
        f"Give it {wanted} decimal places or more."
    )


def _places(scale: int) -> str:
    return "no decimal places" if scale == 0 else f"{scale} decimal place{'s' if scale > 1 else ''}"
