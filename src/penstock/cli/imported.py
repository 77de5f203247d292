"""Names of Python that a command is given: in a module, or in a file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from ..errors import ConfigError


def load_name(place: str, name: str, *, what: str, option: str, noun: str) -> Any:
    """Import a module, or a file that ends in .py, and return what has that name in it; dots lead inside.

    Raises: ConfigError saying what cannot be loaded.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` finds modules beside it
    try:
        found = _file_module(place) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise ConfigError(
            f"cannot load {what} {place}: {type(error).__name__}: {error}; expected module:{noun} or FILE.py:{noun}"
        ) from error
    try:
        for step in name.split("."):
            found = getattr(found, step)
    except AttributeError:
        raise ConfigError(
            f"{place} has no {name}; {option} {place}:{noun.upper()} names a {noun.lower()} in it"
        ) from None
    return found


def _file_module(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ImportError("it is no file of Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    return module
