"""What model families are known to take."""

import re
from typing import Any

import pytest

from penstock._wire import capabilities
from penstock._wire.families import FAMILIES
from penstock._wire.protocol import Provider
from penstock.errors import UnsupportedParameter
from penstock.types import Audio, Document, Image, Message, Part, Request, Text, Tool, ToolResult

from .streams import OPENAI


def asked(model: str, **fields: Any) -> Request:
    """A request to a model."""
    return Request(model=model, messages=(Message("user", "x"),), **fields)


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ("gpt-5", {"temperature": 0.2}),
        ("gpt-5-mini-2025-08-07", {"top_p": 0.5}),
        ("o3-mini", {"presence_penalty": 0.5}),
        ("o4-mini", {"stop": ("x",)}),
        ("o1-preview", {"tools": (Tool(name="f"),)}),
        ("gpt-5.1", {"temperature": 0.2}),
        ("gpt-5", {"extra": {"temperature": 0.2}}),
        ("claude-sonnet-5", {"top_k": 3}),
        ("claude-opus-4-8", {"temperature": 0.2}),
    ],
)
def test_what_a_family_rejects_is_refused(model: str, field: dict[str, Any]) -> None:
    """Before anything is paid, naming the parameter."""
    with pytest.raises(UnsupportedParameter, match="leave it out"):
        capabilities.check(asked(model, **field), OPENAI)


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ("gpt-4o", {"temperature": 0.2}),
        ("gpt-5-chat-latest", {"temperature": 0.2}),
        ("gpt-5.1", {"temperature": 0.2, "reasoning_effort": "none"}),
        ("unheard-of", {"temperature": 0.2}),
        ("openai/gpt-5", {"temperature": 0.2}),
        ("claude-haiku-4-5", {"temperature": 0.2}),
        ("claude-opus-4-5", {"temperature": 0.2}),
        ("claude-3-5-sonnet-latest", {"top_k": 2}),
    ],
)
def test_what_a_family_takes_passes(model: str, field: dict[str, Any]) -> None:
    """Unknown models too, and a gateway's names: it adapts by itself."""
    assert capabilities.check(asked(model, **field), OPENAI).left_out == ()


def test_values_that_repeat_the_default_are_left_out() -> None:
    """A temperature of 1 asks for nothing else than the model does."""
    assert set(capabilities.check(asked("gpt-5", temperature=1.0, top_p=1.0), OPENAI).left_out) == {
        "temperature",
        "top_p",
    }


def test_a_row_refuses_too() -> None:
    """Mistral knows no seed."""
    row = Provider(name="mistral", wire="openai_chat", unsupported=("seed", "system"))
    with pytest.raises(UnsupportedParameter, match="provider 'mistral'") as caught:
        capabilities.check(asked("m", seed=1), row)
    assert caught.value.param == "seed"
    with pytest.raises(UnsupportedParameter):
        capabilities.check(Request(model="m", messages=(Message("system", "x"),)), row)


@pytest.mark.parametrize(
    ("model", "output", "context"),
    [
        ("gpt-4o-mini", 16_384, 128_000),
        ("openai/gpt-4o-mini", 16_384, 128_000),
        ("claude-haiku-4-5", 64_000, 200_000),
        ("claude-sonnet-4-5-20250929", 64_000, 200_000),
        ("claude-opus-4-1", 32_000, 200_000),
        ("claude-opus-4-20250514", 32_000, 200_000),
        ("claude-3-haiku-20240307", 4_096, 200_000),
        ("unheard-of", None, None),
    ],
)
def test_limits_of_known_models_are_told(model: str, output: int | None, context: int | None) -> None:
    """A vendor's prefix does not hide them."""
    assert capabilities.max_output(model) == output
    assert capabilities.context_window(model) == context


def test_what_is_left_out_is_said() -> None:
    """In words, with the value and why."""
    (note,) = capabilities.check(asked("gpt-5", temperature=1.0), OPENAI).notes
    assert note == "temperature=1.0 was left out: models like 'gpt-5*' reject it, and do as it says anyway"


PICTURE, PAGE, SOUND = Image(url="https://x/a.png"), Document(url="https://x/a.pdf"), Audio(data="AA")


@pytest.mark.parametrize(
    ("model", "part", "param"),
    [
        ("gpt-3.5-turbo", PICTURE, "messages[1] (image)"),
        ("o3-mini", ToolResult(tool_call_id="c", content=(PICTURE,)), "messages[1] (image)"),
        ("grok-3", PAGE, "messages[1] (document)"),
        ("gpt-4o", SOUND, "messages[1] (audio)"),
        ("gpt-audio", PICTURE, "messages[1] (image)"),
    ],
)
def test_what_a_model_cannot_see_or_hear_is_refused(model: str, part: Part, param: str) -> None:
    """Before anything is paid; the error says which message, and the model."""
    request = Request(model=model, messages=(Message("system", "x"), Message("user", (Text("look"), part))))
    with pytest.raises(UnsupportedParameter, match="models like") as caught:
        capabilities.check(request, OPENAI)
    assert (caught.value.param, caught.value.model) == (param, model)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("gpt-4o", PICTURE),
        ("claude-haiku-4-5", PAGE),
        ("gpt-4o-audio-preview", SOUND),
        ("gpt-3.5-turbo", Document(text="words")),
        ("gpt-4o", Audio(id="au_1", transcript="said before")),
        ("unheard-of", SOUND),
        ("vendor/gpt-3.5-turbo", PICTURE),
    ],
)
def test_what_a_model_can_see_passes(model: str, part: Part) -> None:
    """What nobody knows too."""
    request = Request(model=model, messages=(Message("user", (part,)),))
    assert capabilities.check(request, OPENAI) == capabilities.Checked()


def test_an_answer_longer_than_the_model_can_give_is_refused() -> None:
    """At the limit it passes."""
    assert capabilities.check(asked("gpt-4o", max_tokens=16_384), OPENAI).left_out == ()
    with pytest.raises(UnsupportedParameter, match="at most 16,384 tokens, not 16,385") as caught:
        capabilities.check(asked("gpt-4o", max_tokens=16_385), OPENAI)
    assert caught.value.param == "max_tokens"


@pytest.mark.parametrize("model", ["gpt-5-pro", "gpt-5.4-pro", "o1-pro", "o3-deep-research", "gpt-5.3-codex"])
def test_a_model_that_only_responses_speaks_names_its_row(model: str) -> None:
    """The error says what to write; a gateway translates, and Responses takes it."""
    with pytest.raises(UnsupportedParameter, match=f"openai-responses:{model}"):
        capabilities.check(asked(model), OPENAI)
    capabilities.check(asked(model), Provider(name="openai-responses", account="openai", wire="openai_responses"))
    capabilities.check(asked(model), Provider(name="proxy", wire="openai_chat"))


def test_a_row_may_switch_all_of_it_off() -> None:
    """Where the server knows better than the table."""
    row = Provider(name="proxy", wire="openai_chat", families=False, unsupported=("seed",))
    assert capabilities.check(asked("gpt-5", temperature=0.2), row) == capabilities.Checked()
    assert capabilities.no_schema("gpt-4", row) is None
    assert capabilities.no_schema("gpt-4", OPENAI) is not None
    with pytest.raises(UnsupportedParameter):
        capabilities.check(asked("gpt-5", seed=1), row)


def test_every_row_can_be_reached() -> None:
    """A row that an earlier one hides would say nothing."""
    for row in FAMILIES:
        name = re.sub(r"\[(.).*?\]", r"\1", row.pattern).replace("*", "")
        assert capabilities.family(name) is row, row.pattern
