"""Scenarios: every rule strikes when it should, every fault changes the plan as it says, bad files say where."""

import math
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from penstock.sim import Plan, Scenario, ScenarioError, SimConfig, SimRequest, Simulator, read_config
from penstock.sim.faults import Facts, FaultBook
from penstock.sim.plan import End, Head, Reset, Send, Wait

NOW = 1_795_000_000.0


def request(protocol: str = "openai", *, stream: bool = False, text: str = "ERROR [db] timeout") -> SimRequest:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "stream": stream}
    headers = {"authorization": "Bearer k"}
    if protocol == "openai":
        return SimRequest(
            "POST", "/v1/chat/completions", headers, msgspec.json.encode({**body, "model": "gpt-4o-mini"})
        )
    body |= {"model": "claude-haiku-4-5", "max_tokens": 500}
    headers["anthropic-version"] = "2026-10-21"
    return SimRequest("POST", "/v1/messages", headers, msgspec.json.encode(body))


def perform(simulator: Simulator, plan: Plan, now: float = NOW) -> tuple[bytes, dict[str, Any]]:
    """Perform a plan at once; returns the body and the log entry."""
    body = b""
    aborted = False
    for step in plan.steps:
        if isinstance(step, Reset) or (isinstance(step, Wait) and math.isinf(step.seconds)):
            aborted = True
            break
        body += step.data if isinstance(step, Send) else b""
        simulator.passed(plan, step, now)
    return body, msgspec.to_builtins(simulator.finish(plan, now, aborted=aborted))


def one(inside: str, protocol: str = "openai", *, stream: bool = False) -> tuple[Plan, bytes, dict[str, Any]]:
    """One request under one fault."""
    simulator = Simulator(SimConfig(scenario=Scenario.parse(f"[[rule]]\nfault = {{ {inside} }}\n")))
    plan = simulator.begin(request(protocol, stream=stream), NOW)
    return plan, *perform(simulator, plan)


def headers_of(plan: Plan) -> dict[str, str]:
    return next(dict(step.headers) for step in plan.steps if isinstance(step, Head))


def struck(scenario: str, facts: Sequence[dict[str, Any]]) -> list[int]:
    """Which of the requests (from 1) the only rule of a scenario strikes."""
    book = FaultBook(Scenario.parse(scenario))
    base: dict[str, Any] = {"protocol": "openai", "model": "gpt-4o", "path": "/v1/x", "stream": False}
    base |= {"body": b"hello", "since_s": 0.0}
    return [
        number
        for number, fact in enumerate(facts, 1)
        if book.pick(Facts(**{**base, **fact}), Random(f"1/{number}")) is not None
    ]


@pytest.mark.parametrize(
    ("match", "facts", "expected"),
    [
        ("nth = 2", [{}] * 4, [2]),
        ("nth = [1, 3]", [{}] * 4, [1, 3]),
        ("every = 2", [{}] * 5, [2, 4]),
        ('protocol = "anthropic", nth = 1', [{}, {"protocol": "anthropic"}, {"protocol": "anthropic"}], [2]),
        ('model = "gpt-*"', [{}, {"model": "o3"}], [1]),
        ('path = "/v1/*"', [{}, {"path": "/x"}], [1]),
        ("stream = true", [{}, {"stream": True}], [2]),
        ('contains = "ell"', [{}, {"body": b"x"}], [1]),
        ("after_s = 5, until_s = 10", [{"since_s": s} for s in (4.9, 5.0, 9.9, 10.0)], [2, 3]),
        ("share = 1.0", [{}] * 3, [1, 2, 3]),
        ("share = 0.0", [{}] * 3, []),
    ],
)
def test_rules_strike_exactly_the_requests_they_match(
    match: str, facts: list[dict[str, Any]], expected: list[int]
) -> None:
    """Every match key narrows a rule as documented."""
    assert struck(f'[[rule]]\nmatch = {{ {match} }}\nfault = {{ kind = "overloaded" }}\n', facts) == expected


def test_a_rule_strikes_at_most_its_times() -> None:
    """With times = 2 the third match goes free."""
    assert struck('[[rule]]\ntimes = 2\nfault = { kind = "overloaded" }\n', [{}] * 4) == [1, 2]


def test_a_share_strikes_about_that_share() -> None:
    """A probability of 0.3 strikes about 300 of 1,000, the same ones for the same seed."""
    text = '[[rule]]\nmatch = { share = 0.3 }\nfault = { kind = "overloaded" }\n'
    assert 250 < len(struck(text, [{}] * 1000)) < 350
    assert struck(text, [{}] * 1000) == struck(text, [{}] * 1000)


def test_the_first_matching_rule_wins() -> None:
    """Rules are tried in order, and the log names the one that struck."""
    text = """
    [[rule]]
    name = "first"
    match = { nth = 1 }
    fault = { kind = "overloaded" }
    [[rule]]
    fault = { kind = "html" }
    """
    simulator = Simulator(SimConfig(scenario=Scenario.parse(text)))
    labels = [perform(simulator, simulator.begin(request(), NOW))[1]["fault"] for _ in range(2)]
    assert labels == ["first", "html"]


def test_a_fault_is_not_used_up_by_a_request_that_fails_by_itself() -> None:
    """A 400 does not consume a fault that was meant for a good request."""
    simulator = Simulator(SimConfig(scenario=Scenario.parse('[[rule]]\ntimes = 1\nfault = { kind = "html" }\n')))
    bad = SimRequest("POST", "/v1/chat/completions", {"authorization": "Bearer k"}, b'{"model": "gpt-4o"}')
    assert [simulator.begin(r, NOW).status for r in (bad, request(), request())] == [400, 502, 200]
    assert simulator.book.snapshot() == [{"rule": "html", "fitted": 2, "delivered": 1}]


@pytest.mark.parametrize("form", ["2", "1.5", "0", "86400", "soon", "-1"])
def test_retry_after_is_sent_as_it_is_written(form: str) -> None:
    """Numbers of every size and garbage go out untouched, in both protocols."""
    for protocol in ("openai", "anthropic"):
        plan, _, entry = one(f'kind = "rate_limit", retry_after = "{form}"', protocol)
        assert headers_of(plan)["retry-after"] == form
        assert (entry["status"], entry["billed_nano"]) == (429, 0)


@pytest.mark.parametrize("offset", [90, -90])
def test_retry_after_can_be_a_date(offset: int) -> None:
    """A date lies that many seconds from the simulator's now, also in the past."""
    plan, _, _ = one(f'kind = "rate_limit", retry_after = "date:{offset:+}"')
    assert parsedate_to_datetime(headers_of(plan)["retry-after"]).timestamp() == NOW + offset


def test_the_other_hints_are_optional() -> None:
    """Without keys there is no retry header; ms, should-retry and a body hint can be ordered."""
    plan, body, _ = one('kind = "rate_limit"')
    assert not {"retry-after", "retry-after-ms", "x-should-retry"} & set(headers_of(plan))
    assert b"try again in" not in body
    plan, body, _ = one('kind = "overloaded", retry_after_ms = "150", should_retry = false, hint = "1.5s"')
    assert headers_of(plan)["retry-after-ms"] == "150"
    assert headers_of(plan)["x-should-retry"] == "false"
    assert b"Please try again in 1.5s" in body


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("inside", "billed"),
    [
        ('kind = "rate_limit"', "none"),
        ('kind = "status", status = 500', "none"),
        ('kind = "status", status = 500, billed = true', "all"),
        ('kind = "html", status = 200', "none"),
        ('kind = "error_200"', "none"),
        ('kind = "empty_body"', "all"),
        ('kind = "reset", when = "before_read"', "none"),
        ('kind = "reset"', "all"),
        ('kind = "reset", billed = false', "none"),
        ('kind = "stall"', "some"),
        ('kind = "no_done"', "all"),
        ('kind = "crlf"', "all"),
        ('kind = "bom"', "all"),
        ('kind = "comments"', "all"),
        ('kind = "duplicate"', "all"),
        ('kind = "slow_bytes", every_s = 0', "all"),
        ('kind = "malformed"', "all"),
        ('kind = "wrong_usage"', "all"),
        ('kind = "no_usage"', "all"),
    ],
)
def test_every_fault_is_billed_as_it_says(protocol: str, stream: bool, inside: str, billed: str) -> None:
    """Refusals are free, finished work is billed in full whatever the client got, cut work so far."""
    clean = Simulator()
    _, full = perform(clean, clean.begin(request(protocol, stream=stream), NOW))
    _, _, entry = one(inside, protocol, stream=stream)
    if billed == "some":
        assert entry["input_tokens"] == full["input_tokens"]
        assert entry["output_tokens"] < full["output_tokens"]
    else:
        assert entry["billed_nano"] == (full["billed_nano"] if billed == "all" else 0)


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize("kind", ['reset", when = "mid_stream', "truncate", "error_event"])
def test_cut_streams_are_billed_for_what_was_produced(protocol: str, kind: str) -> None:
    """Cut after n chunks, the bill has the tokens of those chunks and never all."""
    outputs = []
    for chunks in (2, 6, 10_000):
        plan, body, entry = one(f'kind = "{kind}", after_chunks = {chunks}', protocol, stream=True)
        assert entry["output_tokens"] == sum(s.tokens for s in plan.steps if isinstance(s, (Send, Wait)))
        assert b"[DONE]" not in body
        assert b"message_stop" not in body
        outputs.append(entry["output_tokens"])
    assert outputs == sorted(set(outputs))


def test_a_stall_waits_for_ever_or_for_a_time() -> None:
    """A stall is a wait of its seconds, infinite without them, where it was ordered."""
    plan, _, _ = one('kind = "stall", when = "mid_stream", after_chunks = 2, seconds = 4', stream=True)
    kinds = [type(step) for step in plan.steps[:5]]
    assert kinds == [Head, Send, Send, Wait, Send]
    assert plan.steps[3] == Wait(4.0)
    plan, _, _ = one('kind = "stall"')
    assert plan.steps[0] == Wait(math.inf)


def test_the_form_faults_change_only_the_form() -> None:
    """BOM, comments, CRLF, duplicates and slow bytes leave the events themselves alone."""
    clean = Simulator()
    whole, _ = perform(clean, clean.begin(request(stream=True), NOW))

    def events(inside: str) -> bytes:
        return one(inside, stream=True)[1]

    def same(body: bytes) -> list[bytes]:
        return [line for line in body.splitlines() if line.startswith(b"data: ")]

    assert same(events('kind = "crlf"')) == same(whole)
    assert b"\r\n\r\n" in events('kind = "crlf"')
    assert events('kind = "bom"') == b"\xef\xbb\xbf" + whole
    assert same(events('kind = "comments", text = "ping"')) == same(whole)
    assert events('kind = "comments", text = "ping"').startswith(b": ping\n\n")
    assert sorted(same(events('kind = "duplicate"'))) == sorted(same(whole) * 2)
    assert events('kind = "slow_bytes", piece = 1') == whole
    assert same(events('kind = "no_done"')) == same(whole)[:-1]


def test_headers_can_be_set_on_a_good_answer() -> None:
    """A 200 may carry a retry-after or a nonsensical limit, and is billed as usual."""
    inside = 'kind = "headers", set = { retry-after = "30", X-Request-Id = "None" }'
    plan, _, entry = one(inside)
    assert headers_of(plan)["retry-after"] == "30"
    assert isinstance(plan.steps[0], Head)
    assert [value for name, value in plan.steps[0].headers if name.lower() == "x-request-id"] == ["None"]
    assert (entry["status"], entry["fault"], entry["billed_nano"] > 0) == (200, "headers", True)


def test_a_clean_end_follows_a_truncation() -> None:
    """A truncated body ends cleanly, without any sign of the cut."""
    plan, _, _ = one('kind = "truncate"', stream=True)
    assert isinstance(plan.steps[-1], End)
    plan, body, _ = one('kind = "truncate"')
    assert isinstance(plan.steps[-1], End)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[rule]\n", r"sim\.toml: not readable as TOML: .*line 1"),
        ("seed = 'x'\n", r"sim\.toml: seed: Expected `int`"),
        ("sede = 1\n", r"sim\.toml: .*unknown field `sede`"),
        ("[[rule]]\nmatch = {}\n", r"sim\.toml: rule\[0\]: .*missing required field `fault`"),
        ('[[rule]]\nfault = { kind = "meteor" }\n', r"sim\.toml: rule\[0\]\.fault\.kind: Invalid value 'meteor'"),
        ('[[rule]]\nfault = { kind = "html", stat = 3 }\n', r"sim\.toml: rule\[0\]\.fault: .*`stat`"),
        ('[[rule]]\nmatch = { share = 2 }\nfault = { kind = "html" }\n', r"rule\[0\]\.match\.share: Expected .* <= 1"),
        ('[[rule]]\nfault = { kind = "rate_limit", retry_after = "date:x" }\n', r"rule\[0\]\.fault: .*date:\+SECONDS"),
        ("[limits.openai]\nrpm = 0\n", r"sim\.toml: limits\.\*?.*rpm: Expected `int` >= 1"),
        ("[limits.opneai]\nrpm = 1\n", r"sim\.toml: limits: 'opneai' is neither"),
        ('[[rule]]\nfault = { kind = "headers", set = { "a b" = "1" } }\n', r"rule\[0\]\.fault: .*cannot be a header"),
        ("[limits.anthropic]\ntpm = 1\n", r"sim\.toml: limits\.anthropic: tpm is OpenAI's"),
        ("[latency]\nfirst_token_s = nan\n", r"sim\.toml: latency\.first_token_s: Expected `float`"),
        ("[latency]\ntokens_per_s = inf\n", r"sim\.toml: latency\.tokens_per_s: Expected `float`"),
    ],
)
def test_a_bad_file_gets_one_sentence_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    """Whatever is wrong, the error names the file and the key, on one line."""
    path = tmp_path / "sim.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=words) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_a_scenario_error(tmp_path: Path) -> None:
    """A file that cannot be read is named."""
    with pytest.raises(ScenarioError, match=r"nowhere\.toml: cannot be read"):
        read_config(tmp_path / "nowhere.toml")


def test_a_full_configuration_is_read(tmp_path: Path) -> None:
    """Settings and rules live in one file."""
    path = tmp_path / "sim.toml"
    path.write_text("""
seed = 3
[limits.openai]
rpm = 600
tpm = 100000
[limits."anthropic:claude-haiku-4-5"]
itpm = 50000
[latency]
first_token_s = 0.2
tokens_per_s = 100
[models.house-model]
protocol = "openai"
window = 9000
[prices.house-model]
input = "0.5"
output = 2
[[rule]]
match = { nth = [1, 2] }
fault = { kind = "slow_down" }
""")
    config = read_config(path)
    assert config.limit("openai", "gpt-4o").rpm == 600
    assert config.limit("anthropic", "claude-haiku-4-5-20251001").itpm == 50_000
    assert config.limit("anthropic", "claude-opus-4-5").itpm is None
    model = config.model("house-model", "openai")
    assert model is not None
    assert model.window == 9000
    assert config.scenario.rule[0].label == "slow_down"
