"""The pytest fixture `penstock_cassette`: a cassette per test, in `cassettes/` beside its file.

    def test_answer(penstock_cassette):
        with Client(transport=penstock_cassette.transport(), keys={"openai": key}) as client: …

`--penstock-cassettes=record` records all that run anew, `=replay` sends nothing (for CI), `=auto` is the default. The
cassette of a test that failed is not written.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from ._io.cassette import Cassette
    from ._io.tape import Mode

_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("penstock").addoption(
        "--penstock-cassettes",
        choices=("auto", "record", "replay"),
        default="auto",
        help="auto: replay a cassette that is there, else record it; record: record anew; replay: send nothing",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Remember of a test that it failed."""
    report = yield
    if report.when == "call" and report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture
def penstock_cassette(request: pytest.FixtureRequest) -> Generator[Cassette]:
    """Give a cassette that is this test's own: `cassettes/FILE/TEST.json` beside its file."""
    from ._io.cassette import Cassette  # loaded with the first cassette

    node = cast(pytest.Item, request.node)
    name = re.sub(r"[^\w.-]+", "-", node.name).strip("-")
    path = node.path.parent / "cassettes" / node.path.stem / f"{name}.json"
    made = Cassette(path, cast("Mode", request.config.getoption("--penstock-cassettes")))
    yield made
    if _FAILED not in node.stash:
        made.save()
