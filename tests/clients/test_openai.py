"""The openai package, both classes, as an application uses it: a dummy key, and the proxy as the only address.

The simulator refuses every request that carries another credential than the one token, so that each success below
also says that the dummy key is gone.
"""

import asyncio
import json
import os
import time

import openai
import pytest
from conftest import assert_chat_stream, assert_incremental

MESSAGES = [{"role": "user", "content": "Say hello"}]
GREETING = "Hello from the simulated Azure OpenAI."
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
# The oldest has neither, nor realtime.
has_responses = pytest.mark.skipif(not hasattr(openai.OpenAI, "responses"), reason="too old for the Responses API")


@pytest.fixture(params=["OpenAI", "AzureOpenAI"])
def kind(request):
    return request.param


def client(kind, proxy):
    """`OpenAI` speaks the v1 paths, `AzureOpenAI` the paths with deployment and api-version."""
    make = getattr(openai, kind)
    if kind.endswith("AzureOpenAI"):
        return make(azure_endpoint=proxy.url, api_key="dummy", api_version="2024-10-21", max_retries=0)
    return make(base_url=proxy.url + "/openai/v1", api_key="dummy", max_retries=0)


def test_chat(kind, proxy):
    response = client(kind, proxy).chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert response.choices[0].message.content == GREETING


def test_nothing_but_the_credential_is_touched(kind, proxy):
    """Compares everything that the SDK wrote with everything that Azure received."""
    sent = []
    sdk = client(kind, proxy)
    sdk._client.event_hooks["request"].append(lambda request: sent.append((request.url, request.headers, request.read())))
    received = sdk.post("/sim/echo", cast_to=object, body={"messages": MESSAGES})
    [(url, headers, body)] = sent

    assert received["target"] == url.raw_path.decode()
    assert received["body"] == body.decode()
    names = [name.lower() for name, _ in received["headers"]]
    assert names.count("authorization") == 1 and "api-key" not in names
    credentials = {"authorization", "api-key"}
    # These belong to a connection, and there are two.
    hop = {"host", "connection"}

    def rest(headers):
        return sorted((name.lower(), value) for name, value in headers if name.lower() not in credentials | hop)

    assert rest(received["headers"]) == rest(headers.multi_items())


def test_stream_arrives_event_by_event(kind, proxy):
    assert_chat_stream(client(kind, proxy), GREETING)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_used(kind, proxy, stream):
    create = client(kind, proxy).chat.completions.create
    tools = [{"type": "function", "function": WEATHER}]
    response = create(model="gpt-4o", messages=MESSAGES, tools=tools, stream=stream)
    if stream:
        calls = [call for chunk in response for choice in chunk.choices for call in choice.delta.tool_calls or []]
        name, arguments = calls[0].function.name, "".join(call.function.arguments or "" for call in calls)
        call = {"id": calls[0].id, "type": "function", "function": {"name": name, "arguments": arguments}}
    else:
        [call] = [call.model_dump() for call in response.choices[0].message.tool_calls]
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("weather", {"city": "Paris"})
    turn = [{"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}]
    response = create(model="gpt-4o", messages=MESSAGES + turn, tools=tools)
    assert response.choices[0].message.content == GREETING


@has_responses
def test_responses(kind, proxy):
    sdk = client(kind, proxy)
    assert sdk.responses.create(model="gpt-4o", input="Say hello").output_text == "Hello from the simulator."
    [call] = sdk.responses.create(model="gpt-4o", input="Weather?", tools=[{"type": "function", **WEATHER}]).output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "weather", {"city": "Paris"})


@has_responses
def test_a_stream_of_responses_arrives_event_by_event(kind, proxy):
    moments, words, last = [], [], None
    for event in client(kind, proxy).responses.create(model="gpt-4o", input="Say hello", stream=True):
        moments.append(time.monotonic())
        if event.type == "response.output_text.delta":
            words.append(event.delta)
        last = event
    assert ("".join(words), last.type) == ("Hello from the simulator.", "response.completed")
    assert_incremental(moments)


def test_speech_and_transcription(kind, proxy):
    sdk = client(kind, proxy)
    speech = sdk.audio.speech.create(model="tts", voice="alloy", input="Hello").content
    assert speech == bytes(number % 251 for number in range(48_000))
    text = sdk.audio.transcriptions.create(model="whisper", file=("speech.mp3", speech)).text
    assert text == "A recording of 48000 bytes."


def test_images(kind, proxy):
    [image] = client(kind, proxy).images.generate(model="gpt-image-1", prompt="One pixel").data
    assert image.b64_json.startswith("iVBORw0KGgo")


def test_embeddings(kind, proxy):
    """The SDK asks for base64 and unpacks it: a byte that is lost shows."""
    response = client(kind, proxy).embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=64)
    assert [data.embedding for data in response.data] == [[number / 8 for number in range(64)]] * 2


def test_a_file_goes_up_and_comes_down(kind, proxy):
    content = os.urandom(5 << 20)
    sdk = client(kind, proxy)
    file = sdk.files.create(file=("data.bin", content), purpose="assistants")
    assert (file.filename, file.bytes) == ("data.bin", len(content))
    assert sdk.files.content(file.id).content == content
    assert sdk.files.delete(file.id).deleted


def test_models(kind, proxy):
    assert "gpt-4o" in [model.id for model in client(kind, proxy).models.list().data]


def test_throttling_is_passed_on_with_its_headers_and_body(kind, proxy, azure):
    with pytest.raises(openai.RateLimitError) as caught:
        client(kind, proxy).chat.completions.create(model="error-429", messages=MESSAGES)
    response = caught.value.response
    assert (response.headers["retry-after"], response.headers["retry-after-ms"]) == ("7", "6543")
    assert response.headers["apim-request-id"]
    direct = azure.directly("POST", response.request.url.raw_path.decode(), {"model": "error-429", "messages": MESSAGES})
    assert (response.status_code, response.content) == (direct.status, direct.body)


def test_the_content_filter_is_passed_on(kind, proxy, azure):
    with pytest.raises(openai.BadRequestError) as caught:
        client(kind, proxy).chat.completions.create(model="error-content-filter", messages=MESSAGES)
    assert caught.value.code == "content_filter"
    response = caught.value.response
    body = {"model": "error-content-filter", "messages": MESSAGES}
    assert response.content == azure.directly("POST", response.request.url.raw_path.decode(), body).body


def test_a_server_error_is_retried_by_the_sdk_alone(kind, proxy):
    sdk = client(kind, proxy).with_options(max_retries=1)
    sent = []
    sdk._client.event_hooks["request"].append(lambda request: sent.append(request.url))
    with pytest.raises(openai.InternalServerError):
        sdk.chat.completions.create(model="error-500", messages=MESSAGES)
    assert len(sent) == 2


def test_the_sdk_waits_as_long_as_azure_says(kind, proxy):
    """The simulator goes on refusing whoever comes back before the time that it gave."""
    sdk = client(kind, proxy).with_options(max_retries=1)
    sent = []
    sdk._client.event_hooks["request"].append(lambda request: sent.append(request.url))
    model = f"throttled-{os.urandom(8).hex()}"
    assert sdk.chat.completions.create(model=model, messages=MESSAGES).choices[0].message.content == GREETING
    assert len(sent) == 2


def test_an_unknown_path_is_azures_404(kind, proxy):
    with pytest.raises(openai.NotFoundError) as caught:
        client(kind, proxy).post("/nothing/here", cast_to=object, body={})
    assert caught.value.response.json() == {"error": {"code": "404", "message": "Resource not found"}}


def test_async_streams_beside_each_other(kind, proxy):
    """Four streams on one client: each arrives event by event, none waits for another."""

    async def one(sdk):
        stream = await sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        return [time.monotonic() async for _ in stream]

    async def all_of_them():
        async with client("Async" + kind, proxy) as sdk:
            return await asyncio.gather(*(one(sdk) for _ in range(4)))

    streams = asyncio.run(all_of_them())
    for moments in streams:
        assert_incremental(moments)
    assert max(moments[0] for moments in streams) < min(moments[-1] for moments in streams)


def test_a_client_that_leaves_a_stream_can_go_on(kind, proxy):
    sdk = client(kind, proxy)
    with sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True) as stream:
        next(iter(stream))
    response = sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert response.choices[0].message.content == GREETING
