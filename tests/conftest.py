"""What holds for every test: hypothesis takes its time from no clock, and prints what reproduces a failure; each logs for itself.

Every request to Stripe, of every test, is checked against the SDK's own types before it leaves (see stripe_wire.py).
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from stripe_wire import WATCH

from connector.billing.stripe_backend.client import StripeCalls

settings.register_profile(
    "suite",
    deadline=None,  # two cores are shared by several workers: time says nothing about a property
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")
# A derandomized test draws the same in every run: by itself Hypothesis adds the constants of whatever modules are loaded by then.
providers._get_local_constants = lambda: providers._local_constants


_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30


def pytest_configure(config: pytest.Config) -> None:
    """Lay the tests' folders in memory where there is room: every commit waits for its file to be on the disk."""
    del config
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


# The files that take longest, longest first: they begin first, so that the workers end together.
_LONGEST = (
    "test_stripe_kill.py", "test_core_properties.py", "test_backends.py", "test_stripe_scenarios.py", "test_pitfalls_changes.py", "test_stripe_ahead.py",
    "test_kill.py", "test_flow_typed_payments.py", "test_connector_scenarios.py",
    "test_price_migration.py", "test_core_elsewhere.py", "test_stripe_import.py", "test_flow_thousand.py", "test_bench.py", "test_tidy.py",
    "test_import_contracts.py", "test_demo_crm_rep.py", "test_customers.py", "test_cli.py", "test_verbs_contracts.py",
    "test_flow_stripe.py", "test_stripe_machine_lives.py", "test_stripe_compiling_properties.py", "test_stripe_guide_rights.py",
)  # fmt: skip
_PLACES = {name: place for place, name in enumerate(_LONGEST)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; inside a file, and among the others, the order stays."""
    items.sort(key=lambda item: _PLACES.get(item.path.name, len(_PLACES)))


def pytest_collection_finish() -> None:
    """Leave what was imported out of garbage collection from now on."""
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Set logging back: a command that a test ran in this process has set it to that test's stderr, which is closed now.

    After each file, give its worlds back: the connector collects garbage seldom (see `app.settle_memory`).
    """
    structlog.reset_defaults()
    if nextitem is None or nextitem.path != item.path:
        gc.collect()


StripeCalls.sees = WATCH


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Fail a test that sent Stripe something it does not know, also where the code under test swallowed the error."""
    WATCH.wrong.clear()
    result = yield
    WATCH.settle()
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many requests to Stripe were checked."""
    if WATCH.count:
        terminalreporter.write_line(f"{WATCH.count} requests to Stripe checked against its types, of {len(WATCH.counts)} kinds")
