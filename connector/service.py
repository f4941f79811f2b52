"""The pages' services over the books and the ledger, and the daemon's jobs: what runs for as long as the process does.

Pages read snapshots of their own and never bill; the jobs run one at a time on one thread (decision D-35).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from connector import __version__, app
from connector.billing import books
from connector.billing.books import InvoiceSheet, SheetLine
from connector.billing.figures import figures
from connector.config import Config
from connector.documents import formats
from connector.documents.texts import texts_in
from connector.documents.views import (
    BankTransfer,
    InvoicePage,
    InvoicePageLine,
    InvoiceStatus,
    Party,
    TaxLine,
)
from connector.errors import Problem
from connector.kit import observe
from connector.kit.clock import ShiftedClock
from connector.ports import Unit
from connector.sync import ledger
from connector.web.factory import create_app
from connector.web.server import WebServer
from connector.web.views import (
    Access,
    Check,
    ConsoleView,
    Count,
    CountGroup,
    HeldDeal,
    Notice,
    PollRow,
    RunRow,
    Tone,
    WebServices,
)

_HELD_SHOWN = 100
_STATUSES: Mapping[str, InvoiceStatus] = {
    "draft": "draft", "open": "open", "past_due": "past_due", "paid": "paid", "void": "void", "uncollectible": "uncollectible",
}  # fmt: skip
_TONES: Mapping[str, Tone] = {"written": "good", "applied": "busy", "waiting": "warn", "parked": "bad"}


@dataclass(slots=True)
class Watch:
    """What the pages show of the jobs; filled by whoever runs them."""

    runs: Callable[[], Sequence[RunRow]] = field(default=lambda: ())
    checks: Callable[[], Sequence[Check]] = field(default=lambda: ())
    notices: Callable[[], Sequence[Notice]] = field(default=lambda: ())


# ---------------------------------------------------------------- the invoice page


def invoice_page(sheet: InvoiceSheet, config: Config) -> InvoicePage:
    """Return an invoice as its page shows it, every amount and date written out in the customer's language."""
    language = sheet.language or config.crm.language

    def money(minor: int) -> str:
        return formats.amount_text(minor, sheet.currency, language)

    seller = config.seller
    used = sheet.ending_balance - sheet.starting_balance
    return InvoicePage(
        language=language,
        status=_STATUSES[sheet.status],
        number=sheet.number,
        seller=Party(name=seller.name, address=seller.address, email=seller.email, tax_id=seller.vat_id),
        customer=Party(name=sheet.customer, address=sheet.address, email=sheet.email, tax_id=sheet.tax_id),
        currency=sheet.currency.upper(),
        lines=tuple(_page_line(line, sheet, language) for line in sheet.lines),
        subtotal=money(sheet.subtotal),
        total=money(sheet.total),
        due=money(sheet.amount_remaining),
        issued_on=formats.date_text(sheet.issued_on, language),
        due_on=formats.date_text(sheet.due_on, language),
        paid_on=formats.date_text(sheet.paid_on, language),
        po_number=sheet.po_number,
        memo=sheet.memo,
        discount=money(-sheet.discount) if sheet.discount else "",
        taxes=_tax_lines(sheet, language, money),
        tax_note=_tax_note(sheet.tax_note, language),
        balance=money(-used) if used else "",
        paid=money(sheet.amount_paid) if sheet.amount_paid else "",
        bank=BankTransfer(iban=seller.iban, holder=seller.name, reference=sheet.number) if seller.iban else None,
    )


def _page_line(line: SheetLine, sheet: InvoiceSheet, language: str) -> InvoicePageLine:
    def money(minor: int) -> str:
        return formats.amount_text(minor, sheet.currency, language)

    has_unit = line.unit_amount is not None and not line.is_proration
    return InvoicePageLine(
        description=line.description or line.product,
        amount=money(line.amount),
        period="" if line.kind == "one_time" else formats.period_text(line.start.date(), line.end.date(), language),
        quantity=formats.quantity_text(line.quantity, language),
        unit_price=formats.unit_price_text(line.unit_amount, sheet.currency, language)
        if has_unit and line.unit_amount is not None
        else "",
        discount=money(-line.discount) if line.discount else "",
        tax=", ".join(rate for rate, _, _ in line.taxes),
        details=tuple(f"{coupon}: {money(-amount)}" for coupon, amount in line.discounts if amount),
    )


def _tax_lines(sheet: InvoiceSheet, language: str, money: Callable[[int], str]) -> tuple[TaxLine, ...]:
    sums: dict[str, int] = {}
    for line in sheet.lines:
        for rate, amount, is_inside in line.taxes:
            label = texts_in(language)["tax_inside"].format(rate=rate) if is_inside else rate
            sums[label] = sums.get(label, 0) + amount
    return tuple(TaxLine(label=label, amount=money(amount)) for label, amount in sums.items())


def _tax_note(note: str, language: str) -> str:
    """Return why an invoice bears no tax in the customer's language; the place of `outside:PLACE` is a code or a name."""
    if not note:
        return ""
    kind, _, place = note.partition(":")
    return texts_in(language)[f"tax_{kind}"].format(place=formats.place_text(place, language))


# ---------------------------------------------------------------- the console


def console_view(house: app.House, unit: Unit, watch: Watch) -> ConsoleView:
    """Return the console's first page from one snapshot of ledger and books."""
    now = house.clock.now()
    held = [d for state in ("parked", "waiting") for d in ledger.list_deals(unit, state, "", _HELD_SHOWN)]
    held += ledger.flagged_deals(unit, _HELD_SHOWN)
    is_shifted = isinstance(house.clock, ShiftedClock)
    return ConsoleView(
        where=f"{house.seam.org.name} ({house.seam.org.id})",
        now=time_text(now, house.config.timezone),
        version=__version__,
        groups=(_deal_counts(unit), _book_counts(unit)),
        runs=tuple(watch.runs()),
        polls=_polls(house, unit, now),
        held=tuple(_held(house, d) for d in held[:_HELD_SHOWN]),
        held_note=f"{len(held)} deals, the first {_HELD_SHOWN} shown" if len(held) > _HELD_SHOWN else "",
        clock="Demo clock: it runs on from the end of the story" if is_shifted else "",
        notices=tuple(watch.notices()),
    )


def time_text(instant: datetime, timezone: str) -> str:
    """Return an instant as the console shows it, in the business time zone."""
    return instant.astimezone(ZoneInfo(timezone)).strftime("%d %b %Y %H:%M %Z")


def _deal_counts(unit: Unit) -> CountGroup:
    return CountGroup(
        title="Deals",
        counts=tuple(
            Count(label=state, value=f"{n:,}", tone=_TONES.get(state, "plain"))
            for state, n in sorted(ledger.counts(unit).items())
        ),
    )


def _book_counts(unit: Unit) -> CountGroup:
    found = figures(unit)
    counts = [Count(label="contracts", value=f"{found.contracts:,}"), Count(label="invoices", value=f"{found.invoices:,}")]
    for currency, (billed, due) in found.by_currency.items():
        counts.append(Count(label=f"billed, {currency.upper()}", value=formats.amount_text(billed, currency, "en")))
        counts.append(Count(label=f"open, {currency.upper()}", value=formats.amount_text(due, currency, "en")))
    return CountGroup(title="Books", counts=tuple(counts))


def _polls(house: app.House, unit: Unit, now: datetime) -> tuple[PollRow, ...]:
    rows = []
    for source in house.seam.sources:
        last = ledger.cursor(unit, source.object).complete_at
        if last is None:
            rows.append(PollRow(source=source.name, at="never read to the end", tone="warn"))
            continue
        age_s = (now - ledger.instant(last)).total_seconds()
        is_old = 0 < house.config.billing.max_crm_age_s < age_s
        rows.append(
            PollRow(
                source=source.name,
                at=time_text(ledger.instant(last), house.config.timezone),
                age=f"{formats.length_text(age_s)} ago",
                tone="bad" if is_old else "good",
            )
        )
    return tuple(rows)


def _held(house: app.House, deal: ledger.Deal) -> HeldDeal:
    problem = deal.problem or deal.write_problem or Problem(code="waiting", message="Waiting to be billed.")
    record = deal.owner_record or problem.where.record or deal.name
    return HeldDeal(
        label=deal.label,
        record=record,
        state=deal.state,
        message=problem.message,
        hint=problem.hint,
        url=f"{house.seam.org.instance_url}/{record}",
        tone="bad" if deal.state == "parked" else "warn",
    )


# ---------------------------------------------------------------- the door


def web_services(house_now: Callable[[], app.House], watch: Watch) -> WebServices:
    """Return everything the pages need, as functions over the house as it is now (a reload may have changed it)."""

    def invoice_by_token(token: str) -> InvoicePage | None:
        house = house_now()
        today = house.clock.now().astimezone(ZoneInfo(house.config.timezone)).date()
        with house.database.read() as unit:
            sheet = books.invoice_by_token(unit, token, today)
        return None if sheet is None else invoice_page(sheet, house.config)

    def console() -> ConsoleView:
        house = house_now()
        with house.database.read() as unit:
            return console_view(house, unit, watch)

    def metrics() -> bytes:
        house = house_now()
        with house.database.read() as unit:
            observe.gauge_deals(ledger.counts(unit))
        observe.CRM_CALLS.set(house.crm.usage().calls)
        return observe.render_metrics()

    web = house_now().config.web
    return WebServices(
        invoice_by_token=invoice_by_token,
        console=console,
        ready=lambda: [*watch.checks(), *readiness(house_now())],
        metrics=metrics,
        now=lambda: datetime.now(UTC),
        access=Access(password=web.admin_password, secret=web.secret, is_https=web.public_url.startswith("https://")),
    )


def readiness(house: app.House) -> list[Check]:
    """Return whether the database answers and how old the last complete poll is; asks nothing outside."""
    with house.database.read() as unit:
        last = ledger.last_complete_poll(unit, [s.object for s in house.seam.sources])
    is_fresh = last is not None and house.clock.now() - ledger.instant(last) < timedelta(hours=1)
    return [
        Check(name="database", is_ok=True),
        Check(name="billing", is_ok=True, detail="internal engine"),
        Check(
            name="crm",
            is_ok=is_fresh,
            detail=f"last read to the end {last or 'never'}",
            hint="" if is_fresh else "Look at the daemon's log and `connector check`.",
        ),
    ]


def listen_address(config: Config) -> tuple[str, int]:
    """Return host and port of `web.listen`."""
    host, _, port = config.web.listen.rpartition(":")
    return host.strip("[]"), int(port)


def web_server(house_now: Callable[[], app.House], watch: Watch) -> WebServer:
    """Return the pages' server, not yet started."""
    host, port = listen_address(house_now().config)
    return WebServer(create_app(web_services(house_now, watch)), host, port)


@contextmanager
def pages(house: app.House, watch: Watch | None = None) -> Iterator[str]:
    """Serve the pages while the block runs; give their address."""
    server = web_server(lambda: house, watch or Watch())
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
