"""Recorded traffic of real providers, read as the official SDKs read it; skipped where the recordings are absent."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def recorded() -> ModuleType:
    """The tool, loaded by its path."""
    spec = importlib.util.spec_from_file_location("recorded_tool", ROOT / "tools" / "recorded.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["recorded_tool"] = module
    spec.loader.exec_module(module)
    if not (module.CORPUS / "replay.py").exists():
        pytest.skip(f"no recorded traffic at {module.CORPUS}")
    return module


@pytest.mark.filterwarnings("ignore")
def test_a_sample_agrees_with_the_official_sdks(
    recorded: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The smallest folder, at the wire and through both drivers, in every chunk size."""
    out = tmp_path / "recorded.json"
    status = recorded.main(["--folder", "anthropic-sdk-python", "--out", str(out)])
    assert status == 0, capsys.readouterr().out
    figures = json.loads(out.read_text("utf-8"))["figures"]
    assert figures["disagreements"] == 0
    assert figures["agreed"] == 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_everything_agrees_with_the_official_sdks(
    recorded: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every chat and messages interaction of every provider, every error body its class."""
    out = tmp_path / "recorded.json"
    assert recorded.main(["--out", str(out)]) == 0, capsys.readouterr().out


def test_absent_recordings_are_said_plainly(
    recorded: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is run, nothing fails."""
    assert recorded.main(["--corpus", str(tmp_path)]) == 0
    assert "skipped: no recorded traffic" in capsys.readouterr().out


def test_a_reader_that_errs_is_caught(recorded: ModuleType) -> None:
    """A checker that cannot fail proves nothing."""
    truth = recorded.Seen(texts=["a"], calls=[[("i", "f", {})]], stops=["stop"], usage={"prompt": 1})
    for wrong in (
        recorded.Seen(texts=["b"], calls=[[("i", "f", {})]], stops=["stop"], usage={"prompt": 1}),
        recorded.Seen(texts=["a"], calls=[[("i", "g", {})]], stops=["stop"], usage={"prompt": 1}),
        recorded.Seen(texts=["a"], calls=[[]], stops=["stop"], usage={"prompt": 1}),
        recorded.Seen(texts=["a"], calls=[[("i", "f", {})]], stops=["length"], usage={"prompt": 1}),
        recorded.Seen(texts=["a"], calls=[[("i", "f", {})]], stops=["stop"], usage={"prompt": 2}),
        recorded.Seen(texts=["a"], calls=[[("i", "f", {})]], stops=["stop"], usage=None),
    ):
        assert recorded.differences(truth, wrong)
    assert recorded.differences(truth, truth) == []
