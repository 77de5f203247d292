"""Windows and counts against the simulator, which counts by its own rule and refuses what is too long."""

from __future__ import annotations

import pytest

from penstock import Client, Truncate
from penstock.errors import ContextTooLong
from penstock.sim import SimServer

WORDS = "the pod restarted and then it did not, which nobody saw before noon. "


@pytest.mark.slow
@pytest.mark.parametrize("model", ["anthropic:claude-haiku-4-5", "openai:gpt-4o-mini"])
def test_a_prompt_too_long_for_its_window_is_cut_to_it_and_answered(model: str) -> None:
    """By what the estimate says, and by what the provider says where that was too little."""
    with SimServer() as sim:
        urls = {"anthropic": sim.url, "openai": f"{sim.url}/v1"}
        with Client(config=False, env={}, keys={"anthropic": "k", "openai": "k"}, base_urls=urls) as client:
            prompt = WORDS * 16_000
            with pytest.raises(ContextTooLong) as caught:
                client.complete(prompt, model=model, max_tokens=16)
            assert caught.value.severity == "error"
            assert "truncate" in caught.value.action
            answer = client.complete(prompt, model=model, max_tokens=16, truncate="middle")
            assert answer.notices[0].kind == "truncated"
            assert answer.usage.prompt > 60_000
            short = client.complete(prompt, model=model, max_tokens=16, truncate=Truncate("tail", to_tokens=1_000))
            assert 500 < short.usage.prompt < 1_500


@pytest.mark.parametrize("model", ["anthropic:claude-haiku-4-5", "gemini:gemini-2.5-flash"])
def test_what_the_simulator_counts_is_what_it_bills(model: str) -> None:
    """The count that a client gets before a call is the usage of the call."""
    with SimServer() as sim:
        names = ("anthropic", "gemini")
        settings = {
            "keys": dict.fromkeys(names, "k"),
            "base_urls": dict.fromkeys(names, sim.url),
            "config": False,
            "env": {},
        }
        with Client(**settings) as client:  # type: ignore[arg-type]
            asked = {"model": model, "system": "be brief"}
            counted = client.count_tokens(WORDS * 20, **asked)  # type: ignore[arg-type]
            answer = client.complete(WORDS * 20, max_tokens=8, **asked)  # type: ignore[arg-type]
        assert counted.source == "provider"
        assert counted.tokens == answer.usage.prompt
