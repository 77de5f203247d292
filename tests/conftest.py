"""What every test gets: an environment with no keys and no settings of the developer."""

import os

import pytest


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Remove keys, base URLs and proxies, so that no test can reach or bill a provider."""
    for name in os.environ:
        if name.endswith(("_API_KEY", "_BASE_URL", "_AUTH_TOKEN", "_PROXY", "_proxy")) or name.startswith("PENSTOCK_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path_factory.getbasetemp() / "nobody-lives-here"))
