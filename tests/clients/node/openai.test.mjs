// npm openai, both classes, with a dummy key and the proxy as the only address.

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';

import OpenAI, { AzureOpenAI, BadRequestError, InternalServerError, NotFoundError, RateLimitError, toFile } from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

import { AIMOCK_PROXY_URL, PROXY_URL, aimockGreeting, assertIncremental, city, greeting, messages, unique } from './helpers.mjs';

const v1 = (url, options) => new OpenAI({ baseURL: `${url}/openai/v1`, apiKey: 'dummy', maxRetries: 0, ...options });
const azure = (url, options) =>
  new AzureOpenAI({ endpoint: url, apiKey: 'dummy', apiVersion: '2024-10-21', maxRetries: 0, ...options });
const classes = { OpenAI: v1, AzureOpenAI: azure };

// Events as they come, with their moments.
async function collect(stream) {
  const [events, moments] = [[], []];
  for await (const event of stream) {
    moments.push(performance.now());
    events.push(event);
  }
  assertIncremental(moments);
  return events;
}

for (const [name, make] of Object.entries(classes)) {
  const client = make(PROXY_URL);
  const chat = (body) => client.chat.completions.create({ model: 'gpt-4o', messages, ...body });

  test(`${name}: chat`, async () => {
    assert.equal((await chat()).choices[0].message.content, greeting);
  });

  test(`${name}: a stream arrives event by event`, async () => {
    const chunks = await collect(await chat({ stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join(''), greeting);
  });

  test(`${name}: a tool is called and its result used`, async () => {
    const tools = [{ type: 'function', function: { name: 'weather', parameters: city } }];
    const { message } = (await chat({ tools })).choices[0];
    const [call] = message.tool_calls;
    assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ['weather', { city: 'Paris' }]);
    const result = { role: 'tool', tool_call_id: call.id, content: 'sunny' };
    const response = await chat({ tools, messages: [...messages, message, result] });
    assert.equal(response.choices[0].message.content, greeting);
  });

  test(`${name}: responses, whole and as a stream`, async () => {
    const question = { model: 'gpt-4o', input: 'Say hello' };
    assert.equal((await client.responses.create(question)).output_text, 'Hello from the simulator.');
    const events = await collect(await client.responses.create({ ...question, stream: true }));
    const words = events.filter((event) => event.type === 'response.output_text.delta').map((event) => event.delta);
    assert.equal(words.join(''), 'Hello from the simulator.');
    assert.equal(events.at(-1).type, 'response.completed');
  });

  test(`${name}: embeddings`, async () => {
    const { data } = await client.embeddings.create({ model: 'text-embedding-3-small', input: ['one', 'two'], dimensions: 64 });
    const expected = Array.from({ length: 64 }, (_, number) => number / 8);
    assert.deepEqual(data.map(({ embedding }) => embedding), [expected, expected]);
  });

  test(`${name}: a file goes up and comes down`, async () => {
    const content = Buffer.concat([crypto.getRandomValues(new Uint8Array(50_000)), Buffer.alloc(1 << 20, '\r\n--x')]);
    const file = await client.files.create({ file: await toFile(content, 'data.bin'), purpose: 'assistants' });
    assert.deepEqual([file.filename, file.bytes], ['data.bin', content.length]);
    const back = Buffer.from(await (await client.files.content(file.id)).arrayBuffer());
    assert.ok(back.equals(content));
    assert.ok((await client.files.delete(file.id)).deleted);
  });

  test(`${name}: speech, transcription, an image`, async () => {
    const speech = Buffer.from(await (await client.audio.speech.create({ model: 'tts', voice: 'alloy', input: 'x' })).arrayBuffer());
    assert.ok(speech.equals(Buffer.from(Array.from({ length: 48_000 }, (_, number) => number % 251))));
    const file = await toFile(speech, 'speech.mp3');
    const { text } = await client.audio.transcriptions.create({ model: 'whisper', file });
    assert.equal(text, 'A recording of 48000 bytes.');
    const { data } = await client.images.generate({ model: 'gpt-image-1', prompt: 'One pixel' });
    assert.match(data[0].b64_json, /^iVBORw0KGgo/);
  });

  test(`${name}: errors are Azure's`, async () => {
    await assert.rejects(chat({ model: 'error-429' }), (error) => {
      assert.ok(error instanceof RateLimitError);
      assert.deepEqual([error.headers.get('retry-after'), error.headers.get('retry-after-ms')], ['7', '6543']);
      return true;
    });
    await assert.rejects(chat({ model: 'error-500' }), InternalServerError);
    await assert.rejects(chat({ model: 'error-content-filter' }), (error) => {
      assert.ok(error instanceof BadRequestError);
      assert.equal(error.code, 'content_filter');
      return true;
    });
    await assert.rejects(client.post('/nothing/here', { body: {} }), NotFoundError);
  });

  test(`${name}: the SDK waits as long as Azure says`, async () => {
    const response = await make(PROXY_URL, { maxRetries: 1 }).chat.completions.create({ model: unique('throttled'), messages });
    assert.equal(response.choices[0].message.content, greeting);
  });

  test(`${name}: a client that leaves a stream can go on`, async () => {
    for await (const _ of await chat({ stream: true })) break;
    assert.equal((await chat()).choices[0].message.content, greeting);
  });

  test(`${name}: aimock responds, whole and as a stream`, async () => {
    const create = (body) => make(AIMOCK_PROXY_URL).chat.completions.create({ model: 'gpt-4o', messages, ...body });
    assert.equal((await create()).choices[0].message.content, aimockGreeting);
    const chunks = await collect(await create({ stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join(''), aimockGreeting);
  });
}

// The SDK makes wss of every URL; `createConnection` of the package ws leaves out the TLS.
const realtime = { model: 'gpt-realtime', options: { createConnection: ({ host, port }) => connect(port, host) } };

async function conversation(socket, updates) {
  const words = [];
  const types = [];
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.socket.on('open', () => {
      if (updates) socket.send({ type: 'session.update', session: { type: 'realtime', instructions: 'x'.repeat(300_000) } });
      const content = [{ type: 'input_text', text: 'Say hello' }];
      socket.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
      socket.send({ type: 'response.create', response: { output_modalities: ['text'] } });
    });
    socket.on('event', (event) => types.push(event.type));
    socket.on('response.output_text.delta', (event) => words.push(event.delta));
    socket.on('response.done', () => socket.close());
    socket.socket.on('close', () => resolve({ text: words.join(''), types }));
  });
}

test('OpenAI: realtime', async () => {
  const { text, types } = await conversation(new OpenAIRealtimeWS(realtime, v1(PROXY_URL)), true);
  assert.equal(text, 'Hello in realtime.');
  assert.deepEqual(types.slice(0, 2), ['session.created', 'session.updated']);
});

test('AzureOpenAI: realtime', async () => {
  const client = azure(PROXY_URL, { deployment: 'gpt-realtime' });
  const socket = await OpenAIRealtimeWS.azure(client, { options: realtime.options });
  assert.equal((await conversation(socket, true)).text, 'Hello in realtime.');
});

test('OpenAI: realtime at aimock', async () => {
  const { text } = await conversation(new OpenAIRealtimeWS(realtime, v1(AIMOCK_PROXY_URL)), false);
  assert.equal(text, aimockGreeting);
});

test('OpenAI: a refused WebSocket is reported as such', async () => {
  const client = new OpenAI({ baseURL: `${PROXY_URL}/openai/v2`, apiKey: 'dummy' });
  await assert.rejects(conversation(new OpenAIRealtimeWS(realtime, client)), /404/);
});
