"""What model families are known to take."""

from typing import Any

import pytest

from penstock._wire import capabilities
from penstock._wire.protocol import Provider
from penstock.errors import UnsupportedParameter
from penstock.types import Message, Request, Tool

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
    assert capabilities.check(asked(model, **field), OPENAI) == ()


def test_values_that_repeat_the_default_are_left_out() -> None:
    """A temperature of 1 asks for nothing else than the model does."""
    assert set(capabilities.check(asked("gpt-5", temperature=1.0, top_p=1.0), OPENAI)) == {"temperature", "top_p"}


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
