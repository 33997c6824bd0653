"""The realtime API of the openai package over a WebSocket, through the proxy. Not on the tiny_http server, which has none."""

import asyncio

import openai
import pytest


def test_a_conversation(proxy):
    """On the v1 paths the SDK dials the base URL, with ws for http."""
    with openai.OpenAI(base_url=proxy.url + "/openai/v1", api_key="dummy") as sdk:
        with sdk.realtime.connect(model="gpt-realtime") as connection:
            assert conversation(connection, "response.output_text") == "Hello in realtime."


def test_a_conversation_on_azures_own_path(proxy):
    """`AzureOpenAI` dials wss whatever the endpoint is, unless it is configured otherwise."""
    with openai.AzureOpenAI(
        azure_endpoint=proxy.url,
        websocket_base_url="ws" + proxy.url.removeprefix("http") + "/openai",
        api_key="dummy",
        api_version="2024-10-01-preview",
    ) as sdk:
        with sdk.realtime.connect(model="gpt-realtime") as connection:
            assert conversation(connection, "response.text") == "Hello in realtime."


def conversation(connection, text_event):
    words = []
    connection.session.update(session={"type": "realtime", "instructions": "x" * 300_000})
    content = [{"type": "input_text", "text": "Say hello"}]
    connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
    connection.response.create()
    types = []
    for event in connection:
        types.append(event.type)
        if event.type == text_event + ".delta":
            words.append(event.delta)
        if event.type == "response.done":
            assert types[:2] == ["session.created", "session.updated"]
            return "".join(words)


def test_async_conversations_beside_each_other(proxy):
    async def one(sdk):
        async with sdk.realtime.connect(model="gpt-realtime") as connection:
            await connection.response.create()
            words = []
            async for event in connection:
                if event.type == "response.output_text.delta":
                    words.append(event.delta)
                if event.type == "response.done":
                    return "".join(words)

    async def all_of_them():
        url = "ws" + proxy.url.removeprefix("http") + "/openai/v1"
        async with openai.AsyncOpenAI(base_url=proxy.url, websocket_base_url=url, api_key="dummy") as sdk:
            return await asyncio.gather(*(one(sdk) for _ in range(8)))

    assert asyncio.run(all_of_them()) == ["Hello in realtime."] * 8


def test_a_refusal_is_azures(proxy):
    with openai.OpenAI(base_url=proxy.url + "/openai/v2", api_key="dummy") as sdk:
        with pytest.raises(Exception, match="HTTP 404"):
            sdk.realtime.connect(model="gpt-realtime").enter()
