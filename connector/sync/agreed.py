"""What tells whether a record still asks for what was agreed: a digest of terms or of a change, the same in every version."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from connector.core.terms import Change, ContractTerms, Settings
from connector.sync.ledger import canonical

_NO_SETTINGS = Settings(proration="day", tax_rounding="line")
_CRM_LINES = re.compile(rb'"crm_lines":\[[^\]]*\],?')
_LATER = re.compile(rb',"(?:per_parts":1|revises":null|prior":null|is_delta_order":false)(?=[,}])')  # fields that terms had not at first


def terms_digest(value: ContractTerms | Change | None) -> str:
    """Return a digest of what is agreed; line ids (a re-synced quote has new ones) and a contract's settings do not count (deals.md 8).

    A field that terms gained in a later version counts only where it says something: with every field counted, each upgrade would
    make every billed deal look edited. Whoever adds a field to core.terms adds it above.
    """
    if value is None:
        return ""
    value = replace(value, settings=_NO_SETTINGS) if isinstance(value, ContractTerms) else value
    plain = _LATER.sub(b"", _CRM_LINES.sub(b"", canonical(value)))
    return hashlib.blake2b(plain, digest_size=16).hexdigest()
