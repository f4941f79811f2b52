"""Takes the shipped mappings and the example config into the wheel, where `connector init` finds them.

They stand at top level, where people look for them. An editable install reads them there, so only a real wheel gets
copies: a copy beside an editable install would grow stale.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHIPPED = ("mappings", "config.example.yaml")


class ShippedFiles(BuildHookInterface):  # type: ignore[type-arg]  # the argument is the builder's config, unused here
    """Adds the top-level files to a standard wheel under connector/shipped/."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to copy for *version* ("standard" or "editable")."""
        if version == "standard":
            build_data["force_include"].update({name: f"connector/shipped/{name}" for name in SHIPPED})
