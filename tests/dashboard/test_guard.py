"""Who may see the page: loopback and its names without a token, anyone else with it, and nobody under another name."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from penstock.dashboard.guard import HEADERS, Guard, is_loopback, new_token

LOGIN = "<p>give the token <!-- wrong --></p>"
TOKEN = "a-token-of-the-test"


def behind(host: str = "127.0.0.1", *, token: str | None = None, at: str = "http://127.0.0.1:8787") -> TestClient:
    """A browser that opens a guarded page at an address."""
    guard = Guard(PlainTextResponse("figures"), host=host, token=token, cookie="penstock-8787", login=LOGIN)
    return TestClient(guard, base_url=at, follow_redirects=False)


@pytest.mark.parametrize(
    "at", ["http://127.0.0.1:8787", "http://localhost:8787", "http://[::1]:8787", "http://LOCALHOST"]
)
def test_the_names_of_this_machine_lead_to_the_page(at: str) -> None:
    """With any port, as a tunnel may have another."""
    assert behind(at=at).get("/").text == "figures"


@pytest.mark.parametrize(
    "name", ["evil.example", "127.0.0.1.evil.example", "192.168.1.7", "localhost.evil.example:8787", ""]
)
def test_a_page_of_another_site_cannot_rebind_its_name_to_us(name: str) -> None:
    """The browser says which name it used; any but ours is refused before anything is read."""
    answer = behind().get("/api/view", headers={"host": name})
    assert answer.status_code == 421
    assert "figures" not in answer.text


@pytest.mark.parametrize("name", ["10.0.0.7:8787", "[fe80::1]:8787", "localhost:8787"])
def test_bound_elsewhere_addresses_are_right_and_foreign_names_are_not(name: str) -> None:
    """Rebinding needs a name."""
    browser = behind("0.0.0.0", token=TOKEN)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert browser.get("/", headers={"host": name, **bearer}).text == "figures"
    assert browser.get("/", headers={"host": "evil.example", **bearer}).status_code == 421


def test_without_the_token_nothing_is_shown() -> None:
    """A person gets a form, a program a sentence."""
    browser = behind("0.0.0.0", token=TOKEN)
    person = browser.get("/", headers={"accept": "text/html"})
    assert (person.status_code, person.text) == (401, LOGIN)
    program = browser.get("/api/view", headers={"accept": "application/json"})
    assert program.status_code == 401
    assert "token" in program.json()["error"]
    assert TOKEN not in person.text + program.text


def test_the_token_moves_from_the_address_into_a_cookie() -> None:
    """So it is in no history, bookmark or referrer; what else was asked for stays."""
    browser = behind("0.0.0.0", token=TOKEN)
    first = browser.get(f"/?token={TOKEN}&period=7d")
    assert (first.status_code, first.headers["location"]) == (303, "/?period=7d")
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert browser.get("/api/view").text == "figures"


def test_the_token_can_be_typed() -> None:
    """The form takes it, and says when it is wrong."""
    browser = behind("0.0.0.0", token=TOKEN)
    wrong = browser.post("/login", data={"token": "guess"})
    assert wrong.status_code == 401
    assert "not the token" in wrong.text
    assert browser.get("/").status_code == 401
    assert browser.post("/login", data={"token": f" {TOKEN} "}).status_code == 303
    assert browser.get("/").text == "figures"


@pytest.mark.parametrize("given", ["", "guess", TOKEN[:-1], TOKEN + "x", "é"])
def test_a_wrong_token_does_not_open(given: str) -> None:
    """Not as address, cookie or header, and no spelling of it is an error of ours."""
    browser = behind("0.0.0.0", token=TOKEN)
    assert browser.get("/", params={"token": given}).status_code == 401
    assert browser.get("/", headers={b"authorization": f"Bearer {given}".encode()}).status_code == 401
    assert browser.get("/", headers={b"cookie": f"penstock-8787={given}".encode()}).status_code == 401


def test_a_long_form_is_not_read() -> None:
    """A token is short."""
    assert behind("0.0.0.0", token=TOKEN).post("/login", data={"token": "x" * 10_000}).status_code == 413


@pytest.mark.parametrize("path", ["/", "/api/view", "/nothing"])
def test_every_answer_forbids_what_comes_from_elsewhere(path: str) -> None:
    """Refusals too."""
    for answer in (behind().get(path), behind().get(path, headers={"host": "evil.example"})):
        assert HEADERS.items() <= answer.headers.items()
        assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.7", False), ("example.com", False)],
)  # fmt: skip
def test_only_loopback_needs_no_token(host: str, expected: bool) -> None:
    """A name other than localhost may be any machine."""
    assert is_loopback(host) is expected


def test_tokens_are_long_and_differ() -> None:
    """256 bits."""
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) >= 43
