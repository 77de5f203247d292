"""Who may see the page: whose Host header is believed, and who knows the token. Around it: the headers of every answer.

    Host      a page of another site cannot reach this server under a name of its own (DNS rebinding)
    token     bound to other addresses than loopback, nobody sees anything without it; a cookie keeps it
    headers   no script, style or connection from elsewhere, no frame around the page, no cache on the way

On loopback there is no token: whoever has an account on the machine can look.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from typing import Final
from urllib.parse import parse_qs, urlencode

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_BYTES: Final = 32
FORM_BYTES_MAX: Final = 4096

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
WRONG: Final = '<p class="banner">That is not the token.</p>'
_HOST: Final = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::\d{1,5})?")


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def error(status: int, sentence: str) -> Response:
    """Return an answer that says what is wrong."""
    return Response(msgspec.json.encode({"error": sentence}), status, media_type="application/json")


class Guard:
    """Stands before the application. `token` None: whoever reaches the server may look."""

    def __init__(self, app: ASGIApp, *, host: str, token: str | None, cookie: str, login: str) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._cookie = cookie
        self._login = login
        self._local = is_loopback(host)
        self._names = {"localhost", host.strip("[]").lower()}
        if not self._local:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what must not pass, and pass on the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = await self._refusal(scope, receive)
        await (self._app if refusal is None else refusal)(scope, receive, headed)

    async def _refusal(self, scope: Scope, receive: Receive) -> Response | None:
        headers = Headers(scope=scope)
        if not self._is_ours(headers.get("host", "")):
            return error(421, "wrong host name: open the page by the address that penstock dashboard printed")
        if self._token is None:
            return None
        if scope["path"] == "/login" and scope["method"] == "POST":
            return await self._enter(Request(scope, receive))
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == "/" and "token" in asked:
            (given, *_) = asked.pop("token")
            return self._welcome(given, urlencode(asked, doseq=True))
        known = self._is_known(cookie_parser(headers.get("cookie", "")).get(self._cookie, ""))
        known = known or self._is_known(headers.get("authorization", "").removeprefix("Bearer "))
        if known or scope["path"] in {"/page.css", "/icon.svg"}:
            return None
        if "text/html" in headers.get("accept", ""):
            return HTMLResponse(self._login, 401)
        return error(401, "the token is missing: open the address that penstock dashboard printed, with its ?token=")

    def _is_ours(self, host: str) -> bool:
        """Rebinding needs a name, so an address is always right where others than loopback are served."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].strip("[]").lower().removesuffix(".")
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._local

    def _is_known(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(), self._token)

    async def _enter(self, request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > FORM_BYTES_MAX:
                return error(413, "a token is shorter than that")
        (given, *_) = parse_qs(body.decode("latin-1")).get("token", [""])
        return self._welcome(given.strip(), "")

    def _welcome(self, given: str, query: str) -> Response:
        if not self._is_known(given):
            return HTMLResponse(self._login.replace("<!-- wrong -->", WRONG), 401)
        answer = RedirectResponse("/" + (f"?{query}" if query else ""), 303)
        answer.set_cookie(self._cookie, given, httponly=True, samesite="lax")
        return answer
