"""Whether the lines that were read add up to what the record says they do: a line that we were not shown shows in nothing else (P16).

It informs and never blocks: the deal is billed by its lines, and its message says that the two differ until they agree. Every line
counts, with its discount and also where billing skips it, because the CRM's own roll-up counts them all. Each line may be half a unit
of the currency off, as rounding may leave it. Worked example: lines of 120.00 and 80.00, Amount 1,000.00: 800.00 are missing; lines of
33.335 and 0.005 rounded to 33.34 and 0.01, Amount 33.34: nothing is said.
"""

from __future__ import annotations

from decimal import Decimal

from connector.core.money import digits, minor
from connector.errors import Problem, Where
from connector.ports import Desired
from connector.sync.comparing import at
from connector.sync.ledger import Record
from connector.sync.messages import money_text, sentence
from connector.sync.seam import Source

DIFFERS = "lines-differ"


def difference(source: Source, record: Record, desired: Desired, *, currency: str, language: str) -> Problem | None:
    """Return that lines and roll-up of a won record differ, in words; *currency*: the org's, where the record names none."""
    if source.total is None or source.line_total is None or not record.lines:
        return None
    said, each = at(record.fields or {}, source.total), [at(line, source.line_total) for line in record.lines]
    if said is None or any(amount is None for amount in each):
        return None
    code = (desired.currency or currency).lower()
    ours, theirs = sum(map(Decimal, each), Decimal(0)), Decimal(said)
    if abs(ours - theirs) <= Decimal(len(each) + 1).scaleb(-digits(code)) / 2:
        return None
    texts = [money_text(int(minor(amount, code).to_integral_value()), code, language) for amount in (ours, theirs)]
    text = sentence("differs_from_lines", language, ours=texts[0], field=source.total, theirs=texts[1])
    return Problem(code=DIFFERS, message=text, where=Where(object=record.object, record=record.id, field=source.total))
