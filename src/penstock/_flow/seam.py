"""Where two parts of a continued answer meet: the next one is fitted to the one before, and nothing is said twice."""

from __future__ import annotations

from typing import Final

import msgspec

from .._wire.capabilities import prefills
from .._wire.protocol import Provider
from ..types import Choice, Chunk, Message, Part, Request, Response, Seam, Text

OVERLAP_MAX: Final = 10_000
"""Characters of the part before in which a repetition is looked for; a model rarely goes back further."""

OVERLAP_MIN: Final = 12
"""Characters that must agree: fewer do so by chance, as the two l of hel|lo do."""

DISTINCT_MIN: Final = 4
"""Different characters among them: a ruled line goes on with more of itself."""


INSTRUCTION: Final = (
    "Your answer was cut off there by a broken connection. Continue it exactly where it stopped, in the middle of the "
    "word or line if need be. Repeat nothing, and say nothing about the interruption."
)


class Joint:
    """Fits the parts of one answer together, as chunks and as a whole; before the first seam it only looks on."""

    def __init__(self) -> None:
        self.before: Response | None = None
        self._tail = ""
        self._head = ""
        self._fitting = False
        self._shift: int | None = 0
        self._last_index = -1

    def cut(self, before: Response) -> None:
        """Begin the next part, after `before`."""
        self.before = before
        self._tail = before.text[-OVERLAP_MAX:]
        self._head = ""
        self._fitting = True
        self._shift = None

    def fit(self, chunks: list[Chunk]) -> list[Chunk]:
        """Return the chunks as the reader should see them.

        The text that the next part begins with is held back as long as it may be a repetition of the last one's.
        """
        fitted: list[Chunk] = []
        for chunk in chunks:
            if chunk.kind == "usage":
                if self.before is not None and chunk.usage is not None:
                    chunk = msgspec.structs.replace(chunk, usage=self.before.usage + chunk.usage)
                fitted.append(chunk)
                continue
            if chunk.kind != "stop":
                chunk = self._placed(chunk)
            if self._fitting and chunk.kind == "text":
                self._head += chunk.text
                if not self._may_repeat():
                    fitted += self.flush()
                continue
            if chunk.kind != "reasoning":
                fitted += self.flush()
            fitted.append(chunk)
        return fitted

    def flush(self) -> list[Chunk]:
        """Return the seam, and the text that was held back without what it repeated."""
        if not self._fitting or not self._head:
            return []
        self._fitting = False
        repeated = self._repeated()
        seam = Chunk(kind="seam", text=repeated, index=self._last_index)
        rest = self._head[len(repeated) :]
        return [seam, Chunk(kind="text", text=rest, index=self._last_index)] if rest else [seam]

    def whole(self, part: Response | None) -> Response | None:
        """Return the answer so far, with what came of its newest part, if anything did."""
        before = self.before
        if before is None or part is None:
            return before or part
        content = list(part.content)
        seams = before.seams
        if part.text:
            repeated = self._repeated()
            seams = (*seams, Seam(len(before.text), repeated))
            content = _without(content, len(repeated))
        return msgspec.structs.replace(
            part,
            choices=(_joined(before.choices[0], content, part),),
            usage=before.usage + part.usage,
            seams=seams,
        )

    def _placed(self, chunk: Chunk) -> Chunk:
        if self._shift is None:
            # Text goes on in the part that was cut; anything else begins a part of its own.
            self._shift = self._last_index - chunk.index + (chunk.kind != "text")
        self._last_index = max(self._last_index, chunk.index + self._shift)
        return msgspec.structs.replace(chunk, index=chunk.index + self._shift) if self._shift else chunk

    def _may_repeat(self) -> bool:
        found = self._tail.find(self._head)
        return 0 <= found < len(self._tail) - len(self._head) or _blank_end(self._tail).startswith(self._head)

    def _repeated(self) -> str:
        head, tail = self._head, self._tail
        for length in range(min(len(head), len(tail)), OVERLAP_MIN - 1, -1):
            if tail.endswith(head[:length]) and len(set(head[:length])) >= DISTINCT_MIN:
                return head[:length]
        # A request may not end in blanks, so the model was asked without them and may say them once more.
        blank = _blank_end(tail)
        return head[: next((i for i, (a, b) in enumerate(zip(head, blank, strict=False)) if a != b), len(blank))]


def asking_for_the_rest(request: Request, provider: Provider, received: str) -> Request:
    """Return the request with what came of its answer: as the beginning of the next one, or with an instruction."""
    turn = Message("assistant", received.rstrip())  # Anthropic refuses a prefill that ends in blanks
    turns = (turn,) if prefills(request, provider) else (turn, Message("user", INSTRUCTION))
    return msgspec.structs.replace(request, messages=(*request.messages, *turns))


def _blank_end(text: str) -> str:
    return text[len(text.rstrip()) :]


def _without(content: list[Part], characters: int) -> list[Part]:
    """Return the content without the first characters of its text."""
    kept: list[Part] = []
    for part in content:
        if isinstance(part, Text) and characters:
            part, characters = Text(part.text[characters:]), max(0, characters - len(part.text))
            if not part.text:
                continue
        kept.append(part)
    return kept


def _joined(before: Choice, content: list[Part], part: Response) -> Choice:
    last, after = before.content[-1], content
    parts = before.content
    if after and isinstance(last, Text) and isinstance(after[0], Text):
        parts, after = parts[:-1], [Text(last.text + after[0].text), *after[1:]]
    raw = part.choices[0].raw_stop_reason if part.choices else None
    return Choice(content=(*parts, *after), stop_reason=part.stop_reason, raw_stop_reason=raw)
