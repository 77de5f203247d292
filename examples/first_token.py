"""Stream an answer word by word, and say how long the first token and all of it took. Run `penstock sim` first."""

import sys

from penstock import Client, PenstockError
from penstock.streaming import TerminalWriter, process, timing


def main() -> None:
    with Client() as client, TerminalWriter(width=80) as out:
        answer = process(
            client.stream("Explain what an OOM kill is.", model="openai:gpt-4o-mini", max_tokens=200),
            on_first_token=lambda seconds: print(f"(first token after {seconds:.3f} s)"),
            on_text=out.write,
        )
    print(f"{timing(answer)}; {answer.usage.total} tokens for ${answer.cost}")


if __name__ == "__main__":
    try:
        main()
    except PenstockError as error:
        sys.exit(f"{error}")
