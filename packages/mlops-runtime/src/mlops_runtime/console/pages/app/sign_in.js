// Authorization of calls: the token printed by `mlops console`, or a sign-in with Cognito, according to /config.json.

const LOCAL = {
  begin: () => {
    // the token is in the fragment of the address, which is never sent to a server
    const found = location.hash.match(/^#token=([\w-]+)(?:&to=(\/[\w/-]*))?$/);
    if (found) {
      sessionStorage.setItem('token', found[1]); // only for this tab; each start of the command has a new token
      history.replaceState(null, '', `#${found[2] ?? '/'}`);
    }
    addEventListener('hashchange', () => location.hash.startsWith('#token=') && location.reload()); // address of another start
    return sessionStorage.getItem('token') ? null : {title: 'Not signed in', message: LOCAL.hint};
  },
  authorization: () => `Bearer ${sessionStorage.getItem('token') ?? ''}`,
  hint: 'Open the address that mlops console printed: it contains the token of this start of the command.',
  away: 'Check that mlops console is still running.',
};
let config = {api: '/api'}, way = LOCAL;

// Sign in. Returns null, or {title, message} for an error; does not return if the browser is redirected to the sign-in page.
export async function signIn() {
  try {
    config = await (await fetch('/config.json', {cache: 'no-store'})).json();
    if (config.signIn.kind === 'cognito') way = await import('./cognito.js');
  } catch {
    return {title: 'Not signed in', message: 'The console does not respond, so the sign-in configuration cannot be read. Reload this page.'};
  }
  return way.begin(config.signIn);
}

export const base = () => `${config.api}/v1`;
// Authorization header of a call; throws {message} if the user must sign in again.
export const authorization = () => way.authorization();
// Advice for an invalid sign-in, and for a console that does not respond.
export const hint = () => way.hint;
export const away = () => way.away;
// Undefined if the kind of sign-in does not support it.
export const signInAgain = () => way.again;
export const signOut = () => way.out;

// Store the text in the dialog of a change during a new sign-in.
export function keepDraft(path, reason) {
  sessionStorage.setItem('draft', JSON.stringify({path, reason}));
}

// Return and remove the stored reason for a change.
export function takeDraft(path) {
  const found = JSON.parse(sessionStorage.getItem('draft'));
  if (found?.path !== path) return undefined;
  sessionStorage.removeItem('draft');
  return found.reason;
}
