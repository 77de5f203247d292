"""Agents: a model that uses tools until it has an answer.

from penstock import Agent, Client, tool

@tool
def disk_usage(host: str) -> str: ...

with Client(model="openai:gpt-4o-mini") as client:
    print(Agent(client, tools=[disk_usage]).run("How full is the disk of db1?").answer)
"""

from __future__ import annotations

from .._flow.tools import AgentTool, FunctionTool, Toolbox, tool
from ..transcript import AgentEvent, AgentResult, ToolUse, Transcript
from .face import Agent, AgentStream, AsyncAgent, AsyncAgentStream

__all__ = [
    "Agent",
    "AgentEvent",
    "AgentResult",
    "AgentStream",
    "AgentTool",
    "AsyncAgent",
    "AsyncAgentStream",
    "FunctionTool",
    "ToolUse",
    "Toolbox",
    "Transcript",
    "tool",
]
