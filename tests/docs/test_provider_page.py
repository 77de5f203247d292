"""The page of the providers lists the providers that there are."""

from __future__ import annotations

import pytest
from tools.provider_page import PAGE, TABLE, filled, main

from penstock._wire import registry

TEXT = PAGE.read_text(encoding="utf-8")
PROVIDERS = registry.parse(TABLE.read_text(encoding="utf-8"), TABLE.name)


def test_the_table_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """A row that was added or changed is seen on the page; the tool says how to mend it."""
    assert main(["--check"]) == 0, capsys.readouterr().out


def test_a_table_that_is_out_of_date_is_noticed() -> None:
    """A missing provider makes the page differ."""
    assert filled(TEXT.replace("GROQ_API_KEY", "GROK_API_KEY")) == TEXT


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_is_on_the_page_with_its_variables(name: str) -> None:
    """Name, wire, address and variables stand in one line."""
    row = PROVIDERS[name]
    line = next(line for line in TEXT.splitlines() if line.startswith("| ") and f"`{name}`" in line.split("|")[1])
    for value in (row.wire, row.base_url, *row.key_env, *row.base_url_env):
        assert value in line


@pytest.mark.parametrize("wire", registry.WIRES)
def test_a_protocol_has_a_column_of_what_it_takes(wire: str) -> None:
    """What it refuses is as visible as what it takes."""
    head, *rows = TEXT.partition("<!-- parameters -->\n")[2].partition("<!-- end -->")[0].splitlines()
    column = head.split("|").index(f" `{wire}` ")
    assert {row.split("|")[column].strip() for row in rows[1:]} == {"yes", "–"}
