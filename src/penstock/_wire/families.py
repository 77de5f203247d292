"""What model families take, one row each; the first row whose pattern matches a model's own name counts.

A row says only what is documented, or was answered by the provider, and what stays so: a name that moves from model to
model has no limits here. None is not known, and lets everything through.
Windows and limits are in tokens; windows that are missing here are those of the price table, where it has them. Models
that no row knows pass unchecked.

Source: the providers' model pages and error messages (read 2026-11); reference/wire.md section 12; openai-python 3.52
and anthropic-python 2.11 types.
"""

from __future__ import annotations

from typing import Final

import msgspec

SAMPLING: Final = ("temperature", "top_p")
_REASONING_REJECTS: Final = (
    *SAMPLING,
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
)
_CLAUDE_REJECTS: Final = (*SAMPLING, "top_k")
RESPONSES: Final = ("openai_responses",)


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """Models that share what they take.

    `context` is the window, `max_output` the longest answer. `rejects` are parameters of a request. `effort_none`:
    sampling is taken again when reasoning_effort is none. `prefill`: a last turn of the assistant is the beginning of
    the answer. `tools`, `schema`, `images`, `documents` and `audio` say what may be asked with; None where nobody
    knows. `wires` are the only protocols in which the model's provider speaks to it, where not all do.
    """

    pattern: str
    context: int | None = None
    max_output: int | None = None
    reasoning: bool = False
    rejects: tuple[str, ...] = ()
    effort_none: bool = False
    prefill: bool = False
    tools: bool | None = None
    schema: bool | None = None
    images: bool | None = None
    documents: bool | None = None
    audio: bool | None = None
    wires: tuple[str, ...] = ()


def _gpt(pattern: str, context: int, max_output: int, *, schema: bool = True, sees: bool = True) -> Family:
    return Family(
        pattern=pattern,
        context=context,
        max_output=max_output,
        tools=True,
        schema=schema,
        images=sees,
        documents=sees,
        audio=False,
    )


def _reasoner(
    pattern: str, context: int | None, max_output: int, *more: str, effort_none: bool = False, sees: bool = True
) -> Family:
    return Family(
        pattern=pattern,
        context=context,
        max_output=max_output,
        reasoning=True,
        rejects=(*_REASONING_REJECTS, *more),
        effort_none=effort_none,
        tools="tools" not in more,
        schema="tools" not in more,
        images=sees,
        documents=sees,
        audio=False,
    )


def _only_responses(pattern: str, context: int | None, max_output: int, *more: str) -> Family:
    return msgspec.structs.replace(_reasoner(pattern, context, max_output, *more), wires=RESPONSES)


def _claude(
    pattern: str,
    context: int,
    max_output: int,
    *,
    schema: bool = True,
    prefill: bool = False,
    samples: bool = True,
    reasoning: bool = True,
) -> Family:
    return Family(
        pattern=pattern,
        context=context,
        max_output=max_output,
        reasoning=reasoning,
        rejects=() if samples else _CLAUDE_REJECTS,
        prefill=prefill,
        tools=True,
        schema=schema,
        images=True,
        documents=True,
    )


def _plain(pattern: str, context: int | None = None, *, sees: bool = False, reasoning: bool = False) -> Family:
    """A model of text, or of text and pictures."""
    return Family(
        pattern=pattern,
        context=context,
        reasoning=reasoning,
        tools=True,
        images=sees,
        documents=None if sees else False,
        audio=False,
    )


def _gemini(pattern: str, max_output: int, *, reasoning: bool = False) -> Family:
    return Family(
        pattern=pattern,
        context=1_048_576,
        max_output=max_output,
        reasoning=reasoning,
        tools=True,
        schema=True,
        images=True,
        documents=True,
        audio=True,
    )


FAMILIES: Final[tuple[Family, ...]] = (
    # OpenAI
    _only_responses("gpt-5-pro*", 400_000, 272_000, "stop"),
    _only_responses("gpt-5.*-pro*", None, 128_000, "stop"),
    _only_responses("gpt-5*-codex*", 400_000, 128_000, "stop"),
    _only_responses("codex-*", 200_000, 100_000, "stop"),
    _only_responses("o1-pro*", 200_000, 100_000, "stop"),
    _only_responses("o3-pro*", 200_000, 100_000, "stop"),
    _only_responses("o[34]*-deep-research*", 200_000, 100_000, "stop"),
    Family(pattern="gpt-5*-search*", max_output=128_000, tools=True, schema=True, images=True),
    _gpt("gpt-5*-chat*", 128_000, 16_384),
    _reasoner("gpt-5.4-[mn]*", 400_000, 128_000, effort_none=True),
    _reasoner("gpt-5.[4-9]*", 1_050_000, 128_000, effort_none=True),
    _reasoner("gpt-5.[1-3]*", 400_000, 128_000, effort_none=True),
    _reasoner("gpt-5*", 400_000, 128_000, "stop"),
    _reasoner("gpt-[6-9]*", 1_050_000, 128_000, effort_none=True),
    Family(
        pattern="gpt-oss-*", context=131_072, reasoning=True, tools=True, images=False, documents=False, audio=False
    ),
    _reasoner("o1-mini*", 128_000, 65_536, "system", "tools", "stop", sees=False),
    _reasoner("o1-preview*", 128_000, 32_768, "system", "tools", "stop", sees=False),
    _reasoner("o1*", 200_000, 100_000),
    _reasoner("o3-mini*", 200_000, 100_000, "stop", sees=False),
    _reasoner("o3*", 200_000, 100_000, "stop"),
    _reasoner("o4*", 200_000, 100_000, "stop"),
    Family(pattern="gpt-4o*-audio*", context=128_000, max_output=16_384, tools=True, images=False, audio=True),
    Family(
        pattern="gpt-audio*", context=128_000, max_output=16_384, tools=True, schema=False, images=False, audio=True
    ),
    _gpt("gpt-4.1*", 1_047_576, 32_768),
    _gpt("gpt-4o-2024-05-13", 128_000, 16_384, schema=False),
    _gpt("chatgpt-4o*", 128_000, 16_384, schema=False),
    _gpt("gpt-4o*", 128_000, 16_384),
    _gpt("gpt-4-turbo*", 128_000, 4_096, schema=False),
    _gpt("gpt-4-*-preview", 128_000, 4_096, schema=False),
    _gpt("gpt-4-32k*", 32_768, 32_768, schema=False, sees=False),
    _gpt("gpt-4-*", 8_192, 8_192, schema=False, sees=False),
    _gpt("gpt-4", 8_192, 8_192, schema=False, sees=False),
    _gpt("gpt-3.5*", 16_385, 4_096, schema=False, sees=False),
    # Anthropic
    _claude("claude-2*", 200_000, 4_096, schema=False, prefill=True, reasoning=False),
    _claude("claude-3-haiku*", 200_000, 4_096, schema=False, prefill=True, reasoning=False),
    _claude("claude-3-opus*", 200_000, 4_096, schema=False, prefill=True, reasoning=False),
    _claude("claude-3-5*", 200_000, 8_192, schema=False, prefill=True, reasoning=False),
    _claude("claude-3-7*", 200_000, 64_000, schema=False, prefill=True),
    _claude("claude-3*", 200_000, 4_096, schema=False, prefill=True, reasoning=False),
    _claude("claude-opus-4-0*", 200_000, 32_000, schema=False, prefill=True),
    _claude("claude-opus-4-20*", 200_000, 32_000, schema=False, prefill=True),
    _claude("claude-opus-4-1*", 200_000, 32_000, prefill=True),
    _claude("claude-opus-4-5*", 200_000, 64_000, prefill=True),
    _claude("claude-opus-4-6*", 1_000_000, 128_000),
    _claude("claude-opus-4-*", 1_000_000, 128_000, samples=False),
    _claude("claude-sonnet-4-[6-9]*", 1_000_000, 128_000),
    _claude("claude-sonnet-4-0*", 200_000, 64_000, schema=False, prefill=True),
    _claude("claude-sonnet-4-20*", 200_000, 64_000, schema=False, prefill=True),
    _claude("claude-sonnet-4*", 200_000, 64_000, prefill=True),
    _claude("claude-haiku-4*", 200_000, 64_000, prefill=True),
    _claude("claude-*-[5-9]*", 1_000_000, 128_000, samples=False),
    # Cohere
    Family(pattern="command-a-vision*", context=128_000, max_output=8_192, tools=False, images=True, audio=False),
    Family(pattern="command-a-reasoning*", context=256_000, max_output=32_768, reasoning=True, tools=True, audio=False),
    Family(
        pattern="command-a-03*", context=256_000, max_output=8_192, tools=True, schema=True, images=False, audio=False
    ),
    Family(pattern="command-r*", context=128_000, max_output=4_096, tools=True, images=False, audio=False),
    Family(pattern="c4ai-aya-expanse*", tools=False, images=False, audio=False),
    # Google
    Family(pattern="gemini-*-image*", images=True),
    Family(pattern="gemini-*-tts*", images=False, tools=False),
    _gemini("gemini-2.0*", 8_192),
    _gemini("gemini-2.5*", 65_536, reasoning=True),
    _gemini("gemini-[3-9]*", 65_536, reasoning=True),
    # Others
    Family(pattern="deepseek-reasoner", reasoning=True),
    Family(pattern="deepseek-*", tools=True),
    _plain("mistral-large-2[34]*"),
    _plain("mistral-large-*", sees=True),
    _plain("mistral-medium-*", sees=True),
    _plain("mistral-small-*", sees=True),
    _plain("pixtral-*", 128_000, sees=True),
    Family(pattern="magistral-*", reasoning=True, tools=True),
    Family(pattern="codestral-*", tools=True),
    Family(pattern="devstral-*", tools=True),
    _plain("open-mi*"),
    _plain("grok-2-vision*", sees=True),
    _plain("grok-2*"),
    _plain("grok-3-mini*", reasoning=True),
    _plain("grok-3*"),
    Family(pattern="grok-4*", tools=True),
    _plain("llama-3.[13]-*", 131_072),
)
