// Sign-in with Cognito: the authorization code flow with PKCE for a public client (RFC 7636). Tokens are only in memory: a reloaded
// page signs in again with the browser's session at Cognito.

const REQUEST = 'sign-in', OUT = 'signed-out'; // session storage of this tab, during the sign-in at Cognito
const EARLY = 60; // seconds before its expiry at which a token is renewed

export const hint = 'Your sign-in has expired, or belongs to another console. Sign in again.';
export const away = 'Check your network; if others cannot reach the console either, contact its administrator.';
let settings, tokens, renewal;

// Why a user is not signed in.
class SignInError extends Error {
  constructor(message, status = 401) {
    super(message);
    Object.assign(this, {message, status});
  }
}

export async function begin(found) {
  settings = found;
  const query = new URLSearchParams(location.search), request = taken(REQUEST);
  if (!['code', 'error', 'state'].some((name) => query.has(name))) {
    if (taken(OUT)) return {title: 'Signed out', message: 'You are signed out, here and at the sign-in page.'};
    return leave('none');
  }
  history.replaceState(null, '', `/#${request?.to ?? '/'}`); // keep the one-time code out of the history
  if (!request || query.get('state') !== request.state) return refused('This response of the sign-in page belongs to another tab, or was already used.');
  if (query.get('error') === 'login_required') return leave();
  if (query.has('error')) return refused(`The sign-in page returned ${query.get('error')} ${query.get('error_description') ?? ''}.`);
  try {
    const given = await ask('token', {grant_type: 'authorization_code', code: query.get('code'), redirect_uri: here(), code_verifier: request.verifier});
    check(given, request.nonce);
    keep(given);
    return null;
  } catch (error) {
    return refused(error.message ?? `The tokens cannot be read: ${error.message}`);
  }
}

export async function authorization() {
  if (tokens && Date.now() > tokens.ends - 1000 * EARLY) await (renewal ??= renew().finally(() => (renewal = undefined)));
  if (!tokens) throw new SignInError(hint);
  return `Bearer ${tokens.access}`;
}

// Require the password again, even if the browser has a session.
export const again = () => leave('login');

export async function out() {
  const {refresh} = tokens ?? {};
  tokens = undefined;
  sessionStorage.clear();
  sessionStorage.setItem(OUT, 'true');
  if (refresh) await ask('revoke', {token: refresh}).catch(() => {}); // otherwise it expires
  location.assign(`${settings.domain}/logout?${new URLSearchParams({client_id: settings.clientId, logout_uri: here()})}`);
}

async function renew() {
  try {
    keep(await ask('token', {grant_type: 'refresh_token', refresh_token: tokens.refresh}));
  } catch (error) {
    if (error.status === 401) tokens = undefined;
    else if (Date.now() > tokens.ends) throw error; // the token is valid until then
  }
}

// A token without an expiry is renewed before each call.
function keep(given) {
  tokens = {access: given.access_token, refresh: given.refresh_token ?? tokens?.refresh, ends: Date.now() + 1000 * (given.expires_in ?? 0)};
}

// OpenID Connect Core 3.1.3.7; the tokens were received directly from Cognito over TLS
function check(given, nonce) {
  const id = claims(given.id_token), access = claims(given.access_token);
  const isOfThis = id.nonce === nonce && id.aud === settings.clientId && access.client_id === settings.clientId && id.sub === access.sub;
  if (!isOfThis || id.token_use !== 'id' || access.token_use !== 'access') throw new SignInError('The tokens do not belong to this sign-in.');
}

const claims = (token) => JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')));

async function ask(what, fields) {
  let answer, body;
  try {
    answer = await fetch(`${settings.domain}/oauth2/${what}`, {method: 'POST', credentials: 'omit', body: new URLSearchParams({client_id: settings.clientId, ...fields})});
    body = await answer.text();
  } catch {
    throw new SignInError(`The sign-in page does not respond. ${away}`, 0);
  }
  if (!answer.ok) throw new SignInError(`The sign-in page refused the request (${JSON.parse(body || '{}').error ?? answer.status}): it was already used, has expired, or belongs to another app.`, answer.status < 500 ? 401 : 0);
  return JSON.parse(body || '{}');
}

async function leave(prompt) {
  const [verifier, state, nonce] = [random(), random(), random()];
  const to = location.hash.replace(/^#/, '') || '/';
  sessionStorage.setItem(REQUEST, JSON.stringify({verifier, state, nonce, to}));
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
  const query = new URLSearchParams({
    response_type: 'code', client_id: settings.clientId, redirect_uri: here(), scope: settings.scopes.join(' '),
    state, nonce, code_challenge: text(new Uint8Array(digest)), code_challenge_method: 'S256', ...(prompt && {prompt}),
  });
  location.assign(`${settings.domain}/oauth2/authorize?${query}`);
  return new Promise(() => {}); // the browser leaves this page
}

const here = () => `${location.origin}/`;
const random = () => text(crypto.getRandomValues(new Uint8Array(32)));
const text = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const refused = (message) => ({title: 'Not signed in', message: `${message} Nothing was done; sign in again.`});

function taken(name) {
  const found = sessionStorage.getItem(name);
  sessionStorage.removeItem(name);
  return JSON.parse(found);
}
