"""Token numbers without a tokenizer: a likely one, and one that is never too low."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock._text import tokens
from penstock.types import (
    Audio,
    Document,
    Image,
    JSONSchema,
    Message,
    Opaque,
    Part,
    Reasoning,
    Refusal,
    Request,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

PROSE = "The quick brown fox jumps over the lazy dog, and nobody in the village was surprised. " * 20
CODE = "def add(a: int, b: int) -> int:\n    return a + b  # the sum\n\n" * 20


def request(*parts: Part) -> Request:
    return Request(model="m", messages=(Message("user", parts),))


@pytest.mark.parametrize(
    ("text", "known"), [("", 0), ("hello", 1), (PROSE, 360), (CODE, 480), ("你好，世界" * 50, 250)]
)
def test_estimates_are_near_what_tokenizers_say(text: str, known: int) -> None:
    """Within a third of figures that common 100k and 200k vocabularies give."""
    assert known * 0.66 <= tokens.estimate(text) <= known * 1.34


def test_long_texts_are_sampled() -> None:
    """A part stands for the whole, at no great loss."""
    assert tokens.estimate(PROSE * 50) == pytest.approx(50 * tokens.estimate(PROSE), rel=0.05)


@given(st.text(max_size=300))
def test_the_bound_is_at_least_the_bytes(text: str) -> None:
    """A byte-level tokenizer makes at most one token per byte, and the bound counts them all."""
    assert tokens.bound(Request(model="m", messages=(Message("user", text),))) >= len(text.encode("utf-8", "replace"))


ANY_PART = st.one_of(
    st.builds(Text, st.text(max_size=50)),
    st.builds(Refusal, st.text(max_size=50)),
    st.builds(Image, url=st.just("https://x"), detail=st.sampled_from([None, "low", "high"])),
    st.builds(Document, text=st.text(max_size=50), title=st.text(max_size=9)),
    st.builds(Document, data=st.text("AQ", min_size=4, max_size=4000)),
    st.builds(Document, file_id=st.just("f")),
    st.builds(Audio, data=st.text("AQ", max_size=4000)),
    st.builds(Reasoning, text=st.text(max_size=50), signature=st.none() | st.text(max_size=20)),
    st.builds(ToolCall, id=st.text(max_size=9), name=st.text(max_size=9), arguments=st.text(max_size=50)),
    st.builds(ToolResult, tool_call_id=st.text(max_size=9), content=st.text(max_size=50)),
    st.builds(ToolResult, tool_call_id=st.just("i"), content=st.tuples(st.builds(Text, st.text(max_size=50)))),
    st.builds(Opaque, kind=st.just("k"), data=st.dictionaries(st.text(max_size=5), st.integers(), max_size=3)),
)


@given(st.lists(ANY_PART, max_size=5))
def test_the_bound_is_never_below_the_estimate(parts: list[Part]) -> None:
    """Whatever the parts, what is held covers what is expected."""
    asked = request(*parts)
    assert 0 < tokens.estimate_request(asked) <= tokens.bound(asked)


def test_tools_and_schemas_count() -> None:
    """They are part of the prompt, so both numbers grow with them."""
    plain = request(Text("x"))
    schema = {"type": "object", "properties": {"city": {"type": "string", "description": "a city " * 20}}}
    more = msgspec.structs.replace(
        plain,
        tools=(Tool(name="weather", description="tells the weather", parameters=schema),),
        response_format=JSONSchema(schema=schema),
        extra={"documents": ["x" * 100]},
        prediction={"type": "content", "content": "y"},
    )
    assert tokens.estimate_request(more) > tokens.estimate_request(plain) + 50
    assert tokens.bound(more) > tokens.bound(plain) + 200


def test_what_is_not_json_still_counts() -> None:
    """A value that cannot be written is measured by its repr, and refused later by the wire."""
    asked = msgspec.structs.replace(request(Text("x")), extra={"a": object()})
    assert tokens.bound(asked) > 0


def test_a_low_detail_picture_is_cheaper() -> None:
    """OpenAI charges 85 tokens for one."""
    low, high = request(Image(url="u", detail="low")), request(Image(url="u"))
    assert tokens.estimate_request(low) < tokens.estimate_request(high)
