"""The pages' services over the books and the ledger, and the daemon's jobs: what runs for as long as the process does.

Pages read snapshots of their own and never bill; the jobs run one at a time on one thread (decision D-35).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from connector import __version__, app, backends, cashier, hooked, portal, quoted, shown
from connector.billing import outbox
from connector.billing.figures import chasing, figures
from connector.billing.stripe_backend import pushes
from connector.billing.stripe_backend.reading import events
from connector.config import Config
from connector.documents import formats
from connector.errors import Problem
from connector.kit import observe
from connector.kit.clock import ShiftedClock
from connector.ports import Unit
from connector.sync import budget, ledger, sweep
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
_MAILS_SHOWN = 5
_TONES: Mapping[str, Tone] = {"written": "good", "applied": "busy", "waiting": "warn", "parked": "bad"}


@dataclass(slots=True)
class Watch:
    """What the pages show of the jobs; filled by whoever runs them."""

    runs: Callable[[], Sequence[RunRow]] = field(default=lambda: ())
    checks: Callable[[], Sequence[Check]] = field(default=lambda: ())
    notices: Callable[[], Sequence[Notice]] = field(default=lambda: ())


# ---------------------------------------------------------------- the console


def console_view(house: app.House, unit: Unit, watch: Watch) -> ConsoleView:
    """Return the console's first page from one snapshot of ledger and books."""
    now = house.clock.now()
    held = [d for state in ("parked", "waiting") for d in ledger.list_deals(unit, state, "", _HELD_SHOWN)]
    held += ledger.flagged_deals(unit, _HELD_SHOWN)
    is_shifted = isinstance(house.clock, ShiftedClock)
    return ConsoleView(
        where=f"{house.seam.org.name} ({house.seam.org.id}{', sandbox' if house.seam.org.is_sandbox else ''})",
        now=time_text(now, house.config.timezone),
        version=__version__,
        groups=(_deal_counts(unit), _book_counts(unit), *_stripe_counts(house, unit), *_chasing_counts(unit), *_sweep_counts(house, unit), *_call_counts(house)),
        runs=tuple(watch.runs()),
        polls=_polls(house, unit, now),
        held=tuple(_held(house, d) for d in held[:_HELD_SHOWN]),
        held_note=f"{len(held)} deals, the first {_HELD_SHOWN} shown" if len(held) > _HELD_SHOWN else "",
        clock="Demo clock: it runs on from the end of the story" if is_shifted else "",
        notices=(*watch.notices(), *_budget_notices(house), *_paused_notices(house), *_mail_notices(unit)),
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


def _stripe_counts(house: app.House, unit: Unit) -> tuple[CountGroup, ...]:
    """Return which Stripe account bills, and what is on its way there; nothing where our own engine bills."""
    if house.config.billing.backend != "stripe":
        return ()
    on_its_way, refused = pushes.waiting(unit), pushes.refused(unit)
    counts = (
        Count(label=f"{house.config.stripe.mode} mode", value=ledger.meta(unit, backends.ACCOUNT) or "not bound yet"),
        Count(label="being sent", value=f"{on_its_way:,}", tone="busy" if on_its_way else "plain"),
        Count(label="refused there", value=f"{refused:,}", tone="bad" if refused else "plain"),
    )
    return (CountGroup(title="Stripe", counts=counts),)


def _chasing_counts(unit: Unit) -> tuple[CountGroup, ...]:
    """Return how what is not paid is followed up; nothing where there is nothing."""
    found = chasing(unit)
    tones: dict[str, Tone] = {"past due": "warn", "charge failed": "warn", "unpaid": "bad", "mails failed": "bad", "mails waiting": "busy"}
    counts = tuple(Count(label=label, value=f"{n:,}", tone=tones.get(label, "plain")) for label, n in found.items() if n)
    return (CountGroup(title="Open invoices", counts=counts),) if counts else ()


def _call_counts(house: app.House) -> tuple[CountGroup, ...]:
    """Return the calls that the org has used and has left; nothing before the CRM has told."""
    found = budget.budget_of(house.seam)
    if not found.limit:
        return ()
    allowed = int(found.limit * found.share)
    tone: Tone = "plain" if found.state == "within" else "bad" if found.state == "spent" else "warn"
    counts = (
        Count(label="used", value=f"{found.used:,}", tone=tone),
        Count(label="left", value=f"{found.left:,}"),
        Count(label="allowed by crm.daily_api_budget", value=f"{allowed:,}"),
    )
    return (CountGroup(title="CRM calls of 24 hours", counts=counts),)


def _budget_notices(house: app.House) -> list[Notice]:
    found = budget.budget_of(house.seam)
    if found.state == "within":
        return []
    title = "The CRM's calls are used up" if found.state == "spent" else "The CRM is asked less often than usual"
    return [Notice(title=title, text=found.text(), hint=found.hint(), tone="bad" if found.state == "spent" else "warn")]


def _paused_notices(house: app.House) -> list[Notice]:
    return [
        Notice(title=f"The source {name} is paused", text=problem.message, hint=f"{problem.hint} It goes on by itself then.", tone="bad")
        for name, problem in house.seam.paused.items()
    ]


def _sweep_counts(house: app.House, unit: Unit) -> tuple[CountGroup, ...]:
    """Return what the last sweeps of the sources found; nothing before the first."""
    stands = [s for s in (sweep.last_of(unit, source.object) for source in house.seam.sources) if s is not None]
    if not stands:
        return ()
    found = [s.found for s in stands]
    counts = [Count(label="compared", value=f"{sum(f.checked for f in found):,}")]
    drift = sum(f.drift for f in found)
    counts.append(Count(label="drift", value=f"{drift:,}", tone="warn" if drift else "good"))
    for label, name in (("not seen before", "unseen"), ("changes missed", "changed"), ("formulas", "calculated"), ("deleted for good", "gone")):
        n = sum(getattr(f, name) for f in found)
        counts += [Count(label=label, value=f"{n:,}", tone="warn")] if n else []
    is_done = all(s.done_at for s in stands)
    at = time_text(ledger.instant(min(s.started_at for s in stands)), house.config.timezone)
    return (CountGroup(title=f"Compared with the CRM, {at}{'' if is_done else ', not finished'}", counts=tuple(counts)),)


def _mail_notices(unit: Unit) -> list[Notice]:
    """Return the mails that were given up, the latest ones."""
    found = []
    for mail, invoice in outbox.failed(unit, _MAILS_SHOWN):
        number = invoice or str(mail.data.get("number", ""))
        title = f"The {mail.kind.replace('_', ' ')} mail of {number} could not be delivered"
        hint = f"Correct the address in the CRM, then `connector {'invoices' if invoice else 'quotes'} send {number}`."
        found.append(Notice(title=title, text=f"{mail.recipient or 'Nobody'}: {mail.error}", hint=hint, tone="bad"))
    return found


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

    def console() -> ConsoleView:
        house = house_now()
        with house.database.read() as unit:
            return console_view(house, unit, watch)

    def metrics() -> bytes:
        house = house_now()
        with house.database.read() as unit:
            observe.gauge_deals(ledger.counts(unit))
            observe.gauge_drift([asdict(s.found) for source in house.seam.sources if (s := sweep.last_of(unit, source.object)) is not None])
            if house.config.billing.backend == "stripe":
                read_at = events.read_at(unit)
                sent = {"waiting": pushes.waiting(unit), "refused": pushes.refused(unit)}
                observe.gauge_stripe(sent, events.kept(unit), read_at.timestamp() if read_at else 0)
        observe.CRM_CALLS.set(house.crm.usage().calls)
        return observe.render_metrics()

    web, door = house_now().config.web, portal.Door()
    return WebServices(
        invoice_by_token=lambda token: shown.page(house_now(), token),
        invoice_pdf_by_token=lambda token: shown.document(house_now(), token),
        quote_by_token=lambda token: quoted.page(house_now(), token),
        quote_pdf_by_token=lambda token: quoted.document(house_now(), token),
        quote_answer=lambda token, given: quoted.answer(house_now(), token, given),
        portal_by_token=lambda token: door.open(house_now(), token),
        portal_ask=lambda token, asked: portal.ask(house_now(), token, asked),
        console=console,
        console_invoices=lambda status, search, before: cashier.listed(house_now(), status, search, before),
        console_invoice=lambda name: cashier.invoice(house_now(), name),
        console_pay=lambda name, given: cashier.record(house_now(), name, given),
        stripe_event=lambda raw, signature: hooked.taken(house_now(), raw, signature),
        ready=lambda: [*watch.checks(), *readiness(house_now())],
        metrics=metrics,
        now=lambda: datetime.now(UTC),
        access=Access(password=web.admin_password, secret=web.secret, is_https=web.public_url.startswith("https://")),
    )


def readiness(house: app.House) -> list[Check]:
    """Return whether the database answers and how old the last complete poll is; asks nothing outside."""
    with house.database.read() as unit:
        last = ledger.last_complete_poll(unit, [s.object for s in house.seam.sources])
    calls = budget.budget_of(house.seam)
    is_fresh = last is not None and house.clock.now() - ledger.instant(last) < timedelta(hours=1)
    return [
        Check(name="database", is_ok=True),
        Check(name="billing", is_ok=True, detail=_billing(house)),
        Check(
            name="crm",
            is_ok=is_fresh,
            detail=f"last read to the end {last or 'never'}",
            hint="" if is_fresh else "Look at the daemon's log and `connector check`.",
        ),
        *(
            Check(name=f"source {name}", is_ok=True, is_degraded=True, detail=f"paused: {problem.message}", hint=problem.hint)
            for name, problem in house.seam.paused.items()
        ),
        Check(name="crm calls", is_ok=True, is_degraded=calls.state != "within", detail=calls.text(), hint=calls.hint()),
    ]


def _billing(house: app.House) -> str:
    """Return who issues the invoices."""
    stripe = house.config.stripe
    return "internal engine" if house.config.billing.backend == "internal" else f"Stripe, {stripe.mode} mode"


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
