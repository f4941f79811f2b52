"""Credits where Stripe finds the tax: credit notes on the invoices that billed the time, as no item may be below zero there (D-217).

A credit of the engine names the charge that it gives back. Once that charge stands on an invoice of Stripe's, the credit is one line of a credit
note on it; Stripe finds the tax. What is still open of the invoice becomes less, what was paid goes to the customer's balance, and so to
the next invoice: an invoice of ours over what is charged instead follows in the same push. Before the charge is final the credit waits; one for the next invoice
waits for its day, or for whatever is billed before.

Worked example: 5 seats at 29.00 were billed for March; 2 from the 15th on. A credit note over 79.52 on the March invoice (5 x 29.00 x 17 / 31), with
15.11 tax 94.63 where it is 19 %; then an invoice over 31.81 and its tax.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from connector.billing.stripe_backend.compiling.outlook import Outlook
from connector.billing.stripe_backend.compiling.wanted import Stands
from connector.billing.stripe_backend.money import stripe_amount
from connector.billing.stripe_backend.settling import NOTED
from connector.billing.stripe_backend.steps import NoteLine, NoteLines, Ref, Step
from connector.core.lines import Line

MOST_LISTED = 100  # lines of an invoice that one call lists; a credit names one of them
MOST_TIERS = 20  # lines that Stripe may make of the last one of an invoice


def is_noted(outlook: Outlook, line: Line) -> bool:
    """Whether a line goes as a credit note, now or once what it credits is billed."""
    return outlook.wanted.automatic_tax and line.net < 0 and line.credits is not None


def standing(outlook: Outlook, line: Line) -> Stands | None:
    """Return where the charge stands that a line credits, None where it is on no invoice of Stripe's (yet)."""
    return outlook.wanted.stands.get(line.credits or "")


def is_out_of_reach(outlook: Outlook, line: Line) -> bool:
    """Whether a credit can never be a credit note: its charge was billed by something else than Stripe, or too far down its invoice."""
    place = standing(outlook, line)
    if place is not None:
        return place.place >= MOST_LISTED
    return any(fact.key == line.credits for fact in outlook.wanted.piece.facts)


def noted(outlook: Outlook, back: Sequence[Line]) -> list[list[tuple[Line, Stands]]]:
    """Return the credits whose charges stand at Stripe, one list for each credit note: of one invoice, and of each of its lines once."""
    found: list[list[tuple[Line, Stands]]] = []
    for line in back:
        place = standing(outlook, line)
        if place is None:
            continue
        fitting = (note for note in found if note[0][1].invoice == place.invoice and all(other.place != place.place for _, other in note))
        note = next(fitting, None)
        if note is None:
            found.append([(line, place)])
        else:
            note.append((line, place))
    return found


def note_steps(outlook: Outlook, notes: Sequence[Sequence[tuple[Line, Stands]]], memos: Sequence[str], marks: dict[str, str]) -> Iterator[Step]:
    """Yield the steps of credit notes: what the lines are called at Stripe, what the note will come to, the note."""
    for number, (note, memo) in enumerate(zip(notes, memos, strict=True), 1):
        name, invoice = f"note-{number}", note[0][1].invoice
        lines = NoteLines(
            step=f"{name}/lines", is_taxed=True,
            lines=tuple(NoteLine(place=s.place, count=s.count, amount=stripe_amount(-line.net, outlook.currency), key=line.key) for line, s in note),
        )  # fmt: skip
        yield listing(f"{name}/lines", invoice, lines.lines)
        yield Step(name=f"{name}/preview", call="credit_notes.preview", params={"invoice": invoice, "lines": lines}, keeps=("post_payment_amount",))
        paid = Ref(step=f"{name}/preview", path="post_payment_amount", or_none=True)
        params = {"invoice": invoice, "lines": lines, "credit_amount": paid, "memo": memo, "metadata": marks}
        yield Step(name=f"{name}/note", call="credit_notes.create", params=params, keeps=("invoice",))


def listing(name: str, invoice: str, lines: Iterable[NoteLine]) -> Step:
    """Return the step that asks what the lines of an invoice are called at Stripe, and what they come to."""
    places = [place for line in lines for place in range(line.place, min(line.place + line.count, MOST_LISTED))]
    keeps = tuple(f"data.{place}.{what}" for place in places for what in NOTED)
    return Step(name=name, call="invoices.line_items.list", target=invoice, params={"limit": MOST_LISTED}, keeps=keeps)


def counted(places: Iterable[int]) -> dict[int, int]:
    """Return how many lines at Stripe each of the lines at these places is at most: up to the next, the last one up to `MOST_TIERS`."""
    found = sorted(set(places))
    return {place: after - place for place, after in zip(found, [*found[1:], found[-1] + MOST_TIERS], strict=True)} if found else {}
