"""The clocks of one attempt."""

from __future__ import annotations

import math

import msgspec

from ..errors import ConfigError


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long each phase of an attempt may take, in seconds; None switches a clock off.

    `connect_s` to connect. `first_token_s` from the send to the first output of a stream. `idle_s` of silence between
    two pieces of a stream. `total_s` for a whole unstreamed answer: a stream has no total of its own, since a healthy
    one must never be cut (the call's deadline bounds it).

    Raises: ConfigError when a clock is not a finite number above 0.
    """

    connect_s: float = 10.0
    first_token_s: float | None = 120.0
    idle_s: float | None = 60.0
    total_s: float | None = 600.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is None and name != "connect_s":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
                raise ConfigError(f"timeouts.{name} is {value!r}; expected a number of seconds above 0")
