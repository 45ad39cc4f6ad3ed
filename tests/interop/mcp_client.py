"""The official client of the Model Context Protocol against `wimhf mcp RUN`: lists the tools and calls each of them.

    python mcp_client.py WIMHF RUN
"""

import asyncio
import json
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

CALLS = {
    "overview": {},
    "principles": {},
    "find_features": {"words": "refuses"},
    "feature": {"feature": "known_refuses"},
    "effect": {"feature": "known_refuses", "prompt_words": "how, what"},
    "pairs": {"feature": "known_refuses", "side": "A", "limit": 3},
    "pair": None,  # of an id that `pairs` gives
    "sql": {"query": "SELECT count(*) AS n FROM pairs"},
}
WRONG = [
    ("feature", {"feature": "known_refusess"}, "known_refuses"),
    ("feature", {}, "missing field"),
    ("pairs", {"limits": 3}, "limits"),
    ("sql", {"query": "DELETE FROM pairs"}, "cannot be answered"),
    ("overviews", {}, "overview"),
]


async def main(program: str, run: str) -> None:
    async with stdio_client(StdioServerParameters(command=program, args=["mcp", run])) as (read, write):
        async with ClientSession(read, write) as session:
            hello = await session.initialize()
            info = getattr(hello, "serverInfo", None) or hello.server_info
            assert info.name == "wimhf", hello
            tools = (await session.list_tools()).tools
            assert {tool.name for tool in tools} == set(CALLS), tools
            for tool in tools:
                schema = tool.model_dump(by_alias=True)["inputSchema"]
                assert tool.description and schema["type"] == "object", tool

            async def call(name: str, arguments: dict) -> tuple[bool, str, dict | None]:
                # What takes longer is made while the client says hello.
                for _ in range(600):
                    answer = (await session.call_tool(name, arguments)).model_dump(by_alias=True)
                    text = answer["content"][0]["text"]
                    if not (answer["isError"] and "still being made" in text):
                        return bool(answer["isError"]), text, answer.get("structuredContent")
                    await asyncio.sleep(0.1)
                raise AssertionError("it is never ready")

            for name, arguments in CALLS.items():
                if name == "pair":
                    _, _, found = await call("pairs", {"limit": 1})
                    arguments = {"pair_id": found["pairs"][0]["pair_id"]}
                failed, text, value = await call(name, arguments)
                assert not failed and value is not None, (name, text)
                assert json.loads(text) == value, name
            _, _, principles = await call("principles", {})
            assert principles["principles"][0]["win"]["n"] > 0, principles
            for name, arguments, words in WRONG:
                try:
                    failed, text, _ = await call(name, arguments)
                except Exception as error:  # a protocol error says as much
                    failed, text = True, str(error)
                assert failed and words in text, (name, text)
    print(f"{len(CALLS)} tools called")


asyncio.run(main(sys.argv[1], sys.argv[2]))
