"""LiteLLM's Router with one deployment: its own retries, `rpm` enforced before the call, its provider budget."""

from typing import Any

from bench.peers.given import KEY, OPENAI_MODEL, Call, Given
from litellm import Router

PACKAGE = "litellm"


def retrying(given: Given) -> Call:
    return _calls(Router(model_list=[_deployment(given)], timeout=given.timeout_s))


def limited(given: Given) -> Call:
    per_minute = int(given.most * 60 / given.window_s)
    return _calls(
        Router(model_list=[_deployment(given, rpm=per_minute)], optional_pre_call_checks=["enforce_model_rate_limits"])
    )


def budgeted(given: Given) -> Call:
    budget = {"openai": {"budget_limit": given.cap_usd, "time_period": "1d"}}
    return _calls(Router(model_list=[_deployment(given)], provider_budget_config=budget))


def streamed(given: Given) -> Call:
    return _calls(Router(model_list=[_deployment(given)], timeout=given.timeout_s), stream=True)


def _deployment(given: Given, **limits: int) -> dict[str, Any]:
    params = {"model": f"openai/{OPENAI_MODEL}", "api_base": f"{given.url}/v1", "api_key": KEY, **limits}
    return {"model_name": OPENAI_MODEL, "litellm_params": params}


def _calls(router: Any, *, stream: bool = False) -> Call:
    async def call(prompt: str, max_tokens: int) -> None:
        reply = await router.acompletion(
            model=OPENAI_MODEL, messages=[{"role": "user", "content": prompt}], max_tokens=max_tokens, stream=stream
        )
        if stream:
            async for _ in reply:
                pass

    return call
