"""What the bare transports share: the request as bytes, typed decoding, and the least that reads a stream."""

from typing import Final

import msgspec
from bench import answers

HEADERS: Final = {
    "Authorization": "Bearer x",
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "bare/1.0",
}
STREAM_HEADERS: Final = {**HEADERS, "Accept": "text/event-stream", "Accept-Encoding": "identity"}
STREAM_BODY: Final = {**answers.BODY, "stream": True, "stream_options": {"include_usage": True}}
BODY_PATH: Final = "/v1/chat/completions"
DONE: Final = b"data: [DONE]"
PREFIX: Final = b"data: "


class Message(msgspec.Struct):
    role: str
    content: str | None = None


class Choice(msgspec.Struct):
    message: Message
    finish_reason: str | None = None


class Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Reply(msgspec.Struct):
    id: str
    model: str
    choices: list[Choice]
    usage: Usage


class Delta(msgspec.Struct):
    content: str | None = None


class ChunkChoice(msgspec.Struct):
    delta: Delta
    index: int = 0
    finish_reason: str | None = None


class Chunk(msgspec.Struct):
    id: str
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Reply).decode
decode_chunk: Final = msgspec.json.Decoder(Chunk).decode


class Texts:
    """The least that reads a well-formed stream: split at blank lines, decode, keep the text."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.rest = b""

    def feed(self, data: bytes) -> None:
        *events, self.rest = (self.rest + data).split(b"\n\n")
        for event in events:
            if event.startswith(PREFIX) and event != DONE:
                for choice in decode_chunk(event[len(PREFIX) :]).choices:
                    if choice.delta.content:
                        self.texts.append(choice.delta.content)
