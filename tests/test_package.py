"""What is installed: the wheel's contents, the locks, the files that `connector init` writes."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from connector.kit.shipped import shipped_files

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network by the locked build backend."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_carries_everything_the_program_reads(wheel: Path) -> None:
    """Mappings, example config, templates, static files and migrations travel inside the wheel; tests do not."""
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        path.relative_to(ROOT).as_posix()
        for folder in ("connector/web/templates", "connector/web/static", "connector/migrations", "connector/lookalike", "connector/tax")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shipped = {f"connector/shipped/{name}" for name in shipped_files()}
    assert sources | shipped | {"connector/py.typed"} <= names
    assert not [name for name in names if not name.startswith(("connector/", "connector-"))]


def test_an_installed_package_finds_its_shipped_files(wheel: Path, tmp_path: Path) -> None:
    """Run from the unpacked wheel, the package reads the very files that stand at top level in the source."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import connector.kit.shipped as s; print(s.__file__); print(*s.shipped_files(), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=True
    )
    place, *names = done.stdout.split()
    assert place.startswith(str(tmp_path))
    assert names == list(shipped_files())


def test_shipped_files() -> None:
    """The shipped files are the example config and the mappings for opportunities and quotes."""
    assert {"config.example.yaml", "mappings/salesforce-opportunity.yaml", "mappings/salesforce-quote.yaml"} <= shipped_files().keys()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_and_no_address(name: str) -> None:
    """Every locked package has at least one hash, and the lock names no place to fetch it from."""
    text = (ROOT / name).read_text(encoding="utf-8")
    logical = [line for line in text.replace("\\\n", " ").splitlines() if line and not line.lstrip().startswith("#")]
    assert logical
    assert not [line for line in logical if not re.match(r"[a-z0-9][\w.-]*==\S+ .*--hash=sha256:[0-9a-f]{64}", line)]
    assert "://" not in text
    assert " @ " not in text


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_fits_the_declared_ranges(name: str) -> None:
    """Every declared dependency is locked, at a version inside its range (else: `make lock`)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["build"]]
    if name == "requirements-dev.lock":
        declared += project["dependency-groups"]["dev"]
    locked = dict(re.findall(r"^([a-z0-9][\w.-]*)==(\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
    wanted = [Requirement(text) for text in declared]
    wrong = [str(w) for w in wanted if not w.specifier.contains(locked.get(canonicalize_name(w.name), "0"))]
    assert not wrong


def test_the_development_lock_agrees_with_the_other() -> None:
    """What runs in production runs in the tests: the same versions in both locks."""
    pattern = re.compile(r"^([a-z0-9][\w.-]*)==(\S+)", re.MULTILINE)
    production, development = (dict(pattern.findall((ROOT / name).read_text(encoding="utf-8"))) for name in LOCKS)
    assert production.items() <= development.items()
