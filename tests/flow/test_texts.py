"""What a caller may give to `embed`: texts, and options by name; anything else is said with its place."""

from __future__ import annotations

from typing import Any

import pytest

from penstock._flow.texts import check_options, read_texts
from penstock.errors import ConfigError, InputError

MODEL = "openai:text-embedding-3-small"


def test_one_text_is_a_list_of_one() -> None:
    """And any iterable of texts will do."""
    assert read_texts("a") == ["a"]
    assert read_texts(("a", "b")) == read_texts(iter(["a", "b"])) == ["a", "b"]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "the list of texts is empty"),
        (["a", ""], "index 1 is an empty text"),
        ([" \n"], "index 0 is a text of blanks only"),
        (["a", "b", 3], "index 2 is int 3"),
        (["a", None], "index 1 is NoneType None"),
        ([["x" * 99]], r"index 0 is list \['xxx.*…; expected a text"),
        (b"bytes", "got bytes"),
        (7, "got int"),
        ({"a": "b"}, "got dict"),
        (None, "got NoneType"),
    ],
)
def test_a_bad_input_is_named_with_its_index(texts: Any, words: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InputError, match=words):
        read_texts(texts)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dimension": 3}, "did you mean 'dimensions'"),
        ({"temperature": 1}, r"goes into extra=\{"),
        ({"dimensions": 0}, "'dimensions' is 0; expected a whole number of at least 1"),
        ({"dimensions": True}, "'dimensions' is True"),
        ({"concurrency": 1.5}, "'concurrency' is 1.5"),
        ({"on_bad_input": "ignore"}, "expected one of raise, skip"),
        ({"priority": "now"}, "expected one of"),
        ({"tags": {"a": 1}}, "expected a dict of strings"),
        ({"user": 5}, "'user' is 5"),
        ({"extra": ["x"]}, "'extra' is"),
        ({"extra": {"dimensions": 5}}, "give it as dimensions="),
        ({"extra": {"encoding_format": "float"}}, "Penstock chooses it"),
        ({"extra": {"input": "x"}}, "the texts are the first argument"),
        ({"model": ""}, "name one that embeds"),
        ({"model": None}, "name one that embeds"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], words: str) -> None:
    """With what was expected."""
    with pytest.raises(ConfigError, match=words):
        check_options({"model": MODEL, **options})


def test_good_options_pass() -> None:
    """All of them."""
    check_options(
        {
            "model": MODEL,
            "dimensions": 256,
            "user": None,
            "on_bad_input": "skip",
            "deadline_s": 5,
            "tags": {"team": "sre"},
            "priority": "batch",
            "concurrency": 2,
            "extra": {"input_type": "query"},
        }
    )
