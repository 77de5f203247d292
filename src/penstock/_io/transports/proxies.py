"""Which proxy stands before an address, as the environment says it."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec


class Proxy(msgspec.Struct, frozen=True):
    """The address of a proxy, and the header that lets us in if it asks who we are."""

    url: str
    authorization: str | None

    def __repr__(self) -> str:
        return f"Proxy({self.url!r})"


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy of an address: by HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, unless NO_PROXY has its host."""
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None  # elsewhere the system may know one as well
    import urllib.request  # 3 ms, for the few that have a proxy

    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    who, _, address = proxy.netloc.rpartition("@")
    authorization = f"Basic {b64encode(unquote(who).encode()).decode()}" if who else None
    return Proxy(urlunsplit(proxy._replace(netloc=address)), authorization)
