"""What is done with a provider's batch interface: upload, create, look for, poll, cancel, harvest.

All of it may be repeated but the create, since no provider knows that two creates are one. Its outcome is one of three:
made, refused, or unknown; then the batches are listed and the one that carries our tag is ours (`look`).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Final

import msgspec

from .._wire import batchfile
from .._wire.batchfile import Dialect, Seen
from .._wire.protocol import Outbound
from ..errors import CallError, InvalidRequest, NotFound, OutcomeUnknown, Overloaded, PenstockError, ServerFault
from .effects import Head, Lane, Read, Send, Sleep
from .errands import ANSWER_S, FILE_S, Clock, Errand, Put, again, asked, download, head_of, refused

FRESH_S: Final = 1.0
FRESH_TRIES: Final = 5
"""A file is not found at once after its upload: the create that is told so is made again, each time twice as late."""

PAGES_MAX: Final = 50
"""So many pages of batches are looked through for one of ours."""

SKEW_S: Final = 300.0
"""How far the provider's clock may be behind ours, where a batch is told by its time."""


class Desk(msgspec.Struct, frozen=True):
    """Where batches of a lane are handed in."""

    lane: Lane
    kind: Dialect


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes a batch: its tag, the file with its rows, and since when it may be there (epoch seconds)."""

    tag: str
    path: str
    size: int
    rows: int
    since_s: float
    file_id: str | None = None
    dead: tuple[str, ...] = ()


class Unsure(Exception):
    """Nobody knows whether a create made a batch."""

    def __init__(self, cause: PenstockError) -> None:
        super().__init__(cause.message)
        self.cause = cause


def upload(desk: Desk, parcel: Parcel) -> Errand[str]:
    """Upload the rows, and return the id of their file. Twice uploaded is once too often, and costs nothing.

    Raises: CallError, ConfigError.
    """
    lane, kind = desk.lane, desk.kind
    name = f"{parcel.tag.replace('/', '-')}.jsonl"
    outbound = batchfile.upload(kind, lane.provider, parcel.path, parcel.size, name)
    if kind.name == "together":
        found: str = yield from again(lambda: _upload_elsewhere(desk, outbound, parcel))
        return found
    body = yield from asked(lane, outbound)
    return batchfile.file_id_of(body, lane.provider)


def _upload_elsewhere(desk: Desk, outbound: Outbound, parcel: Parcel) -> Errand[str]:
    lane = desk.lane
    head = yield from head_of(lane, outbound, redirects=True)
    place, name = head.headers.get("location"), head.headers.get("x-together-file-id")
    if not place or not name:
        raise ServerFault("the answer to the upload says neither where nor which file", provider=lane.provider.name)
    now = yield Clock()
    put: Head = yield Put(place, batchfile.put(parcel.path, parcel.size), now + FILE_S)
    if not 200 <= put.status < 300:
        raise refused(lane, put, put.body)
    return name


def create(desk: Desk, parcel: Parcel) -> Errand[Seen]:
    """Create the batch, once.

    Raises: Unsure when nobody knows whether it is there, CallError when it is not.
    """
    tries = 0
    while True:
        tries += 1
        try:
            return (yield from _create(desk, parcel))
        except InvalidRequest as error:
            # Nothing was made: the file is not known everywhere yet.
            if error.status != 404 or parcel.file_id is None or tries >= FRESH_TRIES:
                raise
        yield Sleep(FRESH_S * 2.0 ** (tries - 1))


def _create(desk: Desk, parcel: Parcel) -> Errand[Seen]:
    lane = desk.lane
    outbound = batchfile.create(
        desk.kind,
        lane.provider,
        lane.model,
        parcel.tag,
        file_id=parcel.file_id,
        path=parcel.path,
        size=parcel.size,
    )
    try:
        head = yield from head_of(lane, outbound)
    except (OutcomeUnknown, Overloaded, ServerFault) as error:
        raise Unsure(error) from error
    try:
        return batchfile.seen_of(desk.kind, head.body, lane.provider)
    except CallError as error:
        raise Unsure(error) from error


def look(desk: Desk, parcel: Parcel, taken: Collection[str]) -> Errand[tuple[Seen | None, bool]]:
    """Look for the batch that a create may have made; `taken` are known to be others.

    Returns: the batch, or None, and then whether there are some of which nobody can tell yet.

    Raises: CallError.
    """
    unclear = False
    after: str | None = None
    for _ in range(PAGES_MAX):
        body = yield from asked(desk.lane, batchfile.listing(desk.kind, desk.lane.provider, after))
        page, after = batchfile.page_of(desk.kind, body, desk.lane.provider, after)
        for seen in page:
            if seen.id in taken or seen.id in parcel.dead:
                continue
            if _is_tagged(desk, parcel, seen):
                return seen, False
            if desk.kind.inline and _may_be(parcel, seen):
                if seen.state not in batchfile.ENDED:
                    unclear = True
                elif (yield from is_ours(desk, parcel, seen)):
                    return seen, False
        if after is None or all(_is_older(parcel, seen) for seen in page):
            break
    return None, unclear


def _is_tagged(desk: Desk, parcel: Parcel, seen: Seen) -> bool:
    if desk.kind.tagged:
        return seen.tag == parcel.tag
    return parcel.file_id is not None and seen.input_file == parcel.file_id


def _may_be(parcel: Parcel, seen: Seen) -> bool:
    """Whether a batch that carries no tag can be ours: of its size, and not from before."""
    return seen.rows == parcel.rows and not _is_older(parcel, seen)


def _is_older(parcel: Parcel, seen: Seen) -> bool:
    return seen.created_s is not None and seen.created_s < parcel.since_s - SKEW_S


def is_ours(desk: Desk, parcel: Parcel, seen: Seen) -> Errand[bool]:
    """Look at the first result of a batch that ended: its custom_id begins with our tag if it is ours.

    Raises: CallError.
    """
    for outbound in batchfile.downloads(desk.kind, desk.lane.provider, seen):
        try:
            first: bytes = yield from again(partial(_first_line, desk.lane, outbound))
        except NotFound:  # results are not kept for ever, and ours would be younger
            return False
        found = batchfile.result_of(desk.kind, first, desk.lane.provider, desk.lane.model)
        if found is not None:
            return found.custom_id.startswith(prefix(parcel.tag))
    return False


def prefix(tag: str) -> str:
    """What the custom_ids of a shard begin with; they say whose it is where nothing else does."""
    return f"p-{tag.replace('/', '-')}-"


def _first_line(lane: Lane, outbound: Outbound) -> Errand[bytes]:
    began = yield Clock()
    head: Head = yield Send(lane, outbound, began + ANSWER_S, True)
    if not 200 <= head.status < 300:
        body = yield Read(began + ANSWER_S, whole=True)
        raise refused(lane, head, body)
    data = b""
    while b"\n" not in data and (more := (yield Read(began + ANSWER_S))):
        data += more
    return data.partition(b"\n")[0]


def poll(desk: Desk, batch_id: str) -> Errand[Seen]:
    """Ask how a batch stands.

    Raises: CallError.
    """
    body = yield from asked(desk.lane, batchfile.retrieve(desk.kind, desk.lane.provider, batch_id))
    return batchfile.seen_of(desk.kind, body, desk.lane.provider)


def cancel(desk: Desk, batch_id: str) -> Errand[None]:
    """Ask for the end of a batch; one that ended by itself meanwhile is as well.

    Raises: CallError.
    """
    try:
        yield from asked(desk.lane, batchfile.cancel(desk.kind, desk.lane.provider, batch_id))
    except CallError as error:
        if error.status not in (400, 409):
            raise


def harvest(desk: Desk, seen: Seen) -> Errand[None]:
    """Receive all results of a batch that ended, answers and errors, one after the other into one place.

    Raises: CallError, OutputError.
    """
    for outbound in batchfile.downloads(desk.kind, desk.lane.provider, seen):
        yield from download(desk.lane, outbound)
