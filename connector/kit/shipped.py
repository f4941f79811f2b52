"""The files that travel with the package: the shipped mappings and the example config.

In a source checkout they stand at top level, where people look for them; a wheel carries them in `connector/shipped/`
(see hatch_build.py). Callers need not know which.
"""

from __future__ import annotations

from pathlib import Path

from connector.errors import HaltError

PACKAGE = Path(__file__).resolve().parent.parent
SUFFIXES = (".yaml", ".yml", ".md")


def files_for_init() -> tuple[tuple[str, str], ...]:
    """Return (relative path, text) of each file that `connector init` writes: config.yaml and the mappings, sorted.

    Raises: HaltError if the installation lacks them.
    """
    for root in (PACKAGE / "shipped", PACKAGE.parent):
        example = root / "config.example.yaml"
        if example.is_file():
            mappings = sorted(path for path in (root / "mappings").glob("**/*") if path.suffix in SUFFIXES)
            named = [("config.yaml", example), *((path.relative_to(root).as_posix(), path) for path in mappings)]
            return tuple((name, path.read_text(encoding="utf-8")) for name, path in named)
    raise HaltError(
        "The shipped mappings and config.example.yaml are missing from this installation.",
        hint="Install the package again.",
        code="installation-incomplete",
    )
