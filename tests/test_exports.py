"""The public promise: what `from penstock import …` offers, and that each name is explained."""

import importlib
import re
from pathlib import Path

import pytest

import penstock

PROMISE = [
    "Agent",
    "AgentEvent",
    "AgentFailed",
    "AgentResult",
    "AgentStream",
    "AgentTool",
    "AsyncAgent",
    "AsyncAgentStream",
    "AsyncClient",
    "AsyncExtractStream",
    "AsyncStream",
    "Attempt",
    "Audio",
    "BreakerSettings",
    "Budget",
    "BudgetAlert",
    "Cache",
    "Cascade",
    "CheckFailed",
    "Choice",
    "Chunk",
    "Client",
    "Document",
    "Embeddings",
    "ErrorPolicy",
    "ExtractStream",
    "Extracted",
    "ExtractionFailed",
    "Hedge",
    "Image",
    "JSONSchema",
    "Ledger",
    "Limits",
    "McpServer",
    "Message",
    "ModelFacts",
    "Notice",
    "Opaque",
    "ParseError",
    "Parsed",
    "PenstockError",
    "Ranked",
    "Reasoning",
    "Refusal",
    "Repair",
    "Request",
    "Reranking",
    "Response",
    "RetryPolicy",
    "Route",
    "Routing",
    "Seam",
    "Stream",
    "Text",
    "Thinking",
    "Timeouts",
    "TokenCount",
    "Tool",
    "ToolCall",
    "ToolResult",
    "ToolUse",
    "Toolbox",
    "Totals",
    "Transcript",
    "Truncate",
    "Usage",
    "__version__",
    "detect_complexity",
    "parse",
    "tool",
]

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"


def test_the_public_names_are_the_promised_ones() -> None:
    """Adding or removing a public name is a decision, made here as well."""
    assert sorted(penstock.__all__) == sorted(PROMISE)


def test_every_public_name_is_listed_by_dir() -> None:
    """Lazily loaded names are visible to people who explore in a shell."""
    assert set(PROMISE) <= set(dir(penstock))


@pytest.mark.parametrize("name", PROMISE)
def test_a_public_name_is_importable_and_says_what_it_is(name: str) -> None:
    """Each name loads and, unless it is a plain value, carries a docstring of its own."""
    value = getattr(importlib.import_module("penstock"), name)
    if isinstance(value, type) or callable(value):
        assert (value.__doc__ or "").strip(), f"{name} has no docstring"


@pytest.mark.parametrize("name", PROMISE)
def test_a_public_name_is_in_the_reference(name: str) -> None:
    """Each name stands in a heading or in code type somewhere under docs/reference."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("*.md")))
    assert re.search(rf"`{name}\b|^#+ .*\b{name}\b", text, re.MULTILINE), f"{name} is not in docs/reference"


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The lazy loader fails like any module does."""
    with pytest.raises(AttributeError, match="NoSuchName"):
        getattr(penstock, "NoSuchName")  # noqa: B009
