"""The provider table: rows, overrides, and whose model it is."""

from importlib import resources

import pytest

from penstock._wire import anthropic, openai_chat, registry
from penstock._wire.protocol import Provider
from penstock.errors import ConfigError, UnknownModel, UnknownProvider

TEXT = resources.files("penstock._wire").joinpath("providers.toml").read_text("utf-8")
TWIN = "[providers.{0}]\nwire='anthropic'\nbase_url='http://a'\naliases=['{1}']\n"
ROWS = registry.parse(TEXT, "providers.toml")


def test_the_compiled_rows_are_those_of_the_table() -> None:
    """The package reads the compiled ones; tools/compile_providers.py makes them anew."""
    assert registry.load(resources.files("penstock._wire").joinpath("providers.json").read_bytes()) == ROWS


def resolved(model: str) -> tuple[str, str]:
    """Provider and name of a model."""
    provider, name = registry.resolve(model, ROWS)
    return provider.name, name


def test_the_table_has_every_promised_provider() -> None:
    """Each with an address or a variable for it, and a key unless it is local."""
    assert set(ROWS) == {
        "openai",
        "openai-responses",
        "anthropic",
        "cohere",
        "gemini",
        "anthropic-2026-10-21",
        "azure",
        "azure-v1",
        "azure-responses",
        "groq",
        "mistral",
        "deepseek",
        "openrouter",
        "together",
        "fireworks",
        "xai",
        "xai-responses",
        "cerebras",
        "perplexity",
        "huggingface",
        "ollama",
        "vllm",
        "lmstudio",
        "llamacpp",
    }
    for name, row in ROWS.items():
        assert row.name == name
        assert row.base_url or row.base_url_env
        assert row.key_env
        assert row.docs.startswith("https://")
        assert not row.base_url.endswith("/")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("openai:gpt-4o", ("openai", "gpt-4o")),
        ("ollama:llama3:8b", ("ollama", "llama3:8b")),
        ("gpt-5-mini", ("openai", "gpt-5-mini")),
        ("command-a-03-2025", ("cohere", "command-a-03-2025")),
        ("gemini-2.5-flash", ("gemini", "gemini-2.5-flash")),
        ("google:gemini-2.5-flash", ("gemini", "gemini-2.5-flash")),
        ("ft:gpt-4o:org::id", ("openai", "ft:gpt-4o:org::id")),
        ("o3-mini", ("openai", "o3-mini")),
        ("claude-haiku-4-5", ("anthropic", "claude-haiku-4-5")),
        ("grok-4", ("xai", "grok-4")),
        ("sonar-pro", ("perplexity", "sonar-pro")),
        ("hf:meta/llama:together", ("huggingface", "meta/llama:together")),
        ("llama.cpp:any", ("llamacpp", "any")),
        ("OpenAI:gpt-4o", ("openai", "gpt-4o")),
        ("openrouter:openai/gpt-4o:free", ("openrouter", "openai/gpt-4o:free")),
        (" openai:gpt-4o ", ("openai", "gpt-4o")),
    ],
)
def test_models_find_their_provider(model: str, expected: tuple[str, str]) -> None:
    """By name, alias or pattern; only the first colon splits."""
    assert resolved(model) == expected


@pytest.mark.parametrize(
    ("model", "cls", "words"),
    [
        ("opnai:gpt-4o", UnknownProvider, "did you mean 'openai'"),
        ("nowhere:m", UnknownProvider, "penstock.toml"),
        ("gpt4o", UnknownModel, "did you mean 'gpt-4o'"),
        ("llama-3", UnknownModel, "PROVIDER:llama-3"),
        ("meta/llama:free", UnknownModel, "openrouter:meta/llama:free"),
        ("openai:", UnknownModel, "names a provider and no model"),
        ("openai", UnknownModel, "names a provider and no model"),
        ("", UnknownModel, "PROVIDER:MODEL"),
    ],
)
def test_unknown_names_are_told_with_a_suggestion(model: str, cls: type[ConfigError], words: str) -> None:
    """What is wrong, and what to write."""
    with pytest.raises(cls, match=words):
        registry.resolve(model, ROWS)


def test_a_user_changes_single_fields_and_adds_rows() -> None:
    """The rest of a known row stays."""
    mine = {
        "openai": {"base_url": "https://proxy.example/v1", "headers": {"x-team": "sre"}},
        "house": {"wire": "openai_chat", "base_url": "http://llm:8000/v1", "models": ["house-*"], "local": True},
    }
    rows = registry.extend(ROWS, mine, "penstock.toml")
    assert rows["openai"].base_url == "https://proxy.example/v1"
    assert rows["openai"].key_env == ROWS["openai"].key_env
    assert ROWS["openai"].base_url == "https://api.openai.com/v1"
    assert registry.resolve("house-7b", rows)[0] == rows["house"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = ", "penstock.toml is not valid TOML"),
        ("providers = 3", "must be a table of rows"),
        ("[providers]\nx = 3", r"providers.x must be a table like \[providers.x\]"),
        ("[providers.x]\nbase_url = 'http://a'", "'wire' is missing; give one of openai_chat, "),
        ("[providers.x]\nwire = 'openai_chat'", "give base_url, or base_url_env"),
        (
            "[providers.x]\nwire = 'anthropc'",
            "providers.x.wire: expected one of 'openai_chat', .*, got 'anthropc'",
        ),
        ("[providers.x]\nbaseurl = 'x'", "unknown field 'baseurl'; did you mean 'base_url'"),
        ("[providers.x]\nbase_url = 'llm:8000'", "expected a URL that begins with http:// or https://"),
        ("[providers.x]\nmodels = 'a'", "providers.x.models: expected a list of strings, got 'a'"),
        ("[providers.x]\nlocal = 1", "providers.x.local: expected true or false, got 1"),
        ("[providers.x]\nquery = 1", "providers.x.query: expected a string, got 1"),
        ("[providers.x]\nheaders = ['a']", "providers.x.headers: expected a table of strings"),
        ("[providers.'a b']\nwire = 'anthropic'", "no spaces, colons or slashes"),
        (TWIN.format("x", "X") + TWIN.format("y", "x"), "both providers.x and providers.y go by 'x'"),
    ],
)
def test_a_wrong_table_is_told_by_place_and_remedy(text: str, words: str) -> None:
    """Which file, row and field, what was expected, what was found."""
    with pytest.raises(ConfigError, match=words) as caught:
        registry.parse(text, "penstock.toml")
    assert str(caught.value).startswith("penstock.toml")


def test_other_tables_are_not_looked_at() -> None:
    """The file has other readers."""
    assert registry.parse("[limits]\nx = 1", "penstock.toml") == {}


def test_wires_are_found_by_name() -> None:
    """The modules themselves, and a suggestion for a name that is none."""
    assert registry.wire("openai_chat") is openai_chat
    assert registry.wire("anthropic") is anthropic
    with pytest.raises(ConfigError, match="did you mean 'openai_chat'"):
        registry.wire("openai-chat")


def test_every_row_has_a_wire_that_exists() -> None:
    """And that writes its credential."""
    for row in ROWS.values():
        assert registry.wire(row.wire).auth_headers(row, None)["content-type"] == "application/json"
    assert isinstance(ROWS["openai"], Provider)


def test_a_row_has_what_it_does_not_say_from_its_account() -> None:
    """Address, key and limits are those of the account; wire, path and dialects are its own."""
    rows = registry.parse(
        "[providers.a]\nwire = 'openai_chat'\nbase_url = 'https://a'\nkey_env = ['A']\nlimits = 'none'\npath = '/x'\n"
        "batch = 'openai'\n[providers.b]\naccount = 'a'\nwire = 'openai_responses'\nlimits = 'xai'",
        "penstock.toml",
    )
    row = rows["b"]
    assert (row.base_url, row.key_env, row.owner) == ("https://a", ("A",), "a")
    assert (row.limits, row.path, row.batch, row.embeddings) == ("xai", "", "", "none")


def test_a_change_of_an_account_reaches_its_other_rows() -> None:
    """Another address of openai is one for openai-responses; what that row says itself stays."""
    table = {"openai": {"base_url": "https://proxy", "limits": "none"}, "azure-v1": {"auth": "bearer"}}
    rows = registry.extend(ROWS, table, "penstock.toml")
    assert rows["openai-responses"].base_url == "https://proxy"
    assert rows["openai-responses"].limits == "none"
    assert rows["azure-v1"].auth == "bearer"
    assert rows["azure"].auth == "api-key"


@pytest.mark.parametrize("account", ["nobody", "openai-responses"])
def test_an_account_is_a_row_of_its_own(account: str) -> None:
    """The error says which row and field, and what was meant."""
    with pytest.raises(ConfigError, match=r"providers\.x\.account: expected the name of a provider above"):
        registry.extend(ROWS, {"x": {"account": account, "wire": "openai_chat"}}, "penstock.toml")
