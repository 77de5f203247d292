"""OpenAI's own tokenizer, where tiktoken is installed and its vocabulary is on disk already; nothing is downloaded.

tiktoken keeps a vocabulary under the SHA-1 of its address, in TIKTOKEN_CACHE_DIR, in DATA_GYM_CACHE_DIR or in a folder
of the system's temporary files, and downloads it when it is not there or damaged. So both are looked at first.

Source: tiktoken 0.14 load.py, tiktoken_ext/openai_public.py.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

ADDRESS: Final = "https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
VOCABULARIES: Final = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
"""The SHA-256 of each. Source: `expected_hash` in tiktoken 0.12, openai_public.py."""

PIECE_CHARS: Final = 50_000
"""A longer text is counted piece by piece: one run of letters of a megabyte takes tiktoken minutes."""


def counter(model: str) -> Callable[[str], int] | None:
    """Return what counts a text as an OpenAI model does; None where tiktoken, its data or the model is missing."""
    name = _encoding(model)
    return None if name is None or not present(name) else _count_with(name)


def present(name: str) -> bool:
    """Whether tiktoken is installed and the vocabulary is on disk, whole."""
    return find_spec("tiktoken") is not None and _whole(name, str(_folder()))


def _folder() -> Path:
    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if variable in os.environ:
            return Path(os.environ[variable])
    return Path(tempfile.gettempdir()) / "data-gym-cache"


@functools.lru_cache(maxsize=16)
def _whole(name: str, folder: str) -> bool:
    if not folder:
        return False
    kept = Path(folder) / hashlib.sha1(ADDRESS.format(name=name).encode(), usedforsecurity=False).hexdigest()
    try:
        return hashlib.sha256(kept.read_bytes()).hexdigest() == VOCABULARIES[name]
    except OSError:
        return False


def _encoding(model: str) -> str | None:
    if find_spec("tiktoken") is None:
        return None
    from tiktoken.model import encoding_name_for_model

    try:
        name = encoding_name_for_model(model)
    except KeyError:
        return None
    return name if name in VOCABULARIES else None


@functools.cache
def _count_with(name: str) -> Callable[[str], int]:
    import tiktoken

    encoding: Any = tiktoken.get_encoding(name)

    def count(text: str) -> int:
        pieces = range(0, len(text), PIECE_CHARS)
        return sum(len(encoding.encode_ordinary(text[at : at + PIECE_CHARS])) for at in pieces)

    return count
