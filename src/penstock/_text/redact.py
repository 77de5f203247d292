"""Secrets and personal data in text, replaced by placeholders before the text goes anywhere.

The same value has the same placeholder everywhere, as in `<email-1>`, so that a model can still tell who did what.
What follows a telling name (`password=`, `"api_key": "…"`, `Authorization:`) goes whatever it looks like; known forms
of keys, numbers that pass their check digit and long random words go without a name. Each pattern runs over the text
once, in time linear in its length, and is compiled only when the text has something that it could match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from typing import Final

import msgspec

from ..errors import ConfigError

KINDS: Final = ("private-key", "password", "token", "secret", "card", "iban", "ssn", "email", "phone")
"""What is replaced unless told otherwise."""
OPTIONAL: Final = ("ip",)
"""What is replaced on request: addresses mostly help to find out what happened."""

NAMES: Final = (
    r"passw(?:or)?d|passphrase|passcode|passwort|contrase[nñ]a|pwd|secret|token|credential|api[-_. ]?key|"
    r"(?:access|account|auth|client|encryption|master|private|service|shared|signing|ssh|storage)[-_. ]?key|"
    r"session[-_]?id|csrf|signature|x-amz-credential|(?<![a-z])(?:pass|sig|sid|pin|otp|cvv|cvc)(?![a-z])"
)
"""Words in the name of a thing that nobody else may know."""

_VALUE: Final = (
    r"(?:(?P<escaped>\\+[\"'])(?P<a>(?:\\{3}[\"']|(?!(?P=escaped))[^\r\n])*+)"
    r"|\"(?P<b>(?:[^\"\\\r\n]|\\.)*+)|'(?P<c>(?:[^'\\\r\n]|\\.)*+)"
    r"|(?P<d>(?:[^\s\"',;&<]|[,;&](?!\s|$|[\w.-]{0,40}[=:]))++))"
)
"""A value in quotes that were escaped with the text around it, in quotes, or up to a space or the next name."""
_BETWEEN: Final = r"[\"'\\)\]]{0,4}\s{0,3}(?:=>|:=|[:=>]|%3[AaDd])\s{0,3}"

_ESCAPED_AT: Final = r"(?:@|%40|\\u0040|&#64;|&#x40;)"
_TOKENS: Final = (
    r"(?<![A-Za-z0-9])(?:A(?:KIA|SIA|BIA|CCA|3T[A-Z0-9])[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|gh[opusr]_[A-Za-z0-9]{16,}+|github_pat_\w{16,}+|gl(?:pat|dt|rt|ft|soat|cbt|ptt)-[\w-]{16,}+"
    r"|xox[a-z]{1,2}-[\w-]{8,}+|xapp-[\w-]{8,}+|[srp]k_(?:live|test)_\w{10,}+|whsec_[\w+/=]{16,}+"
    r"|AIza[\w-]{30,}+|ya29\.[\w.-]{16,}+|GOCSPX-[\w-]{16,}+|(?:sk|rk|pk|xai|gsk|pplx|csk)[-_][\w-]{16,}+"
    r"|npm_[A-Za-z0-9]{20,}+|pypi-[\w-]{16,}+|hf_[A-Za-z0-9]{16,}+|do[opr]_v1_[a-f0-9]{32,}+"
    r"|SG\.[\w-]{16,}+\.[\w-]{16,}+|hv[sbr]\.[\w-]{16,}+|AGE-SECRET-KEY-1[A-Z0-9]{20,}+|ATATT3[\w=-]{16,}+"
    r"|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{16,}+|sq0[a-z]{3}-[\w-]{16,}+|key-[0-9a-f]{32}|\d{8,10}:AA[\w-]{30,}+"
    r"|dckr_[po]at_[\w-]{16,}+|lin_api_[A-Za-z0-9]{16,}+|sb[ps]_[a-zA-Z0-9]{32,}+|pscale_[a-z]{2,8}_[\w.-]{16,}+"
    r"|PMAK-[a-f0-9-]{32,}+|NR(?:AK|JS|RA|II)-[\w-]{16,}+|sntry[su]_[\w+/=-]{16,}+|glsa_[A-Za-z0-9_]{16,}+"
    r"|tskey-[\w-]{16,}+|dapi[a-f0-9]{32}|dp\.(?:pt|st|ct|sa)\.[\w.-]{16,}+|1//0[\w-]{24,}+"
    r"|eyJ[\w-]{5,}+\.[\w-]{5,}+(?:\.[\w-]*+)*)"
    r"|hooks\.slack\.com/services/[\w/-]++|discord(?:app)?\.com/api/webhooks/[\w/-]++"
)
_PROSE: Final = r"[a-z]{1,16}[.!]?"
_NOTHING: Final = (
    r"(?i)(?:null|none|nil|true|false|undefined|\[?redacted\]?|\*+|x{3,}|\.{3,}|"
    r"\$\{?\w+\}?|%\w+%|\{\{.*)?|<[a-z-]+-\d+>.*"
)
_STRICT: Final = r"(?i)pass|pwd|secret|contrase|pin|otp|cv[vc]"
_PLAIN_NUMBER: Final = r"\d{1,6}(?:\.\d+)?%?"


class Rule(msgspec.Struct, frozen=True):
    """What one pattern replaces: its last group that took part, or all of it, where `holds` says so."""

    kind: str
    hints: tuple[str, ...]
    pattern: str
    holds: Callable[[re.Match[str], str], bool] | None = None


def _named(match: re.Match[str], value: str) -> bool:
    """Whether what follows a telling name is a value, and not a word about it: 'token: expired', 'max_tokens=500'."""
    if re.fullmatch(_NOTHING, value):
        return False
    name = match["name"]
    between = match[0][len(name) : match.start(match.lastgroup or 0) - match.start()]
    told = "=" not in between and '"' not in between and "'" not in between
    if told and re.fullmatch(_PROSE, value) and (not re.search(_STRICT, name) or " is" in between or " was" in between):
        return False
    return bool(re.search(_STRICT, name)) or not re.fullmatch(_PLAIN_NUMBER, value)


def _luhn(match: re.Match[str], value: str) -> bool:
    digits = [int(sign) for sign in value if sign.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) if at % 2 else digit for at, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0 and len(set(digits)) > 1


def _iban(match: re.Match[str], value: str) -> bool:
    bare = value.replace(" ", "")
    moved = bare[4:] + bare[:4]
    return 15 <= len(bare) <= 34 and int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def _random(match: re.Match[str], value: str) -> bool:
    """Whether a long word looks drawn by lot: all three kinds of signs, changing often; no path and no CamelCase."""
    kinds = [1 if sign.isdigit() else 2 if sign.islower() else 3 if sign.isupper() else 0 for sign in value]
    changes = sum(before != after for before, after in pairwise(kinds))
    return (
        {1, 2, 3} <= set(kinds)
        and changes * 20 >= len(value) * 7
        and len(set(value)) * 3 >= min(len(value), 48)
        and value.count("/") * 12 <= len(value)
    )


def _phone(match: re.Match[str], value: str) -> bool:
    """Whether it is a number to call: not '+1000', an offset from UTC before another number."""
    return not re.match(r"\+1[0-4][0-5]0\b", value)


def _email(match: re.Match[str], value: str) -> bool:
    return not value.startswith("git@")


def _ip(match: re.Match[str], value: str) -> bool:
    """Whether it is an address, of IP or of a network card; neither '12:34:56' nor 'std::begin' is one."""
    from ipaddress import ip_address

    if not any(sign.isdigit() for sign in value):
        return False
    try:
        ip_address(value)
    except ValueError:
        return re.fullmatch(r"(?i)[0-9a-f]{2}(?::[0-9a-f]{2}){5}", value) is not None
    return True


RULES: Final = (
    Rule("private-key", ("private key",), r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?:(?!-----)[\s\S])*+"
         r"(?:-----END [A-Z0-9 ]*-----)?"),
    # A line of a key whose first line is not shown.
    Rule("private-key", (), r"(?m)^[ \t]*(?![0-9a-fA-F]++[ \t]*$)([A-Za-z0-9+/]{48,}+={0,2})[ \t]*$"),
    Rule("password", ("://",), r"://[^\s/:@\"'<>]{0,200}+:([^\s/\"'<>]+)@"),
    Rule("password", ("curl", "--user"),
         r"(?:\bcurl\b[^\r\n|;]{0,400}?\s(?:-u|--user|--proxy-user)[ =]?|\s--user[ =])"
         r"[\"']?[^\s:\"']{1,100}:([^\s\"']+)"),
    Rule("token", ("_", "-", "asia", "akia", "abia", "acca", "a3t", "aiza", "ya29.", "eyj", "sg.", "hv", ":aa",
                   "atatt3", "dapi", "dp.", "1//0", "slack.com", "discord"), _TOKENS),
    Rule("token", ("authorization", "cookie"),
         r"(?i)\b(?:(?:proxy-)?authorization|(?:set-)?cookie)[\"'\\]{0,4}\s{0,3}[:=]\s{0,3}[\"'\\]{0,4}"
         r"(?:(?:bearer|basic|token|digest|negotiate|apikey|aws4-hmac-sha256)\s++)?([^\"'\r\n\\]++)",
         lambda match, value: not re.fullmatch(_NOTHING, value)),
    Rule("token", ("bearer",), r"(?i)\bbearer[\s:=]{1,3}([\w.~+/=-]{8,}+)"),
    Rule("password", ("pass", "pwd", "secret", "token", "credential", "key", "session", "csrf", "signature", "sig",
                      "sid", "contrase", "pin", "otp", "cvv", "cvc"),
         rf"(?i)(?![a-z-]{{1,20}}-\d{{1,9}}>)(?P<name>(?:{NAMES})[\w.-]{{0,40}}+)"
         rf"(?:{_BETWEEN}|\s(?:is|was)\s{{1,3}}){_VALUE}", _named),
    Rule("password", ("--",), rf"(?i)(?P<name>--[\w-]{{0,40}}?(?:{NAMES})[\w-]{{0,40}}+)[ =]{{1,3}}{_VALUE}",
         lambda match, value: not re.fullmatch(_NOTHING, value) and not value.startswith("-")),
    Rule("iban", (), r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])", _iban),
    Rule("card", (), r"(?<![A-Za-z0-9.])[2-6]\d{3}(?:[ -]?\d){8,14}\d(?![A-Za-z0-9])", _luhn),
    Rule("ssn", ("-",), r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"),
    Rule("ssn", ("ssn", "social security"),
         r"(?i)\b(?:ssn|social security(?: (?:number|no\.?))?)[\"']?\s{0,3}(?:[:=#]|is)?\s{0,3}[\"']?"
         r"(\d{3}[- ]?\d{2}[- ]?\d{4})(?![\w-])"),
    Rule("email", ("@", "%40", "u0040", "&#64;", "&#x40;"),
         rf"(?<![\w.%+-])[\w.%+-]+?{_ESCAPED_AT}[\w-]++(?:\.[\w-]++)+", _email),
    Rule("phone", ("+",), r"(?<![\w+])\+[1-9](?:[ ().-]{0,2}\d){7,14}(?!\d)", _phone),
    Rule("phone", ("-", ".", " "), r"(?<![\w.-])(?:\(\d{3}\) ?|[2-9]\d{2}[ .-])\d{3}[ .-]\d{4}(?![\w.-]|\.\d)"),
    Rule("phone", ("tel", "phone", "mobil", "fax", "msisdn", "cell", "handy"),
         r"(?i)(?<![a-z])(?:tel(?:efon|ephone)?|(?:tele|cell)?phone|mobile?|fax|msisdn|cell|handy)"
         r"(?:[-_ ]?(?:number|no|nr))?\.?[\"']?\s{0,3}[:=]\s{0,3}[\"']?(\(?\d(?:[ ()./-]{0,2}\d){6,14})(?!\w)"),
    Rule("secret", (), r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{32,}+={0,2}", _random),
    Rule("ip", (".",), r"(?<![\w.:])(?:::(?:ffff:(?:0:)?)?|64:ff9b::)?\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\w)", _ip),
    Rule("ip", (":",), r"(?<![\w.:])(?:(?:::|(?:[0-9a-fA-F]{1,4}:){1,7}:?)(?:[0-9a-fA-F]{1,4}:){0,6}[0-9a-fA-F]{1,4}"
         r"|(?:[0-9a-fA-F]{1,4}:){1,7}:)(?!\w|[.:][\w:])", _ip),
)  # fmt: skip


class Redactor:
    """Replaces secrets and personal data; one of these sees to it that the same value is the same placeholder.

    `kinds` are those of `KINDS` and `OPTIONAL`. It keeps digests of what it replaced, never the values.

    Raises: ConfigError for a kind that there is not.
    """

    def __init__(self, kinds: Iterable[str] = KINDS) -> None:
        chosen = frozenset((kinds,) if isinstance(kinds, str) else kinds)
        unknown = sorted(chosen - {*KINDS, *OPTIONAL})
        if unknown:
            raise ConfigError(f"nothing of the kind {unknown[0]!r} is known; expected {', '.join((*KINDS, *OPTIONAL))}")
        self._rules = [rule for rule in RULES if rule.kind in chosen]
        self._known: dict[bytes, str] = {}
        self._distinct: dict[str, int] = {}
        self.counts: dict[str, int] = {}

    def __call__(self, text: str) -> str:
        """Return the text with placeholders; `counts` has how many places of each kind were replaced so far."""
        lowered = text.lower()
        for rule in self._rules:
            if not rule.hints or any(hint in lowered for hint in rule.hints):
                text = re.sub(rule.pattern, partial(self._replaced, rule), text)
        return text

    def _replaced(self, rule: Rule, match: re.Match[str]) -> str:
        group = match.lastindex or 0
        if "name" in match.re.groupindex:
            group = next(at for at in (match.re.groupindex[name] for name in "abcd") if match[at] is not None)
        value = match[group]
        if not value or (rule.holds is not None and not rule.holds(match, value)):
            return match[0]
        start, end = match.start(group) - match.start(), match.end(group) - match.start()
        return f"{match[0][:start]}{self._placeholder(rule.kind, value)}{match[0][end:]}"

    def _placeholder(self, kind: str, value: str) -> str:
        if kind == "email":
            value = re.sub(_ESCAPED_AT, "@", value).lower()
        elif kind in ("card", "iban", "phone"):
            value = re.sub(r"[^\w+]", "", value)
        digest = blake2b(f"{kind}:{value}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        self.counts[kind] = self.counts.get(kind, 0) + 1
        known = self._known.get(digest)
        if known is None:
            self._distinct[kind] = number = self._distinct.get(kind, 0) + 1
            known = self._known[digest] = f"<{kind}-{number}>"
        return known

    def __repr__(self) -> str:
        return f"<Redactor {self.counts}>"
