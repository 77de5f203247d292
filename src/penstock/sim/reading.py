"""Reading a configuration file: settings at the top, the scenario's rules below."""

from __future__ import annotations

from pathlib import Path

from penstock.sim.config import SimConfig
from penstock.sim.faults import ScenarioError, build, read_table


def read_config(path: str | Path) -> SimConfig:
    """Read a TOML file with the keys of SimConfig and any number of `[[rule]]` tables.

    Raises: ScenarioError naming the file and the place in it, also when it cannot be read.
    """
    place = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{place}: cannot be read: {error}") from error
    return parse_config(text, place)


def parse_config(text: str, place: str = "configuration") -> SimConfig:
    """The same from text.

    Raises: ScenarioError naming `place` and the key.
    """
    data = read_table(text, place)
    rules = data.pop("rule", None)
    if rules is not None:
        data["scenario"] = {"rule": rules}
    return build(SimConfig, data, place)
