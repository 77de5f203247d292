"""The page of the providers lists the providers that there are."""

from __future__ import annotations

import tomllib

import pytest
from tools.provider_page import PAGE, TABLE, filled, main

TEXT = PAGE.read_text(encoding="utf-8")
PROVIDERS = tomllib.loads(TABLE.read_text(encoding="utf-8"))["providers"]


def test_the_table_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """A row that was added or changed is seen on the page; the tool says how to mend it."""
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_a_table_that_is_out_of_date_is_noticed() -> None:
    """A missing provider makes the page differ."""
    assert filled(TEXT.replace("GROQ_API_KEY", "GROK_API_KEY")) == TEXT


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_is_on_the_page_with_its_variables(name: str) -> None:
    """Name, wire, address and variables stand in one line."""
    provider = PROVIDERS[name]
    line = next(line for line in TEXT.splitlines() if line.startswith("| ") and f"`{name}`" in line.split("|")[1])
    for value in (provider["wire"], provider.get("base_url", ""), *provider["key_env"], *provider["base_url_env"]):
        assert value in line
