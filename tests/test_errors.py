"""The error tree: every class says what it is, what the caller can do, and is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from penstock import errors

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "errors.md"
CLASSES = errors.all_errors()


def test_codes_are_unique() -> None:
    """A code names one class in outputs, metrics and docs."""
    codes = [cls.code for cls in CLASSES]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_reference_tells_the_truth_about_a_class(cls: type[errors.PenstockError]) -> None:
    """Code, retriable and exit code on the page are those of the class, and the page says what to do."""
    text = PAGE.read_text("utf-8")
    row = re.search(rf"^\| `{cls.__name__}` \| `(\w+)` \| (yes|no) \| (\d+) \| (.+) \|$", text, re.M)
    assert row, f"{cls.__name__} is not in docs/reference/errors.md"
    assert row.groups()[:3] == (cls.code, "yes" if cls.retriable else "no", str(cls.exit_code))
    assert cls.__doc__


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_class_stands_in_the_tree_at_the_top_of_the_file(cls: type[errors.PenstockError]) -> None:
    """The drawing is complete."""
    assert errors.__doc__
    assert re.search(rf"\b{cls.__name__}\b", errors.__doc__)


def test_timeouts_and_connection_faults_are_the_standard_library_ones_too() -> None:
    """Code that catches TimeoutError, ConnectionError or ValueError keeps working."""
    for cls in (errors.DeadlineExceeded, errors.FirstTokenTimeout, errors.IdleTimeout, errors.TotalTimeout):
        assert issubclass(cls, TimeoutError)
    assert issubclass(errors.ConnectionFailed, ConnectionError)
    assert issubclass(errors.ConfigError, ValueError)


def test_an_error_tells_where_what_and_the_request() -> None:
    """One sentence has provider, message, status and request id."""
    error = errors.RateLimited("slow down", provider="openai", model="gpt", status=429, request_id="req_1")
    assert str(error) == "openai:gpt: slow down [HTTP 429] [request req_1]"
