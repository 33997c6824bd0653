"""Against aimock, a fake Azure OpenAI that is not ours and has authentication on.

It takes `Authorization`, `api-key` and more, and refuses a request when any of them is not the one token: each success below
says that the token is there and the client's own key is gone.
"""

import json
import urllib.error
import urllib.request

import openai
import pytest
from conftest import assert_chat_stream

MESSAGES = [{"role": "user", "content": "Say hello"}]
GREETING = "Hello from a fake Azure OpenAI that is not ours."


def call(url, **headers):
    body = json.dumps({"model": "gpt-4o", "messages": MESSAGES}).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url + "/openai/v1/chat/completions", body, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("headers", [{}, {"api_key": "dummy"}, {"authorization": "Bearer dummy"}, {"x_api_key": "dummy"}])
def test_a_wrong_key_is_refused_directly_and_replaced_on_the_way(aimock, proxy_to_aimock, headers):
    assert call(aimock.url, **headers) == 401
    assert call(proxy_to_aimock.url, **headers) == 200


def test_the_right_token_beside_a_wrong_key_is_refused_too(aimock, access_token):
    assert call(aimock.url, authorization=f"Bearer {access_token}") == 200
    assert call(aimock.url, authorization=f"Bearer {access_token}", api_key="dummy") == 401


@pytest.fixture(params=["OpenAI", "AzureOpenAI"])
def sdk(request, proxy_to_aimock):
    url = proxy_to_aimock.url
    if request.param == "OpenAI":
        return openai.OpenAI(base_url=url + "/openai/v1", api_key="dummy", max_retries=0)
    return openai.AzureOpenAI(azure_endpoint=url, api_key="dummy", api_version="2024-10-21", max_retries=0)


def test_chat(sdk):
    response = sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert response.choices[0].message.content == GREETING


def test_stream_arrives_event_by_event(sdk):
    assert_chat_stream(sdk, GREETING)


def test_embeddings(sdk):
    response = sdk.embeddings.create(model="text-embedding-3-small", input=["one"])
    assert response.data[0].embedding == [0.5, 0.25, 0.125]


def test_responses(sdk):
    assert sdk.responses.create(model="gpt-4o", input="Say hello").output_text == GREETING


def test_realtime(aimock, proxy_to_aimock):
    def connect(url):
        return openai.OpenAI(base_url=url + "/openai/v1", api_key="dummy").realtime.connect(model="gpt-realtime")

    with pytest.raises(Exception, match="HTTP 401"):
        connect(aimock.url).enter()
    with connect(proxy_to_aimock.url) as connection:
        content = [{"type": "input_text", "text": "Say hello"}]
        connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
        connection.response.create(response={"output_modalities": ["text"]})
        words = []
        for event in connection:
            assert event.type != "error", event
            if event.type == "response.output_text.delta":
                words.append(event.delta)
            if event.type == "response.done":
                break
    assert "".join(words) == GREETING
