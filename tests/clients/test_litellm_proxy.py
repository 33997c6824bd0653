"""litellm's own proxy in front of auth-proxy, with the config.yaml of docs/clients.md."""

import re

import openai
import pytest
import yaml
from conftest import CLIENTS, ROOT, Process, assert_chat_stream, plain_environment

MESSAGES = [{"role": "user", "content": "Say hello"}]
GREETING = "Hello from the simulated Azure OpenAI."
KEY = "sk-of-litellm-itself"


@pytest.fixture(scope="module")
def sdk(proxy, tmp_path_factory):
    """The SDK, which talks to litellm's proxy."""
    text = (ROOT / "docs/clients.md").read_text()
    [config] = re.findall(r"^```yaml\n(model_list:.*?)^```$", text, re.MULTILINE | re.DOTALL)
    config = yaml.safe_load(config.replace("127.0.0.1:8080", proxy.url.removeprefix("http://")))
    [gpt] = config["model_list"]
    for name in ("error-429", "text-embedding-3-small"):
        config["model_list"].append({"model_name": name, "litellm_params": {**gpt["litellm_params"], "model": f"openai/{name}"}})
    file = tmp_path_factory.mktemp("litellm") / "config.yaml"
    file.write_text(yaml.safe_dump({**config, "litellm_settings": {"num_retries": 0}}))
    command = [CLIENTS / "litellm-proxy/bin/litellm", "--config", file, "--host", "127.0.0.1", "--port", "0"]
    settings = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*", "PYTHONUNBUFFERED": "1"}
    process = Process([CLIENTS / "litellm-proxy/bin/python", *command], {**plain_environment(), **settings})
    try:
        url = process.wait_for(r"Uvicorn running on (http://127\.0\.0\.1:\d+)", 300)[1]
        yield openai.OpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0)
    finally:
        process.stop()


def test_chat(sdk):
    response = sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert response.choices[0].message.content == GREETING


def test_stream_arrives_event_by_event(sdk):
    stream = sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    # litellm imports half of itself at the first stream.
    list(stream)
    assert_chat_stream(sdk, GREETING)


def test_embeddings(sdk):
    response = sdk.embeddings.create(model="text-embedding-3-small", input=["one"], encoding_format="float")
    assert response.data[0].embedding == [number / 8 for number in range(8)]


def test_throttling_is_passed_on(sdk):
    with pytest.raises(openai.RateLimitError):
        sdk.chat.completions.create(model="error-429", messages=MESSAGES)
