"""How large the next call will be, learned from the answers that came.

Of an output two guesses are kept: the mean, and the mean share of the max_tokens that answers were asked with. Where
each call asks for what it needs the share is right, where all ask alike both are; the one that erred less counts.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 512.0  # tokens of an output, until answers tell
SMOOTHING: Final = 1 / 32  # answers differ much, so one that is ten times as long must not count as a change


class Expected:
    """See the module. `mean` is that of the outputs, in tokens."""

    __slots__ = ("_answers", "_mean_off", "_prompt_share", "_share", "_share_off", "mean")

    def __init__(self) -> None:
        self.mean = FIRST
        self._answers = 0
        self._mean_off = 0.0
        self._share = 1.0
        self._share_off = 0.0
        self._prompt_share = 1.0

    def output(self, most: int | None) -> float:
        """Tokens that an output of at most so many will have."""
        if most is None:
            return self.mean
        if self._share_off < self._mean_off:
            return self._share * most
        return self.mean if self.mean < most else float(most)

    def prompt(self, estimate: int) -> float:
        """Tokens that the provider will count of a prompt of so many by our estimate."""
        return estimate * self._prompt_share

    def learn(self, most: int | None, output: int, estimate: int, prompt: int) -> None:
        """Take in an answer: what its output was to have at most and had, what its prompt was taken for and had."""
        self._answers += 1
        step = max(SMOOTHING, 1 / self._answers)
        if most:
            self._mean_off += step * (abs(output - min(self.mean, most)) - self._mean_off)
            self._share_off += step * (abs(output - self._share * most) - self._share_off)
            self._share += step * (output / most - self._share)
        self.mean += step * (output - self.mean)
        if estimate and prompt:
            self._prompt_share += step * (prompt / estimate - self._prompt_share)
