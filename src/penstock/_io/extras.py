"""Optional parts, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import MissingExtra


def extra(module: str, name: str) -> Any:
    """Import a module of the extra `name`.

    Raises: MissingExtra with the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(f"this needs {module.partition('.')[0]}: pip install 'penstock[{name}]'") from error
