"""What can be set on the simulator's batch interfaces."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=604_800)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]
_Speed = Annotated[float, msgspec.Meta(gt=0, le=10_000_000)]

Spoil = Literal["", "missing", "duplicate", "unknown", "torn"]


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How batches go: each is validated, its rows are answered one after the other, and it is finalized.

    `expire_s` is when a batch expires that has not ended, whatever window it asked for. `visible_after_s`: so long a
    new file is not found by those who name it. `listed_after_s`: so long a new batch is in no list. `queue_tokens` are
    prompt tokens of unfinished batches of a model: the batch beyond them fails; `queue_rows` likewise, where the create
    itself gets a 429. `rows_max` and `bytes_max` of one batch. `spoil` is what is wrong with the results: their first
    row is missing, comes twice, has an unknown custom_id, or its line is cut short. `odd_state` is a state that nobody
    knows, shown while rows are answered. `results_host` is where results are said to be.
    """

    validate_s: _Seconds = 0.05
    rows_per_s: _Speed = 5000.0
    finalize_s: _Seconds = 0.05
    cancel_s: _Seconds = 0.05
    expire_s: _Seconds = 86_400.0
    visible_after_s: _Seconds = 0.0
    listed_after_s: _Seconds = 0.0
    queue_tokens: _Positive | None = None
    queue_rows: _Positive | None = None
    rows_max: _Positive = 50_000
    bytes_max: _Positive = 200_000_000
    spoil: Spoil = ""
    odd_state: str = ""
    results_host: str = ""
