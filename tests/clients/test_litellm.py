"""litellm with `azure/…` models, which is also how Rasa calls."""

import asyncio
import time

import pytest

from conftest import assert_incremental

litellm = pytest.importorskip("litellm")

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
    answer = litellm.completion(model="azure/gpt-4o", messages=MESSAGES, **{**settings, "api_version": version})
    assert answer.choices[0].message.content == GREETING


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
    answer = litellm.embedding(model="azure/text-embedding-3-small", input=["one", "two"], **settings)
    assert [data["embedding"] for data in answer.data] == [[number / 8 for number in range(8)]] * 2


def test_throttling_is_passed_on(settings):
    with pytest.raises(litellm.RateLimitError, match="exceeded call rate limit"):
        litellm.completion(model="azure/error-429", messages=MESSAGES, **settings)


def test_the_content_filter_is_passed_on(settings):
    with pytest.raises(litellm.ContentPolicyViolationError):
        litellm.completion(model="azure/error-content-filter", messages=MESSAGES, **settings)
