"""A real browser for tests; a machine without one skips them, and CI must have one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from tools.chromium import find, launched


def a_browser() -> Iterator[Browser]:
    """A browser for some tests."""
    if find() is None:
        if os.environ.get("CI"):
            pytest.fail("CI has no Chromium: .ci/run installs it")
        pytest.skip("needs Chromium (Debian, Ubuntu: apt install chromium)")
    with launched() as browser:
        yield browser
