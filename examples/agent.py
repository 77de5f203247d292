"""A streaming agent with tools: it looks at a host, asks before it changes anything, and says what it found.

Needs OPENAI_API_KEY, or a running `penstock sim` and the two lines that it prints:

    python examples/agent.py "Use disk_usage and then tell me how full the disk of db1 is."
"""

import dataclasses
import os
import sys

from penstock import Agent, AgentEvent, Client, tool

MODEL = "openai:gpt-4o-mini"
TASK = "Use disk_usage: how full is the disk of db1?"


@dataclasses.dataclass
class Disk:
    host: str
    percent: int
    largest: list[str]


@tool
def disk_usage(host: str) -> Disk:
    """How full the disk of a host is, and what takes the most room.

    Args:
        host: The name of the host, e.g. db1.
    """
    return Disk(host, 95, ["/var/log 41 GB", "/tmp 12 GB"])


@tool(side_effects=True, timeout_s=30)
def rotate_logs(host: str, keep_days: int = 7) -> str:
    """Delete old logs of a host.

    Args:
        host: The name of the host.
        keep_days: How many days of logs stay.
    """
    return f"logs of {host} older than {keep_days} days were deleted"


def approve(name: str, arguments: dict[str, object]) -> bool | str:
    if not sys.stdin.isatty():
        return "there is nobody to ask"
    return input(f"{name}({arguments}) changes something. Use it? [y/N] ").lower().startswith("y")


def show(event: AgentEvent) -> None:
    if event.kind == "text":
        print(event.text, end="", flush=True)
    elif event.kind == "tool_call" and event.call is not None:
        print(f"→ {event.call.name} {event.call.arguments}", file=sys.stderr)
    elif event.kind == "tool_result" and event.used is not None:
        print(f"  {event.used.content} ({event.used.seconds:.2f} s)", file=sys.stderr)


def main() -> None:
    if not os.environ.get("OPENAI_API_KEY"):
        sys.exit("set OPENAI_API_KEY, or run `penstock sim` in another terminal and paste the two lines that it prints")
    with Client() as client:
        agent = Agent(
            client,
            model=MODEL,
            tools=[disk_usage, rotate_logs],
            approve=approve,
            max_steps=8,
            budget="0.05",
            max_seconds=120,
        )
        with agent.stream(" ".join(sys.argv[1:]) or TASK) as events:
            for event in events:
                show(event)
        result = events.result
    print()
    print(
        f"{result.stopped} after {result.steps} steps, {len(result.uses)} uses of tools, ${result.cost}",
        file=sys.stderr,
    )
    if not result.answered:
        sys.exit(result.reason)


if __name__ == "__main__":
    main()
