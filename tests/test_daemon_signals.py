"""What signals do to the daemon: a real process is sent real ones."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE_S = 15.0


def until(holds: Callable[[], object], what: str) -> None:
    """Wait until something holds, for 15 s at most."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


class Process:
    """The daemon of daemon_process.py in a folder of its own."""

    def __init__(self, folder: Path, case: str) -> None:
        self.folder = folder
        (folder / "config").write_text("3600", encoding="utf-8")
        self.log = folder / "log"
        with self.log.open("w", encoding="utf-8") as log:
            script = Path(__file__).with_name("daemon_process.py")
            self.popen = subprocess.Popen([sys.executable, str(script), str(folder), case], stderr=log)

    def journal(self) -> list[str]:
        path = self.folder / "journal"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]

    def waits_for(self, line: str) -> None:
        until(lambda: line in self.journal(), f"the journal says {line!r}")

    def edits(self, text: str) -> None:
        (self.folder / "config").write_text(text, encoding="utf-8")
        self.popen.send_signal(signal.SIGHUP)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """Start daemons that do not outlive the test."""
    started: list[Process] = []

    def begin(case: str) -> Process:
        started.append(Process(tmp_path, case))
        return started[-1]

    yield begin
    for process in started:
        process.popen.kill()
        process.popen.wait(PATIENCE_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_a_pass_lets_it_finish(start: Callable[[str], Process], number: signal.Signals) -> None:
    """SIGTERM and SIGINT: the pass finishes its chunk, then the web stops, the process exits 0 and has said so."""
    process = start("long")
    process.waits_for("pass begins")
    process.popen.send_signal(number)
    assert process.popen.wait(PATIENCE_S) == 0
    assert process.journal() == ["every 3600", "web up", "pass begins", "pass ends", "web down"]
    events = [event["event"] for event in process.events()]
    assert events == ["daemon.started", "daemon.stopping", "run.finished", "daemon.stopped"]


def test_a_second_signal_ends_at_once(start: Callable[[str], Process]) -> None:
    """A pass that does not end is left as by a crash when asked twice; the exit status names the signal."""
    process = start("stubborn")
    process.waits_for("pass begins")
    process.popen.send_signal(signal.SIGTERM)
    until(lambda: any(event["event"] == "daemon.stopping" for event in process.events()), "the daemon is stopping")
    process.popen.send_signal(signal.SIGINT)
    assert process.popen.wait(3) == 130
    assert "pass ends" not in process.journal()


def test_a_broken_edit_keeps_the_old_configuration(start: Callable[[str], Process]) -> None:
    """SIGHUP with a broken edit changes nothing and says why; the corrected one is taken over and rounds follow it."""
    process = start("quick")
    process.waits_for("pass ends")
    process.edits("soon")
    until(lambda: any(event["event"] == "config.rejected" for event in process.events()), "the edit is refused")
    refused = next(event for event in process.events() if event["event"] == "config.rejected")
    assert "'soon' is no number" in str(refused["error"])
    assert process.popen.poll() is None
    assert process.journal().count("pass begins") == 1
    process.edits("1")
    until(lambda: process.journal().count("pass ends") >= 3, "rounds come every second")
    assert any(event["event"] == "config.reloaded" for event in process.events())
    process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(PATIENCE_S) == 0


def test_a_start_that_cannot_is_status_3(start: Callable[[str], Process]) -> None:
    """What cannot start beside the jobs (a taken port) ends the start with 3 and the operator's next action; no job ran."""
    process = start("taken")
    assert process.popen.wait(PATIENCE_S) == 3
    assert process.journal() == ["every 3600"]
    (event,) = process.events()
    assert (event["event"], event["hint"]) == ("daemon.refused", "Change web.listen.")
