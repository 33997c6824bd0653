"""litellm with `azure/…` models, and as Rasa calls it: `azure/…`, `hosted_vllm/…`, and its router."""

import asyncio
import json
import os
import time

import litellm
import pytest
from conftest import assert_incremental

MESSAGES = [{"role": "user", "content": "Say hello"}]
GREETING = "Hello from the simulated Azure OpenAI."


@pytest.fixture(scope="module")
def settings(proxy):
    settings = {"api_base": proxy.url, "api_key": "dummy", "api_version": "2024-10-21", "num_retries": 0, "max_retries": 0}
    # litellm imports half of itself at the first chunk of its first stream; that is not what is measured here.
    list(litellm.completion(model="azure/gpt-4o", messages=MESSAGES, stream=True, **settings))
    return settings


# `v1` sends litellm to the v1 paths, and the key as a bearer token.
@pytest.mark.parametrize("version", ["2024-10-21", "v1"])
def test_completion(settings, version):
    response = litellm.completion(model="azure/gpt-4o", messages=MESSAGES, **{**settings, "api_version": version})
    assert response.choices[0].message.content == GREETING


def test_stream_arrives_event_by_event(settings):
    words, moments = [], []
    for chunk in litellm.completion(model="azure/gpt-4o", messages=MESSAGES, stream=True, **settings):
        moments.append(time.monotonic())
        words.append(chunk.choices[0].delta.content or "")
    assert "".join(words) == GREETING
    assert_incremental(moments)


def test_async_stream(settings):
    async def moments():
        stream = await litellm.acompletion(model="azure/gpt-4o", messages=MESSAGES, stream=True, **settings)
        return [time.monotonic() async for _ in stream]

    assert_incremental(asyncio.run(moments()))


def test_embedding(settings):
    response = litellm.embedding(model="azure/text-embedding-3-small", input=["one", "two"], **settings)
    assert [data["embedding"] for data in response.data] == [[number / 8 for number in range(8)]] * 2


def test_throttling_is_passed_on(settings):
    with pytest.raises(litellm.RateLimitError, match="exceeded call rate limit"):
        litellm.completion(model="azure/error-429", messages=MESSAGES, **settings)


def test_the_content_filter_is_passed_on(settings):
    with pytest.raises(litellm.ContentPolicyViolationError):
        litellm.completion(model="azure/error-content-filter", messages=MESSAGES, **settings)


def test_a_tool_is_called(settings):
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
    response = litellm.completion(model="azure/gpt-4o", messages=MESSAGES, tools=tools, **settings)
    [call] = response.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Paris"})


def test_responses(settings):
    response = litellm.responses(model="azure/gpt-4o", input="Say hello", **{**settings, "api_version": "preview"})
    assert response.output[0].content[0].text == "Hello from the simulator."


def test_a_file_goes_up_and_comes_down(settings):
    settings = {"custom_llm_provider": "azure", **settings}
    content = os.urandom(100_000)
    file = litellm.create_file(file=("data.bin", content), purpose="assistants", **settings)
    assert (file.filename, file.bytes) == ("data.bin", len(content))
    assert litellm.file_content(file_id=file.id, **settings).content == content


def test_speech_and_transcription(settings, tmp_path):
    litellm.speech(model="azure/tts", voice="alloy", input="Hello", **settings).stream_to_file(tmp_path / "speech.mp3")
    with (tmp_path / "speech.mp3").open("rb") as file:
        response = litellm.transcription(model="azure/whisper", file=file, **settings)
    assert response.text == "A recording of 48000 bytes."


def test_images(settings):
    [image] = litellm.image_generation(model="azure/gpt-image-1", prompt="One pixel", **settings).data
    assert image.b64_json.startswith("iVBORw0KGgo")


@pytest.mark.parametrize(
    "group",
    [
        {"model": "azure/gpt-4o", "api_base": "{url}", "api_version": "2024-10-21"},
        # `provider: self-hosted` becomes this.
        {"model": "hosted_vllm/gpt-4o", "api_base": "{url}/openai/v1", "api_version": None},
    ],
    ids=["azure", "self-hosted"],
)
def test_rasa(proxy, group):
    """A group of one model is called directly, whole or as a stream; a larger one through the router."""
    group = {**group, "api_base": group["api_base"].format(url=proxy.url), "api_key": "dummy"}
    models = [{"model_name": "group", "litellm_params": dict(group)} for _ in range(2)]
    router = litellm.Router(model_list=models, routing_strategy="simple-shuffle", num_retries=0)

    async def greetings():
        whole = await litellm.acompletion(messages=MESSAGES, drop_params=True, **group)
        routed = await router.acompletion(model="group", messages=MESSAGES)
        chunks = [chunk async for chunk in await litellm.acompletion(messages=MESSAGES, stream=True, **group)]
        words = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        return whole.choices[0].message.content, routed.choices[0].message.content, "".join(words)

    assert asyncio.run(greetings()) == (GREETING,) * 3
