// What the tests here share. The Python side starts everything and says where it is.

import assert from 'node:assert/strict';

export const { PROXY_URL, AIMOCK_PROXY_URL, PAUSE_MS } = process.env;
export const greeting = 'Hello from the simulated Azure OpenAI.';
export const aimockGreeting = 'Hello from a fake Azure OpenAI that is not ours.';
export const messages = [{ role: 'user', content: 'Say hello' }];
export const city = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };

// Pieces that were sent with pauses came with pauses: what is collected on the way comes in one heap. A machine so busy
// that the client sleeps through some of the pauses leaves others.
export function assertIncremental(moments) {
  assert.ok(moments.length >= 5, `${moments.length} pieces`);
  const gaps = moments.slice(1).map((moment, at) => moment - moments[at]).sort((a, b) => a - b);
  assert.ok(gaps.at(-2) > PAUSE_MS / 2, `the gaps between the pieces: ${gaps}`);
}

export function unique(name) {
  return `${name}-${crypto.randomUUID()}`;
}
