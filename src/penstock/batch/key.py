"""Keys of questions: what a journal remembers a row's question by.

A key is 32 hex digits. Where a job has a schema its first half is of the question with the schema, and its second half
is the first one of the question without it, so that an answer can be found again when only the schema has changed.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import msgspec

from .._io.rows import HALF_A_CHARACTER
from ..errors import InputError

KEY_HALF: Final = 16
"""Hex digits of half a key."""


def key_of(lanes: tuple[tuple[str, str], ...], asked: Any) -> str:
    """Hash what decides an answer: the models that may give it with their base URLs, the prompt and the parameters.

    Raises: InputError for a prompt that no file can hold.
    """
    try:
        return _hashed(_written(lanes, asked))
    except UnicodeEncodeError:
        raise InputError(HALF_A_CHARACTER) from None


class KeyMould:
    """The keys of questions that differ in their prompt alone: the same as `key_of` gives, without the requests.

    `asked` is such a question with the prompt `MARK`.
    """

    MARK: Final = "\x00 the prompt \x00"

    def __init__(self, lanes: tuple[tuple[str, str], ...], asked: Any) -> None:
        self._before, _, self._after = _written(lanes, asked).partition(msgspec.json.encode(self.MARK))

    def key(self, prompt: str) -> str:
        """Return the key of the question with this prompt.

        Raises: InputError for a prompt that no file can hold.
        """
        try:
            return _hashed(self._before + msgspec.json.encode(prompt) + self._after)
        except UnicodeEncodeError:
            raise InputError(HALF_A_CHARACTER) from None


def _written(lanes: tuple[tuple[str, str], ...], asked: Any) -> bytes:
    return msgspec.json.encode((lanes, asked), order="deterministic")


def _hashed(written: bytes) -> str:
    return blake2b(written, digest_size=16).hexdigest()


def with_schema(key: str, schema: bytes) -> str:
    """Return the key of a question with its schema; `key` is that of the question alone."""
    return blake2b(schema + key.encode(), digest_size=KEY_HALF // 2).hexdigest() + key[:KEY_HALF]


def is_same_question(one: str, other: str) -> bool:
    """Whether two keys are of the same question, `one` with any schema or none; `other` has one."""
    return other[KEY_HALF:] in (one[KEY_HALF:], one[:KEY_HALF])
