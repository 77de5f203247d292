"""Where settings come from, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock import Client, Limits
from penstock._io import settings
from penstock.errors import ConfigError, MissingKey


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an empty home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def load(**options: object) -> settings.Settings:
    """Read the settings as a client does."""
    return settings.load(**options)  # type: ignore[arg-type]


def test_a_key_is_taken_from_argument_then_environment_then_dotenv(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First found wins, and the origin is told."""
    (folder / ".env").write_text("OPENAI_API_KEY='from-dotenv'\n")
    row = load().providers["openai"]
    assert load().key(row)[1] == ".env OPENAI_API_KEY"
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    assert load().key(row)[1] == "environment OPENAI_API_KEY"
    key, origin = load(keys={"openai": "from-argument"}).key(row)
    assert (key is not None and key.reveal(), origin) == ("from-argument", "argument")


def test_a_base_url_of_the_official_sdks_is_obeyed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Existing deployments need no new variable."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    found = load()
    assert found.base_url(found.providers["openai"]).value == "http://127.0.0.1:9/v1"


@pytest.mark.prove(25)
@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://h/v1?key=secret", "http://user:secret@h /x"])
def test_a_base_url_that_is_none_is_refused_without_showing_what_may_be_secret(folder: Path, url: str) -> None:
    """The sentence says where it came from."""
    found = load(base_urls={"openai": url})
    with pytest.raises(ConfigError, match="argument") as raised:
        found.base_url(found.providers["openai"])
    assert "secret" not in str(raised.value)


def test_a_missing_key_says_which_variable_to_set(folder: Path) -> None:
    """The remedy is in the sentence."""
    found = load()
    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        found.key(found.providers["openai"])


def test_a_project_file_overrides_the_users_file_field_by_field(folder: Path) -> None:
    """Both are read, the nearer one wins."""
    (folder / "config" / "penstock").mkdir(parents=True)
    (folder / "config" / "penstock" / "config.toml").write_text('model = "a:b"\n[tags]\nteam = "x"\n')
    (folder / "penstock.toml").write_text('model = "openai:gpt-4o"\n[limits.openai]\nrpm = 5\n')
    file = load().file
    assert (file.model, file.tags, file.limits["openai"].rpm) == ("openai:gpt-4o", {"team": "x"}, 5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model name = 1", "line 1"),
        ("modl = 'x'", "did you mean 'model'"),
        ("[limits.openai]\nrpn = 5", "did you mean 'rpm'"),
        ("[limits.openai]\nrpm = -5", "rpm"),
        ("[limits.openai]\nconcurrency = 'fast'", "concurrency must be a whole number of at least 1 or 'auto'"),
        ("[limits.openai]\nrpm = nan", "limits"),
        ("[budget]\ndaily = -1", "daily"),
        ("[budget]\ndaily = 'five'", "daily"),
        ("[timeouts]\nidle_s = 0", "idle_s"),
        ("[tiers]\nhuge = 'x:y'", "tiers"),
        ("[providers.mine]\nwire = 'telepathy'\nbase_url = 'http://x'", "mine"),
        ("[providers.mine]\nwire = 'openai_chat'\nbase_ulr = 'http://x'", "base_url"),
        ("[prices.'openai:x']\ninput = 'cheap'", "openai:x"),
    ],
)
def test_a_wrong_file_is_told_with_its_name_and_place(folder: Path, text: str, words: str) -> None:
    """Never a traceback, never a silent default."""
    (folder / "penstock.toml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        Client(env={})
    assert words in str(raised.value)
    assert "penstock.toml" in str(raised.value) or "prices" in str(raised.value)


def test_a_file_that_was_named_and_is_missing_is_an_error(folder: Path) -> None:
    """A typing mistake does not run with other settings."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load(config="nowhere.toml")
    with pytest.raises(ConfigError, match=r"gone\.toml"):
        load(env={"PENSTOCK_CONFIG": "gone.toml"})


def test_a_row_in_the_project_file_is_a_provider(folder: Path) -> None:
    """A server of one's own needs a row and nothing else."""
    (folder / "penstock.toml").write_text(
        '[providers.mine]\nwire = "openai_chat"\nbase_url = "http://127.0.0.1:9/v1"\nkey_env = ["MINE_KEY"]\n'
    )
    found = load(env={"MINE_KEY": "k"})
    assert found.key(found.providers["mine"])[1] == "environment MINE_KEY"
    assert found.base_url(found.providers["mine"]).origin == "provider table"


@pytest.mark.prove(25)
def test_no_key_is_in_the_repr_of_the_settings(folder: Path) -> None:
    """The canary is nowhere."""
    found = load(keys={"openai": "sk-canary"}, env={"ANTHROPIC_API_KEY": "sk-canary"})
    key, _ = found.key(found.providers["openai"])
    assert "canary" not in repr(found) + repr(key) + str(key) + f"{key}"


def test_limits_are_found_under_every_name_of_a_model_and_wrong_names_are_told(folder: Path) -> None:
    """A name that means nothing would be no limit at all, so it is an error."""
    limits = Limits(rpm=7)
    for name in ("gpt-4o-mini", "openai:gpt-4o-mini", "openai", "*"):
        with Client(limits={name: limits}, keys={"openai": "k"}, config=False, env={}) as client:
            assert client._limits_of(client._lane("gpt-4o-mini")) is limits
    for name in ("opnai", "opnai:gpt-4o", "what-is-that"):
        with pytest.raises(ConfigError, match=name):
            Client(limits={name: limits}, config=False, env={})


@pytest.mark.parametrize("key", ["sk-canary\nX", "sk-canary\x01", "sk-canary☃", "sk canary", "", "  "])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(folder: Path, key: str) -> None:
    """A line break from a file is cut off; anything else inside is told by its position."""
    found = load(keys={"openai": key})
    with pytest.raises(ConfigError, match=r"openai \(argument\)") as raised:
        found.key(found.providers["openai"])
    assert "canary" not in str(raised.value)
    stripped, _ = load(keys={"openai": "sk-fine\n"}).key(found.providers["openai"])
    assert stripped is not None
    assert stripped.reveal() == "sk-fine"


@pytest.mark.prove(9)
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://user:canary@127.0.0.1:9", "user name or password"),
        ("http://127.0.0.1:99999", "host or port"),
        ("http://127.0.0.1:abc", "host or port"),
        ("http://[::1/v1", "host or port"),
        ("http://a..b", "host or port"),
        ("http://" + "a" * 64 + ".example", "host or port"),
        ("http://☃.example", "xn--"),
        ("http://a\x00b", "no URL"),
    ],
)
def test_a_base_url_that_no_transport_can_use_is_told_at_once(folder: Path, url: str, words: str) -> None:
    """Before anything is sent, and without what may be secret."""
    found = load(base_urls={"openai": url})
    with pytest.raises(ConfigError, match=words) as raised:
        found.base_url(found.providers["openai"])
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keys": {"opnai": "k"}}, "openai"),
        ({"base_urls": {"opnai": "http://x"}}, "openai"),
        ({"keys": {"openai": 5}}, "expected a string"),
        ({"keys": "sk-canary"}, "dict by provider"),
        ({"limits": 5}, "expected a Limits or dict"),
        ({"limits": {"openai": 5}}, "expected a Limits"),
        ({"budget": "5"}, "expected a Budget"),
        ({"timeouts": 5}, "Timeouts"),
        ({"retry": 5}, "RetryPolicy"),
        ({"breaker": 5}, "BreakerSettings"),
        ({"tags": 5}, "tags"),
        ({"tags": {"a": 5}}, "tags"),
        ({"tiers": 5}, "tiers"),
        ({"transport": "zork"}, "urllib3"),
        ({"deadline_s": 10**400}, "deadline_s"),
        ({"model": 5}, "model"),
    ],
)
def test_a_wrong_argument_of_a_client_is_told_by_name(folder: Path, options: dict[str, Any], words: str) -> None:
    """One sentence instead of a Python error later."""
    with pytest.raises(ConfigError) as raised:
        Client(**{"config": False, "env": {}, **options})
    assert words in str(raised.value)
    assert "canary" not in str(raised.value)


def test_a_dotenv_that_cannot_be_read_is_told(folder: Path) -> None:
    """Keys in it are not silently missing."""
    (folder / ".env").write_bytes(b"OPENAI_API_KEY=\xff\xfe")
    with pytest.raises(ConfigError, match=r"\.env"):
        load()
