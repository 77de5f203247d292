"""The page of public names has every argument, option and field that a user can set."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from penstock import BreakerSettings, Budget, Cache, Client, Limits, RetryPolicy, Timeouts
from penstock._flow.prompt import OPTIONS

TEXT = (Path(__file__).parent.parent.parent / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
ARGUMENTS = [name for name in inspect.signature(Client).parameters if name != "self"]
SETTINGS = (Limits, Budget, Cache, Timeouts, RetryPolicy, BreakerSettings)
METHODS = [name for name in dir(Client) if not name.startswith("_")]


@pytest.mark.parametrize("name", [*ARGUMENTS, *sorted(OPTIONS)])
def test_an_argument_is_on_the_page(name: str) -> None:
    """Of a client or of a call."""
    assert re.search(rf"`{name}\b", TEXT), f"{name} is not in docs/reference/api.md"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_on_the_page(name: str) -> None:
    """With its brackets."""
    assert f"`{name}(" in TEXT


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.__name__)
def test_the_fields_of_a_setting_stand_in_its_row(setting: type) -> None:
    """With their defaults, where they have one that is a number."""
    row = re.search(rf"^\| `{setting.__name__}` \| (`.*) \|$", TEXT, re.MULTILINE)
    assert row
    for name, default in zip(setting.__struct_fields__, setting.__struct_defaults__, strict=True):  # type: ignore[attr-defined]
        assert f"`{name}`" in row[1]
        if type(default) in (int, float):
            assert re.search(rf"`{name}` \({default:.12g}[,)]", row[1]), f"{name} defaults to {default:.12g}"
