// An OpenID provider for this machine: the tests, and `cargo xtask up --secure`. Its users and their passwords are in its
// settings, its keys and sessions in memory; it is nothing for real users.
//
//   node provider.mjs SETTINGS.json
//
// The settings, of which all but `clients` have a default:
//
//   host, port     where it listens, 127.0.0.1 and 3900; port 0 takes any
//   issuer         its URL, http://HOST:PORT
//   audience       of the access tokens, orders-api
//   resources      the URLs of RFC 8707 that stand for that audience
//   lifetimes      in seconds: {access, refresh, session}
//   clients        [{id, secret, home}] with a login: pages at `home`; [{id, secret, tenants, scopes}] machines;
//                  [{id, redirects}] public ones, such as the API's documentation
//   users          [{name, password, tenants, operator}]
//
// It prints one line when it is ready: `ready ISSUER`.

import { readFileSync } from 'node:fs';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const SCOPES = ['orders:read', 'orders:create', 'orders:cancel', 'uploads:create'];
const OPERATOR = 'orders:operator';

const settings = {
  host: '127.0.0.1',
  port: 3900,
  audience: 'orders-api',
  resources: [],
  clients: [],
  users: [],
  ...JSON.parse(readFileSync(process.argv[2], 'utf8')),
};
const lifetimes = { access: 300, refresh: 12 * 3600, session: 12 * 3600, ...settings.lifetimes };
const users = new Map(settings.users.map((user) => [user.name, user]));
const machines = new Map(settings.clients.filter(({ scopes }) => scopes).map((client) => [client.id, client]));

/** What the resource is called if a client does not say. */
const API = 'urn:orders-api';

function client({ id, secret, home, redirects, scopes }) {
  if (scopes) {
    return { client_id: id, client_secret: secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };
  }
  if (redirects) {
    return { client_id: id, token_endpoint_auth_method: 'none', redirect_uris: redirects };
  }
  return {
    client_id: id,
    client_secret: secret,
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: [`${home}/login/callback`],
    post_logout_redirect_uris: [`${home}/logout`],
    backchannel_logout_uri: `${home}/logout/backchannel`,
    backchannel_logout_session_required: true,
  };
}

/** Tokens of a machine have its own tenant, those of a user the user's. */
function claims(token) {
  const machine = machines.get(token.clientId);
  if (token.kind === 'ClientCredentials') return { tenant: machine?.tenants };
  const user = users.get(token.accountId);
  return { tenant: user?.tenants ?? [], ...(user?.operator && { roles: ['orders-operators'] }), ...(token.sid && { sid: token.sid }) };
}

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const key = { ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig', kid: randomBytes(6).toString('hex') };

const server = createServer();
await new Promise((done) => server.listen(settings.port, settings.host, done));
const issuer = settings.issuer ?? `http://${settings.host}:${server.address().port}`;
const origins = [...new Set(settings.clients.flatMap(({ redirects }) => redirects ?? []).map((url) => new URL(url).origin))];

const provider = new Provider(issuer, {
  clients: settings.clients.map(client),
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  jwks: { keys: [key] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  claims: { openid: ['sub'], profile: ['name'] },
  conformIdTokenClaims: false,
  responseTypes: ['code'],
  pkce: { required: () => true },
  clientBasedCORS: (ctx, origin) => origins.includes(origin),
  extraTokenClaims: (ctx, token) => claims(token),
  findAccount: (ctx, id) => users.has(id) && { accountId: id, claims: () => ({ sub: id, name: users.get(id).title ?? id }) },
  issueRefreshToken: (ctx, asking) => asking.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  ttl: {
    AccessToken: lifetimes.access,
    ClientCredentials: lifetimes.access,
    AuthorizationCode: 60,
    Grant: lifetimes.session,
    IdToken: 300,
    Interaction: 600,
    RefreshToken: lifetimes.refresh,
    Session: lifetimes.session,
  },
  // The default refuses addresses of this machine, where the pages are.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    userinfo: { enabled: false },
    rpInitiatedLogout: { enabled: true, logoutSource: confirmLogout, postLogoutSuccessSource: afterLogout },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => API,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource, asking) => resourceServer(resource, asking),
    },
  },
  interactions: { url: (ctx, { uid }) => `/interaction/${uid}` },
  loadExistingGrant: grantAll,
  renderError: (ctx, { error, error_description: description }) => page(ctx, 'Error', `<p>${escape(error)}: ${escape(description)}</p>`),
});

function resourceServer(resource, { clientId }) {
  if (resource !== API && !settings.resources.includes(resource)) throw new Error(`unknown resource ${resource}`);
  const scopes = machines.get(clientId)?.scopes ?? [...SCOPES, OPERATOR];
  return {
    audience: settings.audience,
    scope: scopes.join(' '),
    accessTokenFormat: 'jwt',
    accessTokenTTL: lifetimes.access,
    jwt: { sign: { alg: 'ES256' } },
  };
}

/** Nobody is asked to consent: these clients are ours. Only operators get the operators' scope. */
async function grantAll(ctx) {
  const { client: asking, session, account, params } = ctx.oidc;
  const grant = new ctx.oidc.provider.Grant({ clientId: asking.clientId, accountId: session.accountId });
  grant.addOIDCScope('openid profile offline_access');
  const scopes = users.get(account.accountId).operator ? [...SCOPES, OPERATOR] : SCOPES;
  const resources = [params.resource ?? API].flat();
  for (const resource of resources) grant.addResourceScope(resource, scopes.join(' '));
  // What is refused is not asked for again: the token lacks it.
  if (!scopes.includes(OPERATOR)) for (const resource of resources) grant.rejectResourceScope(resource, OPERATOR);
  await grant.save();
  return grant;
}

const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

function page(ctx, title, body) {
  ctx.type = 'html';
  ctx.body = `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1>${body}</html>`;
}

function confirmLogout(ctx, form) {
  page(ctx, 'Log out', `${form}<button form="op.logoutForm" name="logout" value="yes" autofocus>Log out</button>`);
}

function afterLogout(ctx) {
  page(ctx, 'Logged out', '');
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** The form for name and password, and what it sends. */
async function interaction(request, response) {
  const ctx = {};
  const { prompt, uid } = await provider.interactionDetails(request, response);
  if (prompt.name !== 'login') throw new Error(`no such interaction: ${prompt.name}`);
  let note = '';
  if (request.method === 'POST') {
    const form = new URLSearchParams(await body(request));
    const name = form.get('name');
    if (users.has(name) && users.get(name).password === form.get('password')) {
      return provider.interactionFinished(request, response, { login: { accountId: name } });
    }
    note = '<p role="alert">Wrong name or password</p>';
  }
  page(ctx, 'Log in', `${note}<form method="post" action="/interaction/${uid}">
<p><label>Name <input name="name" autocomplete="username" autofocus></label>
<p><label>Password <input name="password" type="password" autocomplete="current-password"></label>
<p><button>Log in</button></form>`);
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  return response.end(ctx.body);
}

provider.on('server_error', (ctx, error) => console.error(error));
provider.on('backchannel.error', (ctx, error, { clientId }) => console.error(`${clientId} is not told of a logout:`, error));
const handle = provider.callback();
server.on('request', async (request, response) => {
  const { pathname } = new URL(request.url, issuer);
  try {
    if (pathname.startsWith('/interaction/')) await interaction(request, response);
    else if (pathname === '/favicon.ico') response.writeHead(204).end();
    else handle(request, response);
  } catch (error) {
    console.error(error);
    if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
    response.end('error\n');
  }
});

console.log(`ready ${issuer}`);
