"""Where the ledger is, what it keeps, and for how long."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ...errors import ConfigError

FILE: Final = "ledger.db"
KEEP_DAYS: Final = 90
HOURS_DAYS: Final = 400


class Ledger(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Keeps a record of every call and attempt in a file.

    `path`: the file; where none is given it is `ledger.db` in the folder that PENSTOCK_HOME names, else in the user's
    state folder. Single calls and attempts are kept for `keep_days` (None: for ever), sums by hour for 400 days, sums
    by day for ever. `content` keeps prompts, answers and the sentences of errors as well, each passed through `redact`,
    which takes a text and returns what may be kept of it. What happened is written every `interval_s` seconds: a crash
    loses at most that much.

    Raises: ConfigError when a field is out of its range.
    """

    path: str | None = None
    keep_days: int | None = KEEP_DAYS
    content: bool = False
    redact: Callable[[str], str] | None = None
    interval_s: float = 0.25

    def __post_init__(self) -> None:
        path: object = self.path
        if path is not None and (not isinstance(path, str) or not path):
            raise ConfigError(f"ledger: path is {path!r}; expected the name of a file")
        days: object = self.keep_days
        if days is not None and (isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 36_500):
            raise ConfigError(f"ledger: keep_days is {days!r}; expected a whole number from 1 to 36500, or None")
        seconds: object = self.interval_s
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.01 <= seconds <= 60:
            raise ConfigError(f"ledger: interval_s is {seconds!r}; expected seconds from 0.01 to 60")
        if self.redact is not None and not callable(self.redact):
            raise ConfigError(f"ledger: redact is {self.redact!r}; expected a function, which only Python can give")
        if not isinstance(self.content, bool):
            raise ConfigError(f"ledger: content is {self.content!r}; expected True or False")


def home(env: Mapping[str, str] | None = None) -> Path:
    """Return the folder of what Penstock keeps for this user."""
    env = os.environ if env is None else env
    if env.get("PENSTOCK_HOME"):
        return Path(env["PENSTOCK_HOME"]).expanduser()
    if sys.platform == "win32":
        return Path(env.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "penstock"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "penstock"
    return Path(env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "penstock"


def file_of(path: str | os.PathLike[str] | None = None, env: Mapping[str, str] | None = None) -> str:
    """Return the whole path of a ledger: the one named, or the user's own."""
    found = home(env) / FILE if path is None else Path(path).expanduser()
    return os.path.abspath(found)
