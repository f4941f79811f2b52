"""What all command groups share: the global options, and how a result is printed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Global:
    """What the options before or after the verb said; filled once by `main`."""

    config: Path = Path("config.yaml")
    is_json: bool = False
    is_verbose: bool = False


def show(result: Any, as_text: Callable[[Any], str]) -> None:
    """Print a result: as JSON on stdout, or as text for people."""
    from connector import printing

    if Global.is_json:
        sys.stdout.write(printing.json_text(result) + "\n")
    else:
        text = as_text(result)
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
