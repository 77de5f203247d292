"""Where Penstock keeps what outlives a process and was given no place of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def state_dir(env: Mapping[str, str] | None = None) -> Path:
    """Return the folder of this user's state: `PENSTOCK_HOME`, else the system's usual place. It may not exist yet."""
    env = os.environ if env is None else env
    home = env.get("PENSTOCK_HOME")
    if home:
        return Path(home).expanduser()
    if sys.platform == "win32":
        return Path(env.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "penstock"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "penstock"
    return Path(env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "penstock"
