"""The program as a shell runs it: real processes, their exit status, what stands on stdout and stderr, two of them at once."""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from world import ROOT, World, world

from connector import asking, cli
from connector.kit import db
from connector.lookalike.crm.seed import bulk_deals

TIMEOUT_S = 60

for _late in ("connector.operate", "connector.printing", "connector.reading", "connector.verbs", "connector.demo", "alembic.command"):
    importlib.import_module(_late)  # what a verb imports late is there already when a process is forked
for _module in pkgutil.iter_modules(asking.__path__, "connector.asking."):
    importlib.import_module(_module.name)


class Program:
    """A process of its own that runs the program: forked from this one, so that a start costs no import."""

    def __init__(self, words: tuple[str, ...], cwd: Path, env: Mapping[str, str], files: tuple[Path, Path]) -> None:
        self.out, self.err = files
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _become(words, cwd, env, files)

    def communicate(self) -> tuple[str, str]:
        """Wait for its end, with a bound; return what it wrote to stdout and stderr."""
        deadline = time.monotonic() + TIMEOUT_S
        while self.returncode is None:
            pid, ended = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(ended)
            elif time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            else:
                time.sleep(0.005)
        return self.out.read_text(encoding="utf-8"), self.err.read_text(encoding="utf-8")


def _become(words: tuple[str, ...], cwd: Path, env: Mapping[str, str], files: tuple[Path, Path]) -> None:
    """Be the program: its folder, its environment, its streams; leave with its exit status."""
    status = 70
    gc.freeze()  # no collection looks at what the tests hold: each look would copy its memory
    db._last = 0  # a program of its own knows no ids of the tests before, whose clocks may be ahead
    try:
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        for number, file in zip((1, 2), files, strict=True):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8") for number in (1, 2))
        cli.main(list(words))
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


class Shell:
    """A folder with config.yaml and mappings/, and processes started in it."""

    def __init__(self, made: World, folder: Path) -> None:
        self.world, self.folder = made, folder
        self._count = 0
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.env = {**os.environ, "PYTHONPATH": paths, "SF_CLIENT_ID": "demo-client", "SF_CLIENT_SECRET": "demo-secret"}

    def start(self, *words: str, cwd: Path | None = None) -> Program:
        """Start a process."""
        self._count += 1
        out, err = (self.folder.parent / f"{kind}-{self._count}.txt" for kind in ("out", "err"))
        return Program(words, cwd or self.folder, self.env, (out, err))

    def run(self, *words: str, cwd: Path | None = None) -> tuple[int, str, str]:
        """Run a process to its end; return its exit status, stdout and stderr."""
        process = self.start(*words, cwd=cwd)
        out, err = process.communicate()
        return process.returncode or 0, out, err

    def json(self, *words: str) -> tuple[int, Any]:
        """Run with --json; stdout must be one JSON value and nothing else."""
        status, out, _ = self.run("--json", *words)
        return status, json.loads(out)

    def change(self, old: str, new: str, file: str = "config.yaml") -> None:
        """Replace text in a file of the folder."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_interpreter_runs_the_program() -> None:
    """`python -m connector` in a process of its own prints its help and ends with 0."""
    ended = subprocess.run(
        [sys.executable, "-m", "connector", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ended.returncode == 0
    assert "sync" in ended.stdout


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A folder after `connector init`, pointing at a demo CRM whose clock is the machine's of early 2026."""
    folder = tmp_path / "site"
    with world(tmp_path / "crm") as made:
        sitting = Shell(made, folder)
        tmp_path.joinpath("site").mkdir()
        status, _, err = sitting.run("init")
        assert status == 0, err
        for name in ("opportunity", "quote"):
            path = folder / "mappings" / f"salesforce-{name}.yaml"
            path.write_text("\n".join(x for x in path.read_text().splitlines() if "start_from" not in x) + "\n")
        sitting.change("https://YOUR-DOMAIN.my.salesforce.com", made.crm.url)
        yield sitting


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file but the write-ahead log's index, which readers share."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith("-shm")}


def crm_records(made: World) -> dict[str, list[Any]]:
    """Return every record of the objects that the connector reads or writes."""
    kinds = ("Account", "Opportunity", "Quote", "OpportunityLineItem", "Billing_Invoice__c")
    return {kind: [dict(row) for row in made.org.rows(kind)] for kind in kinds}


def test_with_json_stdout_is_one_value_whatever_happens(shell: Shell) -> None:
    """Every verb, good or bad, prints exactly one JSON value on stdout; logs and progress go to stderr."""
    shell.world.win("acme_seats", "fjord_seats")
    shell.change("level: info", "level: debug")
    deal = shell.world.ids["acme_seats"]
    for words, expected in (
        (("check",), {0, 1}),
        (("plan", "--record", deal), {0}),
        (("sync",), {1}),
        (("bill",), {1}),
        (("deals", "list"), {0}),
        (("deals", "show", deal), {0}),
        (("deals", "show", "006nothing"), {1}),
        (("invoices", "list"), {0}),
        (("invoices", "show", "INV-0001"), {0}),
        (("contracts", "list"), {0}),
        (("mapping", "check"), {0}),
        (("mapping", "fields", "Opportunity"), {0}),
        (("plan", "--record", "006nothing"), {2}),
        (("plan", "--record", "006000000000000AAA"), {1}),
        (("deals", "retry", shell.world.ids["fjord_seats"]), {0}),
        (("mapping", "fields", "Nothing__c"), {1}),
        (("mapping", "schema"), {0}),
        (("sync", "--source", "nothing"), {2}),
        (("bill", "--as-of", "yesterday"), {2}),
    ):
        status, _ = shell.json(*words)
        assert status in expected, (words, status)


def test_plan_leaves_ledger_and_crm_as_they_are(shell: Shell) -> None:
    """With a ledger and without one, for a new, a billed and a faulty record: not a byte of the database or the CRM changes."""
    shell.world.win("acme_seats", "fjord_seats")
    names = ("acme_seats", "fjord_seats", "iris_pilot", "acme_upgrade")
    for is_first in (True, False):
        before, told = files(shell.folder), crm_records(shell.world)
        for name in names:
            assert shell.json("plan", "--record", shell.world.ids[name])[0] in (0, 1)
        assert files(shell.folder) == before
        assert crm_records(shell.world) == told
        if is_first:
            shell.run("sync")


def test_two_processes_at_once_bill_once(shell: Shell) -> None:
    """Of two syncs started together one works and one leaves with 3 naming the holder; afterwards everything is billed once."""
    bulk_deals(shell.world.org, 300, close_date=shell.world.clock.now().date())
    shell.world.org.faults.apply({"latency_ms": 150})
    first = shell.start("sync")
    second: Program | None = None
    deadline = time.monotonic() + TIMEOUT_S
    while second is None and time.monotonic() < deadline:
        lock = next(iter(shell.folder.glob("*.lock")), None)
        if lock is not None and lock.read_text():
            second = shell.start("sync")
        time.sleep(0.01)
    assert second is not None
    _, refused = second.communicate()
    first.communicate()
    assert (first.returncode, second.returncode) == (0, 3)
    assert f"process {first.pid}" in refused
    shell.world.org.faults.apply({"reset": True})
    assert shell.json("sync")[1]["written"] == 0
    assert len(shell.world.invoices()) == 300


def test_readers_and_retry_work_while_the_ledger_is_held(shell: Shell) -> None:
    """`deals list`, `invoices list` and `deals retry` need no lock."""
    shell.world.win("acme_seats", "fjord_seats")
    shell.run("sync")
    shell.world.org.faults.apply({"latency_ms": 1500})
    holder = shell.start("sync", "--full")
    time.sleep(1.0)
    assert shell.json("deals", "list")[0] == 0
    assert shell.json("invoices", "list")[0] == 0
    assert shell.run("deals", "retry", shell.world.ids["fjord_seats"])[0] == 0
    shell.world.org.faults.apply({"reset": True})
    holder.communicate()
    assert holder.returncode == 1


def test_the_config_may_stand_elsewhere(shell: Shell, tmp_path: Path) -> None:
    """`-c FILE` from another folder: mappings and database count from the configuration's folder."""
    shell.world.win("acme_seats")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    status, _, err = shell.run("-c", str(shell.folder / "config.yaml"), "sync", cwd=elsewhere)
    assert status == 0, err
    assert list(elsewhere.iterdir()) == []
    assert shell.json("invoices", "list")[1][0]["number"] == "INV-0001"


def test_before_anything_is_set_up_each_command_says_what_to_do(tmp_path: Path, shell: Shell) -> None:
    """No config: 2 and `connector init`. No ledger: 3 and `connector sync`. A variable that is not set: 2 and its name."""
    empty = tmp_path / "empty"
    empty.mkdir()
    for words in (("sync",), ("deals", "list"), ("run",)):
        status, out, err = shell.run(*words, cwd=empty)
        assert (status, out) == (2, ""), words
        assert "connector init" in err
    assert list(empty.iterdir()) == []
    status, _, err = shell.run("deals", "list")
    assert status == 3
    assert "connector sync" in err
    assert not (shell.folder / "connector.db").exists()
    del shell.env["SF_CLIENT_SECRET"]
    status, _, err = shell.run("sync")
    assert status == 2
    assert "SF_CLIENT_SECRET" in err


def test_the_fresh_config_says_which_url_to_fill(tmp_path: Path, shell: Shell) -> None:
    """A sync with the untouched file of `init` is refused without asking any host on the internet."""
    fresh = tmp_path / "fresh"
    assert shell.run("init", str(fresh))[0] == 0
    status, _, err = shell.run("sync", cwd=fresh)
    assert status in (2, 3)
    assert "crm" in err


def test_one_record_one_source_or_everything(shell: Shell) -> None:
    """`--record` reads only that record, `--source` only that source, `--full` everything again; an unknown id says so."""
    shell.world.win("acme_seats", "everest_support")
    assert shell.json("sync", "--record", shell.world.ids["acme_seats"])[1]["applied"] == 1
    assert len(shell.world.invoices()) == 1
    assert shell.json("sync", "--source", "quotes")[1]["applied"] == 0
    assert shell.json("sync", "--source", "opportunities")[1]["applied"] == 1
    status, result = shell.json("sync", "--full")
    assert (status, result["staged"], result["applied"], result["written"]) == (0, 0, 0, 0)
    status, _, err = shell.run("sync", "--record", "006000000000000AAA")
    assert status != 0
    assert "006000000000000AAA" in err


def test_a_reader_that_stops_reading_is_no_bug(shell: Shell) -> None:
    """`connector mapping schema | true` shows no traceback."""
    ended = subprocess.run(
        f"{sys.executable} -m connector mapping schema | true; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", cwd=shell.folder, env=shell.env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert ended.returncode != 70, ended.stderr
    assert "Traceback" not in ended.stderr


def test_our_own_bug_stops_one_deal_goes_on_and_exits_70(shell: Shell) -> None:
    """A contract that cannot be read in the books: its deal alone suffers, the others are billed, the status is 70."""
    shell.world.win("acme_seats", "everest_support")
    assert shell.run("sync")[0] == 0
    acme, everest = (shell.world.ids[name] for name in ("acme_seats", "everest_support"))
    with sqlite3.connect(shell.folder / "connector.db") as books:
        books.execute("UPDATE contract SET terms = 'rubbish' WHERE deal = ?", (acme,))
        books.execute("UPDATE deal SET write_due = 1")
    books.close()
    status, result = shell.json("bill", "--as-of", "2027-06-01")
    assert status == 70
    assert {p["record"] for p in result["problems"]} == {acme}
    assert result["invoices"] == 1
    assert shell.world.record("everest_support")["Amount_Billed__c"] > 450
    assert shell.world.invoices()[-1]["Opportunity__c"] == everest
    shell.world.win("cobalt_licence")
    status, result = shell.json("sync")
    assert (status, result["applied"]) == (1, 1)


@pytest.mark.parametrize("database", ["sqlite:////nowhere/at/all.db", "mysql://x/y", "sqlite:///."])
def test_a_database_that_cannot_be_used_says_so(shell: Shell, database: str) -> None:
    """An unwritable path or an unknown kind is status 2 or 3 with the path and a hint, no traceback."""
    shell.change("sqlite:///connector.db", database)
    for words in (("sync",), ("deals", "list"), ("check",)):
        status, _, err = shell.run(*words)
        assert status in (1, 2, 3), (words, err)
        assert "Traceback" not in err


def test_wrong_words_exit_2_with_help(shell: Shell) -> None:
    """An unknown verb, option or missing value is 2; --help is 0."""
    for words in (("nonsense",), ("sync", "--nonsense"), ("plan",), ("bill", "--as-of"), ("deals", "list", "--limit", "many")):
        status, _, err = shell.run(*words)
        assert status == 2, words
        assert err
    assert shell.run("--help")[0] == 0
    assert shell.run("sync", "--help")[0] == 0
