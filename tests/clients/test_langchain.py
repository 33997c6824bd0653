"""langchain-openai, both classes."""

import os
import time

import openai
import pytest
from conftest import assert_incremental
from langchain_core.tools import tool
from langchain_openai import AzureChatOpenAI, AzureOpenAIEmbeddings, ChatOpenAI, OpenAIEmbeddings

GREETING = "Hello from the simulated Azure OpenAI."


@pytest.fixture(params=["ChatOpenAI", "AzureChatOpenAI"])
def chat(request, proxy):
    """Makes a chat model of the class in turn."""

    def make(model="gpt-4o", **settings):
        settings = {"api_key": "dummy", "max_retries": 0, **settings}
        if request.param == "ChatOpenAI":
            return ChatOpenAI(base_url=proxy.url + "/openai/v1", model=model, **settings)
        return AzureChatOpenAI(azure_endpoint=proxy.url, azure_deployment=model, api_version="2024-10-21", **settings)

    return make


def test_chat(chat):
    assert chat().invoke("Say hello").content == GREETING


def test_stream_arrives_event_by_event(chat):
    words, moments = [], []
    for chunk in chat().stream("Say hello"):
        moments.append(time.monotonic())
        words.append(chunk.content)
    assert "".join(words) == GREETING
    assert_incremental(moments)


def test_a_tool_is_called(chat):
    @tool
    def weather(city: str) -> str:
        """Gives the weather of a city."""
        return f"sunny in {city}"

    [call] = chat().bind_tools([weather]).invoke("Weather?").tool_calls
    assert (call["name"], weather.invoke(call["args"])) == ("weather", "sunny in Paris")


def test_the_responses_api(chat):
    assert chat(use_responses_api=True).invoke("Say hello").text == "Hello from the simulator."


def test_throttling_is_passed_on_and_waited_for(chat):
    with pytest.raises(openai.RateLimitError):
        chat("error-429").invoke("Say hello")
    assert chat(f"throttled-{os.urandom(8).hex()}", max_retries=1).invoke("Say hello").content == GREETING


def test_embeddings(proxy):
    # Tokens are counted with a table from the network otherwise.
    settings = {"model": "text-embedding-3-small", "api_key": "dummy", "check_embedding_ctx_length": False}
    v1 = OpenAIEmbeddings(base_url=proxy.url + "/openai/v1", **settings)
    azure = AzureOpenAIEmbeddings(azure_endpoint=proxy.url, api_version="2024-10-21", **settings)
    for embeddings in (v1, azure):
        assert embeddings.embed_documents(["one", "two"]) == [[number / 8 for number in range(8)]] * 2
