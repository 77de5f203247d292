"""Nothing secret gets through: canaries in many places and encodings, and what must stay as it is."""

from __future__ import annotations

import base64
import json
import re
import time
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock._text.redact import KINDS, OPTIONAL, Redactor
from penstock.errors import ConfigError

ALNUM = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
canaries = st.text(ALNUM, min_size=10, max_size=60).map(lambda text: f"CaNaRy7{text}")
passwords = st.text(ALNUM + "!#$%*+-./:?@^_~=", min_size=4, max_size=40).map(lambda text: f"CaNaRy7{text}x")
names = st.sampled_from(
    ["password", "PASSWORD", "db_passwd", "PGPASSWORD", "pwd", "api_key", "X-Api-Key", "apiKey", "client_secret",
     "AWS_SECRET_ACCESS_KEY", "access_token", "refresh-token", "private_key", "passphrase", "credential", "session_id",
     "accountKey", "auth_key", "signature"]
)  # fmt: skip
NAMED = {
    "env": "export {name}={value}",
    "dotenv": "{name}='{value}'",
    "yaml": "  {name}: {value}",
    "yaml quoted": '  {name}: "{value}"',
    "ini": "{name} = {value}",
    "python": "config['{name}'] = '{value}'",
    "ruby": ":{name} => '{value}'",
    "go": '{name} := "{value}"',
    "header": "{name}: {value}",
    "curl": "curl -H '{name}: {value}' https://api.example.com",
    "flag": "tool --{name} {value} --verbose",
    "flag with =": "tool --{name}={value}",
    "query": "GET /x?{name}={value}&user=bob HTTP/1.1",
    "xml": "<{name}>{value}</{name}>",
    "logfmt": "level=error {name}={value} user=bob",
    "prose": "the {name} is {value}",
    "jdbc": "jdbc:postgresql://db/x?user=a&{name}={value}",
    "semicolon": "Server=db;{name}={value};Encrypt=true",
}
ALONE = {
    "bearer": "Authorization: Bearer {value}",
    "basic": "authorization: Basic {value}",
    "json header": '{{"Authorization": "Bearer {value}"}}',
    "url": "postgres://app:{value}@db.internal:5432/shop",
    "cookie": "Set-Cookie: id={value}; HttpOnly",
    "github": "remote: ghp_{value}",
    "openai": "Incorrect API key provided: sk-proj-{value}",
    "jwt": "token eyJhbGciOiJIUzI1NiJ9.{value}.{value}",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\n{value}\n{value}\n-----END RSA PRIVATE KEY-----",
    "pem in json": '"key": "-----BEGIN PRIVATE KEY-----\\n{value}\\n-----END PRIVATE KEY-----\\n"',
    "pem cut": "-----BEGIN OPENSSH PRIVATE KEY-----\n{value}\n{value}",
}


def clean(text: str) -> str:
    """The text as it would be sent, by a redactor of its own."""
    return Redactor()(text)


@pytest.mark.parametrize("place", NAMED)
@settings(max_examples=25, deadline=None)
@given(name=names, value=canaries)
def test_what_has_a_telling_name_goes(place: str, name: str, value: str) -> None:
    """In the ways in which settings, logs, headers and commands are written."""
    text = NAMED[place].format(name=name, value=value)
    assert "CaNaRy7" not in clean(text), clean(text)
    assert "CaNaRy7" not in clean(f"2026-01-01 ERROR {text}\nnext line"), "in the middle of a log"


@pytest.mark.parametrize("place", ALONE)
@settings(max_examples=15, deadline=None)
@given(value=canaries)
def test_what_has_the_form_of_a_secret_goes(place: str, value: str) -> None:
    """Headers, addresses with a password, keys of known vendors, private keys."""
    assert "CaNaRy7" not in clean(ALONE[place].format(value=value + value)), place


@settings(max_examples=120, deadline=None)
@given(name=names, value=passwords, data=st.data())
def test_no_encoding_lets_a_password_through(name: str, value: str, data: st.DataObject) -> None:
    """JSON, JSON within JSON, a URL, XML, HTML, repr: with any signs in it."""
    once = json.dumps({"user": "bob", name: value, "n": 1})
    encoded = {
        "json": once,
        "json in json": json.dumps({"message": once, "level": "error"}),
        "json in json in json": json.dumps({"log": json.dumps({"message": once})}),
        "url": f"https://x.example/cb?{quote(name)}={quote(value, safe='')}&state=1",
        "form in json": json.dumps({"body": f"{name}={quote(value, safe='')}&user=bob"}),
        "xml": f"<config><{name}>{escape(value)}</{name}></config>",
        "repr": repr({name: value, "user": "bob"}),
        "base64 header": f"{name}: {base64.b64encode(value.encode()).decode()}",
    }
    form = data.draw(st.sampled_from(sorted(encoded)))
    shown = clean(encoded[form])
    assert "CaNaRy7" not in shown, (form, shown)
    assert value[9:] not in shown or len(value) < 14, (form, shown)
    assert base64.b64encode(value.encode()).decode() not in shown


@settings(max_examples=100, deadline=None)
@given(st.text("ab\"\\ 'cd1", max_size=12), names)
def test_quotes_within_quotes_end_no_value(inner: str, name: str) -> None:
    """A value is taken whole, however its own quotes are escaped."""
    value = f"CaNaRy7{inner}CaNaRy8"
    assert "CaNaRy" not in clean(json.dumps({name: value})), json.dumps({name: value})
    assert "CaNaRy" not in clean(json.dumps(json.dumps({name: value})))


@pytest.mark.parametrize(
    "mail",
    ["joe.doe@example.com", "joe%40example.com", "joe\\u0040example.com", "joe&#64;example.com", "mü@bücher.example"],
)
def test_mail_addresses_go_however_they_are_encoded(mail: str) -> None:
    """The @ of URLs, JSON and HTML."""
    assert clean(f"login of {mail} failed") == "login of <email-1> failed"


def test_the_same_value_is_the_same_placeholder() -> None:
    """Also in another text and another spelling, so that a model can follow it; others have other numbers."""
    redactor = Redactor()
    assert redactor("a@x.com to b@x.com, again A@x.com") == "<email-1> to <email-2>, again <email-1>"
    assert redactor("a%40x.com") == "<email-1>"
    assert redactor("card 4111 1111 1111 1111 or 4111-1111-1111-1111") == "card <card-1> or <card-1>"
    assert redactor.counts == {"email": 4, "card": 2}
    assert redactor("<email-1> password=<password-1>") == "<email-1> password=<password-1>", "placeholders stay"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("AKIAIOSFODNN7EXAMPLE", "token"),
        ("xoxb-1234567890-abcdefghij", "token"),
        ("github_pat_11ABCDEFG0abcdefghij_klmnop", "token"),
        ("glpat-abcdefghijklmnopqrst", "token"),
        ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "token"),
        ("whsec_4eC39HqLyjWDarjtT1zdp7dc", "token"),
        ("AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe", "token"),
        ("ya29.a0AfH6SMBx-abcdef1234567", "token"),
        ("1//0gabcdefghijklmnopqrstuvwxyzABCDE", "token"),
        ("GOCSPX-abcdefghijklmnopqrstuvwx", "token"),
        ("sk-ant-api03-abcdefghijklmnop", "token"),
        ("hf_abcdefghijklmnopqrstuvwx", "token"),
        ("npm_abcdefghijklmnopqrstuvwxyz0123456789", "token"),
        ("dckr_pat_abcdefghijklmnopqrstuvwxyz", "token"),
        ("lin_api_abcdefghijklmnopqrstuvwxyz0123456789abcd", "token"),
        ("PMAK-0123456789abcdef01234567-0123456789abcdef0123456789abcdef01", "token"),
        ("NRAK-ABCDEFGHIJKLMNOPQRSTUVWXYZ1", "token"),
        ("dapi0123456789abcdef0123456789abcdef", "token"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N", "token"),
        ("https://hooks.slack.com/services/T000/B000/XXXXXXXX", "token"),
        ("5555555555554444", "card"),
        ("3782 822463 10005", "card"),
        ("GB82 WEST 1234 5698 7654 32", "iban"),
        ("DE89370400440532013000", "iban"),
        ("078-05-1120", "ssn"),
        ("+49 30 901820", "phone"),
        ("(555) 010-4567", "phone"),
        ("212-555-0147", "phone"),
        ("wJalrXUtnFEMIK7MDENGbPxRfiCYz93mmAq2", "secret"),
        ("MIIEpAIBAAKCAQEA7bq98mA3kL9xTz0dQ4vU1yWc5eRn2sHfGjKpLoIuYtRe", "private-key"),
    ],
)
def test_known_forms_go_without_a_name(text: str, kind: str) -> None:
    """Keys of vendors, numbers whose check digit is right, words drawn by lot."""
    for around in ("{}", "got {} there", '"{}"', "[{}]", "x={}"):
        redactor = Redactor()
        shown = redactor(around.format(text))
        assert text not in shown, shown
        assert kind in redactor.counts or kind == "private-key", redactor.counts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SSN 078051120", "SSN <ssn-1>"),
        ('"social security number": "078-05-1120"', '"social security number": "<ssn-1>"'),
        ("tel: 020 7946 0958", "tel: <phone-1>"),
        ('{"phone_number": "0151 23456789"}', '{"phone_number": "<phone-1>"}'),
        ("Fax: 030/901820.", "Fax: <phone-1>."),
        ("curl -sS -u admin:hunter2 https://x", "curl -sS -u admin:<password-1> https://x"),
        ("wget --user=bob:hunter2 https://x", "wget --user=bob:<password-1> https://x"),
        ("cell: 4711, telemetry: 1234567890, phone: busy", "cell: 4711, telemetry: 1234567890, phone: busy"),
        ("ssn: none, lessn 078051120", "ssn: none, lessn 078051120"),
    ],
)
def test_what_stands_behind_a_telling_word_goes(text: str, shown: str) -> None:
    """Numbers that could be anything, were it not for the word before them."""
    assert clean(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "2025-03-11T02:14:07.331 +1000 22112211 INFO started",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span=00f067aa0ba902b7",
        "request 550e8400-e29b-41d4-a716-446655440000 took 1200 ms",
        "pod payments-api-7d9c4f6b8-xk2lp on ip-10-0-3-17 restarted 12 times",
        "org.springframework.beans.factory.support.DefaultListableBeanFactory.doGetBean(DefaultListableBeanFactory.java:213)",
        "token: expired; password is incorrect for user 17; max_tokens=500; tokens: 42",
        "secret \"db-creds\" not found in namespace prod",
        "api_key=null password=${DB_PASSWORD} token={{ .Values.token }} secret=***",
        "1741658047331 1741658047 4111111111111112 1234567890123",
        "/var/lib/postgresql/16/main/pg_wal/000000010000000A000000FE: No space left on device",
        "listening on 0.0.0.0:8080 and [::1]:8080, peer 10.2.3.4",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "GET /api/v1/keys/17 200 in 12 ms, monkey=1 keyboard: us turkey=2",
        "version 1.22.333.4444 at 12:34:56.789",
    ],
)  # fmt: skip
def test_what_helps_to_find_out_what_happened_stays(text: str) -> None:
    """Times, ids, hashes, paths, counts, and words about secrets."""
    assert clean(text) == text


def test_addresses_go_on_request() -> None:
    """And only then."""
    redactor = Redactor((*KINDS, *OPTIONAL))
    for address in (
        *("10.2.3.4", "2001:db8::17", "2001:db8:0:0:0:0:2:1", "2001:db8::", "::1", "fe80::1", "::ffff:10.0.0.1"),
        "00:1A:2B:3C:4D:5E",
    ):
        for around in ("{}", "peer {}: refused", "from {}.", "[{}]:8080", "src={} dst", "{}/24"):
            assert address not in Redactor((*KINDS, *OPTIONAL))(around.format(address)), around.format(address)
    assert Redactor(["ip"])("10.2.3.4:8080 refused") == "<ip-1>:8080 refused"
    assert Redactor(["ip"])("fe80::1%eth0") == "<ip-1>%eth0"
    for other in ("at 12:34:56", "std::begin a::b", "v1.22.333.4444", "1.2.3.4.5", "cafe:babe", "[::]:80"):
        assert Redactor(["ip"])(other) == other
    assert redactor("peer 10.2.3.4 and 2001:db8::17, not 1.2.3.999") == "peer <ip-1> and <ip-2>, not 1.2.3.999"


def test_a_kind_that_there_is_not_is_said() -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match="'mail' is known; expected private-key"):
        Redactor(["email", "mail"])


def test_a_redactor_keeps_no_secret() -> None:
    """Neither in its picture nor in what it remembers."""
    redactor = Redactor()
    redactor("password=CaNaRy7hunter2 joe@example.com")
    assert "CaNaRy7" not in repr(redactor) + repr(vars(redactor))
    assert "joe@" not in repr(vars(redactor))


@settings(max_examples=50)
@given(st.text(max_size=300))
def test_any_text_can_be_cleaned_and_cleaning_again_changes_nothing(text: str) -> None:
    """Whatever signs are in it."""
    once = clean(text)
    assert re.sub(r"<[a-z-]+-\d+>", "", clean(once)) == re.sub(r"<[a-z-]+-\d+>", "", once)


HOSTILE = [
    *("password=", '"secret":"', "token='", '\\"token\\":\\"', 'key\\\\"', "--pass", "bearer ", "://u:"),
    *(
        "a@",
        "%40",
        "-----BEGIN PRIVATE KEY-----",
        "eyJaaaaa.",
        "curl -u a",
        "tel: 1",
        "ssn ",
        "4111 ",
        "+1 ",
        "GB82",
        "1.2.3.",
        "a:b:",
        "A1b",
        "x",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE)
def test_time_is_linear_in_the_text(piece: str) -> None:
    """A text four times as long takes less than eight times as long, whatever it is made of."""

    def taken(size: int) -> float:
        redactor, text = Redactor((*KINDS, *OPTIONAL)), (piece * size)[:size]
        begun = time.process_time()
        redactor(text)
        return time.process_time() - begun

    short, long = min(taken(50_000) for _ in range(3)), min(taken(200_000) for _ in range(2))
    assert long < max(8 * short, 0.2), (short, long)
