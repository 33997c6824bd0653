// The ai SDK with two providers: any OpenAI-compatible API (chat completions), and Azure's (Responses API unless asked for chat).

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createAzure } from '@ai-sdk/azure';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';

import { AIMOCK_PROXY_URL, PROXY_URL, aimockGreeting, assertIncremental, city, greeting, messages, unique } from './helpers.mjs';

function models(url) {
  const compatible = createOpenAICompatible({ name: 'azure', baseURL: `${url}/openai/v1`, apiKey: 'dummy' });
  const azure = createAzure({ baseURL: `${url}/openai/v1`, apiKey: 'dummy' });
  const deployments = createAzure({
    baseURL: `${url}/openai`,
    apiKey: 'dummy',
    apiVersion: '2024-10-21',
    useDeploymentBasedUrls: true,
  });
  return {
    'openai-compatible': compatible.chatModel,
    'azure, responses': azure.responses,
    'azure, chat': azure.chat,
    'azure, chat by deployment': deployments.chat,
  };
}

for (const [name, model] of Object.entries(models(PROXY_URL))) {
  const expected = name.endsWith('responses') ? 'Hello from the simulator.' : greeting;

  test(`${name}: generate`, async () => {
    const { text, usage } = await generateText({ model: model('gpt-4o'), messages, maxRetries: 0 });
    assert.equal(text, expected);
    assert.ok(usage.outputTokens > 0);
  });

  test(`${name}: a stream arrives event by event`, async () => {
    const [words, moments] = [[], []];
    const { fullStream } = streamText({ model: model('gpt-4o'), messages, maxRetries: 0 });
    for await (const part of fullStream) {
      assert.notEqual(part.type, 'error', part.error);
      if (part.type === 'text-delta') {
        moments.push(performance.now());
        words.push(part.text);
      }
    }
    assert.equal(words.join(''), expected);
    if (moments.length >= 5) assertIncremental(moments);
  });

  test(`${name}: a tool is called and its result used`, async () => {
    const asked = [];
    const weather = tool({
      inputSchema: jsonSchema(city),
      execute: (input) => {
        asked.push(input);
        return 'sunny';
      },
    });
    const { text } = await generateText({ model: model('gpt-4o'), messages, tools: { weather }, stopWhen: stepCountIs(3) });
    assert.deepEqual(asked, [{ city: 'Paris' }]);
    assert.equal(text, expected);
  });

  test(`${name}: throttling is passed on, and the SDK waits`, async () => {
    const ask = (model, maxRetries) => generateText({ model, messages, maxRetries });
    await assert.rejects(ask(model('error-429'), 0), (error) => {
      assert.deepEqual([error.statusCode, error.responseHeaders['retry-after-ms']], [429, '6543']);
      return true;
    });
    assert.equal((await ask(model(unique('throttled')), 1)).text, expected);
  });
}

test('embeddings', async () => {
  const provider = createOpenAICompatible({ name: 'azure', baseURL: `${PROXY_URL}/openai/v1`, apiKey: 'dummy' });
  const { embeddings } = await embedMany({ model: provider.embeddingModel('text-embedding-3-small'), values: ['one', 'two'] });
  const vector = Array.from({ length: 8 }, (_, number) => number / 8);
  assert.deepEqual(embeddings, [vector, vector]);
});

for (const [name, model] of Object.entries(models(AIMOCK_PROXY_URL))) {
  test(`${name}: aimock responds`, async () => {
    const { text } = await generateText({ model: model('gpt-4o'), messages, maxRetries: 0 });
    assert.equal(text, aimockGreeting);
  });
}
