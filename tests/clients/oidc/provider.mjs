// An OpenID provider that is not ours (oidc-provider, by panva) behind URLs shaped like Entra ID's.
//
// It knows one application with one certificate. POST /control changes what it knows; GET /control reports how the
// token requests since then went. oidc-provider checks signature, audience, times and jti; it selects keys without
// looking at thumbprints, so that check is ours, in the hook meant for it.

import { createHash, createPublicKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

import { Provider, errors } from 'oidc-provider';

const [directory, tenant, otherTenant, clientId] = process.argv.slice(2);
const scope = 'https://cognitiveservices.azure.com/.default';
const read = (name) => readFileSync(`${directory}/${name}`, 'utf8');

// That this is no provider for real work is understood.
console.warn = () => {};

const realNow = Date.now;
let clockAhead = 0;
Date.now = () => realNow() + clockAhead * 1000;

let origin;
let handle;
let requests = [];

function build({ certificate, key }) {
  const { raw } = new X509Certificate(read(certificate));
  const thumbprint = (algorithm) => createHash(algorithm).update(raw).digest('base64url');
  const registered = { 'x5t#S256': thumbprint('sha256'), x5t: thumbprint('sha1') };
  const provider = new Provider(`${origin}/${tenant}/v2.0`, {
    clients: [{
      client_id: clientId,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [createPublicKey(read(key)).export({ format: 'jwk' })] },
    }],
    scopes: [scope],
    clientAuthMethods: ['private_key_jwt'],
    enabledJWA: { clientAuthSigningAlgValues: ['PS256', 'RS256'] },
    features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
    routes: { token: `/${tenant}/oauth2/v2.0/token` },
    ttl: { ClientCredentials: 600 },
    assertJwtClientAuthClaimsAndHeader(ctx, claims, header) {
      const [name] = Object.keys(registered).filter((n) => header[n] !== undefined);
      // Some clients pad what RFC 7515 wants unpadded, or use the other alphabet.
      const shown = header[name]?.replace(/=+$/, '').replaceAll('+', '-').replaceAll('/', '_');
      if (name === undefined || shown !== registered[name]) {
        throw new errors.InvalidClientAuth('the thumbprint is not that of the registered certificate');
      }
    },
  });
  provider.on('grant.success', (ctx) => ctx.res.emit('verdict', 'accepted'));
  provider.on('grant.error', (ctx, error) => {
    ctx.res.emit('verdict', error.error_detail ?? error.cause?.message ?? error.error_description);
  });
  provider.on('server_error', (ctx, error) => ctx.res.emit('verdict', `a fault of the provider: ${error.stack}`));
  return provider.callback();
}

function discovery(name) {
  return {
    issuer: `${origin}/${name}/v2.0`,
    authorization_endpoint: `${origin}/${name}/oauth2/v2.0/authorize`,
    token_endpoint: `${origin}/${name}/oauth2/v2.0/token`,
  };
}

function json(res, value) {
  res.setHeader('content-type', 'application/json');
  res.end(JSON.stringify(value));
}

async function control(req, res) {
  if (req.method === 'POST') {
    let text = '';
    for await (const piece of req) text += piece;
    const known = JSON.parse(text);
    clockAhead = known.clock_ahead;
    handle = build(known);
    requests = [];
  }
  json(res, requests);
}

const server = createServer({ key: read('server.key'), cert: read('server.crt') }, (req, res) => {
  const path = req.url.split('?')[0];
  if (path === '/control') return control(req, res);
  const found = [tenant, otherTenant].find((name) => path === `/${name}/v2.0/.well-known/openid-configuration`);
  if (found) return json(res, discovery(found));
  // The other tenant leads to the same application: a request that was meant for somewhere else.
  req.url = req.url.replace(`/${otherTenant}/`, `/${tenant}/`);
  const request = { body: '', verdict: null };
  req.on('data', (piece) => { request.body += piece; });
  res.on('verdict', (verdict) => { request.verdict = verdict; requests.push(request); });
  return handle(req, res);
});

server.listen(0, '127.0.0.1', () => {
  origin = `https://localhost:${server.address().port}`;
  handle = build({ certificate: 'a.crt', key: 'a.key' });
  console.log(origin);
});
// Ends with whoever started it.
process.stdin.on('end', () => process.exit(0)).resume();
