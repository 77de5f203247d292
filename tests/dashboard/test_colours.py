"""The colours of the charts, for eyes of every kind: told apart, and seen against the ground.

Colour vision deficiencies as simulated by Machado, Oliveira and Fernandes (2009, severity 1), differences in OKLab
(Ottosson 2020) times 100, contrast by WCAG 2.2.
"""

from __future__ import annotations

import re
from importlib import resources
from itertools import combinations

import pytest

CSS = (resources.files("penstock.dashboard") / "static" / "page.css").read_text(encoding="utf-8")
VARIABLES = dict(re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}, #[0-9a-f]{6})\);", CSS))
THEMES = {"light": 0, "dark": 1}
INKS = ("c1", "c2", "c3", "c4", "c5", "c-rest")
DIFFERENCE_MIN = 7.0
GRAPHIC_CONTRAST_MIN = 3.0
TEXT_CONTRAST_MIN = 4.5

Colour = tuple[float, float, float]

EYES: dict[str, tuple[Colour, Colour, Colour]] = {
    "trichromat": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanope": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranope": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanope": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def ink(name: str, theme: str) -> Colour:
    """A colour of the page in linear light."""
    written = VARIABLES[name].split(", ")[THEMES[theme]]
    parts = [int(written[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return red, green, blue


def seen(colour: Colour, eye: str) -> Colour:
    """The colour as such an eye sees it."""
    red, green, blue = (max(0.0, sum(a * b for a, b in zip(row, colour, strict=True))) for row in EYES[eye])
    return red, green, blue


def oklab(colour: Colour) -> Colour:
    """Lightness and two axes of colour, in which distance is difference."""
    red, green, blue = colour
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    middle = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def difference(one: Colour, other: Colour, eye: str) -> float:
    """How far apart two colours are to an eye; 2 is just noticeable."""
    pairs = zip(oklab(seen(one, eye)), oklab(seen(other, eye)), strict=True)
    return 100 * float(sum((a - b) ** 2 for a, b in pairs) ** 0.5)


def contrast(one: Colour, other: Colour) -> float:
    """The ratio of luminances, 1 to 21."""
    low, high = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("eye", EYES)
def test_series_are_told_apart_by_every_eye(theme: str, eye: str) -> None:
    """Each of the six from each other one."""
    close = {
        (one, other): round(apart, 1)
        for one, other in combinations(INKS, 2)
        if (apart := difference(ink(one, theme), ink(other, theme), eye)) < DIFFERENCE_MIN
    }
    assert close == {}


@pytest.mark.parametrize("theme", THEMES)
def test_series_are_seen_against_the_ground(theme: str) -> None:
    """3 to 1, as WCAG asks of graphics."""
    names = (*INKS, "good-fill", "warn-fill", "bad-fill", "edge", "accent")
    faint = {name: contrast(ink(name, theme), ink("surface", theme)) for name in names}
    assert {name: found for name, found in faint.items() if found < GRAPHIC_CONTRAST_MIN} == {}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(
    ("text", "ground"),
    [("text", "ground"), ("text", "surface"), ("text", "sunken"), ("muted", "ground"), ("muted", "surface"),
     ("muted", "sunken"), ("good", "good-ground"), ("warn", "warn-ground"), ("bad", "bad-ground"),
     ("accent", "surface"), ("on-accent", "accent")],
)  # fmt: skip
def test_text_is_readable(theme: str, text: str, ground: str) -> None:
    """4.5 to 1, as WCAG asks of small text."""
    assert contrast(ink(text, theme), ink(ground, theme)) >= TEXT_CONTRAST_MIN


def test_two_reds_are_found_to_be_close() -> None:
    """A measure that cannot fail proves nothing."""
    red, brown = (0.5, 0.03, 0.03), (0.2, 0.12, 0.02)
    assert difference(red, brown, "protanope") < difference(red, brown, "trichromat")
    assert contrast((1, 1, 1), (0, 0, 0)) == pytest.approx(21)
