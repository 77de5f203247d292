"""Calls that name no model, in both colours: the router chooses, is held to regions, and stays with a warm cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock import Client, Image, Message, ModelFacts, Routing, Text, Tool
from penstock._text.learned import VERSION, Learned
from penstock.errors import ConfigError, MissingKey
from penstock.testing import ScriptedTransport

from .colours import KEYS, anthropic_reply, openai_reply, run

COLOURS = pytest.mark.parametrize("colour", ["sync", "async"])
TIERS: Any = {"simple": "openai:gpt-4o-mini", "complex": "openai:gpt-4o", "expert": "anthropic:claude-sonnet-4-5"}


def client(answers: Any = (), **settings: Any) -> Client:
    """A client with three tiers."""
    known = {"tiers": TIERS, "keys": KEYS, "config": False, "env": {}, **settings}
    return Client(transport=ScriptedTransport(answers), **known)


def asked(made: Any) -> list[str]:
    """The models that were asked."""
    return [json.loads(sent.body)["model"] for sent in made.sent]


@COLOURS
@pytest.mark.parametrize(
    ("options", "model"),
    [
        ({"tier": "auto"}, "gpt-4o-mini"),
        ({"tier": "complex"}, "gpt-4o"),
        ({"task": "plan"}, "gpt-4o"),
        ({"tier": "auto", "model": "openai:gpt-4o"}, "gpt-4o"),
    ],
)
def test_the_router_chooses_where_no_model_is_named(colour: str, options: dict[str, Any], model: str) -> None:
    """By the prompt, the tier or the task; a model that is named wins."""
    settings = {"tiers": TIERS, "routing": Routing(tasks={"plan": "complex"})}
    outcome = run(colour, [openai_reply()], client=settings, **{"model": None, **options})
    assert outcome.error is None
    assert asked(outcome.transport) == [model]


def test_without_anything_named_a_route_is_explained_as_auto() -> None:
    """Nothing is sent and no key is needed."""
    with client(keys={}) as made:
        assert made.route("Design a failover").candidates == ("anthropic:claude-sonnet-4-5",)
        assert made.route("hi", model="openai:gpt-4o").tier is None
        with pytest.raises(MissingKey):
            made.complete("hi", tier="auto")


def test_what_a_request_needs_is_seen() -> None:
    """Pictures, tools, its length and its longest answer."""
    routing = Routing(
        models={
            "openai:gpt-4o-mini": ModelFacts(context=2_000, lacks=("image",)),
            "openai:gpt-4o": ModelFacts(lacks=("tools",)),
        }
    )
    picture = Message("user", (Text("what is it?"), Image(url="https://example.com/a.png")))
    with client(routing=routing) as made:
        assert made.route("hi").candidates[0] == "openai:gpt-4o-mini"
        assert made.route([picture]).candidates[0] == "openai:gpt-4o"
        assert made.route("hi", max_tokens=3_000).candidates[0] == "openai:gpt-4o"
        tools = [Tool(name="look", parameters={"type": "object"})]
        assert made.route([picture], tools=tools).candidates[0] == "anthropic:claude-sonnet-4-5"


def test_what_everybody_knows_of_a_model_is_known() -> None:
    """A model without eyes gets no pictures, and one with a small window no long prompt."""
    picture = Message("user", (Text("what is it?"), Image(url="https://example.com/a.png")))
    with client(tiers={"simple": ["openai:gpt-3.5-turbo", "openai:gpt-4"], "expert": "openai:gpt-4o"}) as made:
        route = made.route([picture])
        assert route.candidates == ("openai:gpt-4o",)
        assert dict(route.left_out)["openai:gpt-3.5-turbo"] == "takes no images"
        assert made.route("word " * 9_000, tier="simple").candidates[0] == "openai:gpt-3.5-turbo"


@COLOURS
def test_a_region_is_a_rule_also_for_fallbacks(colour: str) -> None:
    """What is not known to run there is not asked, whoever named it."""
    routing = Routing(models={"anthropic": ModelFacts(region="eu")})
    settings = {"tiers": TIERS, "routing": routing, "fallbacks": ["openai:gpt-4o"]}
    outcome = run(colour, [anthropic_reply()], client=settings, model=None, tier="auto", region="eu")
    assert outcome.error is None
    assert [lane.name for lane in outcome.client.lanes()] == ["anthropic:claude-sonnet-4-5"]
    refused = run(colour, [], client=settings, region="eu")
    assert isinstance(refused.error, ConfigError)
    own = run(colour, [], client=settings, model="anthropic:claude-haiku-4-5", region="eu", fallbacks=["openai:gpt-4o"])
    assert [attempt["model"] for attempt in map(json.loads, [sent.body for sent in own.transport.sent])] == [
        "claude-haiku-4-5"
    ]


def test_a_conversation_stays_with_its_model_while_the_cache_is_warm() -> None:
    """A new question in it that looks simple goes to the model that has the rest of it in its cache."""
    long = "Analyze this log. " + "INFO all is well. " * 600
    first = [Message("user", long)]
    with client([openai_reply(prompt=3_000), openai_reply(prompt=3_000), openai_reply(), openai_reply()]) as made:
        answer = made.complete(first, tier="auto")
        assert answer.model == "gpt-4o"
        then = [*first, answer.message, Message("user", "thanks")]
        route = made.route(then, tier="auto")
        assert route.warm
        assert "prompt cache" in route.reason
        assert made.complete(then, tier="auto").model == "gpt-4o"
        assert made.complete([Message("user", "thanks")], tier="auto").model == "gpt-4o-mini"
        assert not made.route([*then, answer.message, Message("user", "Design it anew")], tier="auto").warm
    with client([openai_reply(prompt=3_000)], routing=Routing(sticky_s=0)) as made:
        made.complete(first, tier="auto")
        assert made.route(then, tier="auto").candidates[0] == "openai:gpt-4o-mini"


def test_a_prompt_cache_key_names_a_conversation() -> None:
    """Whatever it begins with."""
    with client([openai_reply(prompt=3_000)]) as made:
        made.complete("Analyze this", tier="auto", prompt_cache_key="ticket-7")
        assert made.route("thanks", tier="auto", prompt_cache_key="ticket-7").warm
        assert not made.route("thanks", tier="auto", prompt_cache_key="ticket-8").warm


def calibration(tmp_path: Path, **more: Any) -> str:
    """A file that sends what says 'theorem' to the stronger model."""
    facts: dict[str, Any] = {
        "version": VERSION,
        "bias": -1.0,
        "difficulty": 0.0,
        "middle": 0.4,
        "words": {"theorem": 9.0},
        "threshold": 0.5,
        "weak_tier": "simple",
        "strong_tier": "expert",
    }
    path = tmp_path / "router.json"
    path.write_bytes(msgspec.json.encode(Learned(**{**facts, **more})))
    return str(path)


def test_a_calibration_decides_where_there_is_one(tmp_path: Path) -> None:
    """And the route tells its score."""
    with client(routing=Routing(calibration=calibration(tmp_path))) as made:
        hard, easy = made.route("prove the theorem"), made.route("design a thing")
    assert (hard.tier, easy.tier) == ("expert", "simple")
    assert hard.score is not None
    assert hard.score > 0.5
    assert "is not below the calibrated 0.500" in hard.reason


def test_a_score_decides_where_the_rule_says_so() -> None:
    """By its thresholds."""
    with client(routing=Routing(rule="score", thresholds=(0.0, 0.0, 1.0))) as made:
        route = made.route("hi")
    assert route.tier == "complex"
    assert "its difficulty is" in route.reason


@pytest.mark.parametrize(
    ("data", "said"),
    [(None, "cannot be read: No such file"), (b"{", "is no calibration"), (b"\0" * 10, "is no calibration")],
)
def test_a_calibration_that_cannot_be_used_is_told_at_once(tmp_path: Path, data: bytes | None, said: str) -> None:
    """When the client is made, with the command that makes one."""
    path = tmp_path / "router.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=said) as caught:
        client(routing=Routing(calibration=str(path)))
    assert "penstock route calibrate" in caught.value.message


def test_the_settings_file_says_the_same(tmp_path: Path) -> None:
    """Under [routing], with its mistakes named."""
    file = tmp_path / "penstock.toml"
    file.write_text(
        '[tiers]\nsimple = "openai:gpt-4o-mini"\nexpert = "openai:gpt-4o"\n[routing]\nrule = "score"\n'
        'thresholds = [0.1, 0.2, 0.3]\n[routing.tasks]\nplan = "expert"\n[routing.models."openai:gpt-4o"]\n'
        'region = "eu"\n'
        '[on_error]\nrate_limited = "fall_back"\n[truncate]\nstrategy = "tail"\n'
    )
    with Client(config=file, env={}, keys=KEYS, transport=ScriptedTransport([])) as made:
        assert made.route("hi", task="plan").candidates == ("openai:gpt-4o",)
        assert made.route("hi", region="eu").candidates == ("openai:gpt-4o",)
    for text, said in (
        ('[routing]\nrul = "score"\n', "did you mean 'rule'"),
        ('[routing]\nrule = "magic"\n', "routing"),
        ("[routing.models.x]\nsize = 5\n", "has no field 'size'"),
        ('[on_error]\nrate_limit = "fail"\n', "did you mean 'rate_limited'"),
        ('[truncate]\nstrategy = "x"\n', "truncate"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=said) as caught:
            Client(config=file, env={})
        assert "penstock.toml" in caught.value.message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tier": "hard"}, "parameter 'tier' is 'hard'; expected one of simple, moderate, complex, expert, auto"),
        ({"task": "nothing"}, "there is no task 'nothing'"),
        ({"task": 5}, "parameter 'task' is 5"),
        ({"region": ""}, "parameter 'region' is ''"),
        ({"region": "mars"}, "not known to run in 'mars'"),
    ],
)
def test_wrong_questions_are_named(options: dict[str, Any], said: str) -> None:
    """In one sentence."""
    with client() as made, pytest.raises(ConfigError) as caught:
        made.route("hi", **options)
    assert said in caught.value.message
