"""What the requests share: how an argument is refused, how a file is read, what is said about the CRM."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from connector.errors import ConfigError, Problem
from connector.kit import yamlpos

TOLD = "The CRM is told at the next round."


def bad(message: str, hint: str) -> ConfigError:
    """Return the refusal of an argument."""
    return ConfigError([Problem(code="bad-argument", message=message, hint=hint)])


def said_text(said: Mapping[str, Any]) -> str:
    """Return what a file says as one text, the same for the same content."""
    return json.dumps(said, default=str, sort_keys=True)


def file_of(path: Path, *, wanted: str) -> yamlpos.Located:
    """Return a YAML or JSON file with the places of its keys. Raises: ConfigError unless it is a mapping; *wanted* says of what."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise bad(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    except UnicodeDecodeError as error:
        raise bad(f"{path} is no UTF-8 text.", "Save it as UTF-8.") from error
    located = yamlpos.loads(text, str(path))
    if not isinstance(located.value, dict):
        raise ConfigError([located.problem("wrong-type", (), f"{path} holds no mapping.", f"Write {wanted}.")])
    return located
