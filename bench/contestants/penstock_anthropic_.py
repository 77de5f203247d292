"""Penstock over Anthropic's protocol, to stand beside Anthropic's own SDK."""

from bench import answers
from bench.contestants import penstock_

PACKAGE = penstock_.PACKAGE
STREAM_TEXT = answers.CLAUDE_STREAM_TEXT
MODEL = f"anthropic:{answers.CLAUDE}"


class Sync(penstock_.Sync):
    model = MODEL
    path = ""


class Async(penstock_.Async):
    model = MODEL
    path = ""
