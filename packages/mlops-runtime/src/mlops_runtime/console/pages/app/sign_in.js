// Who signs calls: the token that `mlops console` has printed, or a person whom Cognito signed in. /config.json says which.

const LOCAL = {
  begin: () => {
    // the address carries the token behind its #, which no server and no log sees
    const found = location.hash.match(/^#token=([\w-]+)(?:&to=(\/[\w/-]*))?$/);
    if (found) {
      sessionStorage.setItem('token', found[1]); // of this tab alone; the next start of the command makes another
      history.replaceState(null, '', `#${found[2] ?? '/'}`);
    }
    addEventListener('hashchange', () => location.hash.startsWith('#token=') && location.reload()); // the address of another start
    return sessionStorage.getItem('token') ? null : {title: 'Not signed in', says: LOCAL.hint};
  },
  authorization: () => `Bearer ${sessionStorage.getItem('token') ?? ''}`,
  hint: 'Open the address that mlops console has printed: it carries the token of this start of the command.',
  away: 'Check that mlops console still runs.',
};
let config = {api: '/api'}, way = LOCAL;

// Sign in. Gives null, or {title, says} of why it did not work; a browser that is sent to the sign-in page does not come back here.
export async function signIn() {
  try {
    config = await (await fetch('/config.json', {cache: 'no-store'})).json();
    if (config.signIn.kind === 'cognito') way = await import('./cognito.js');
  } catch {
    return {title: 'Not signed in', says: 'The console does not answer: how to sign in cannot be read. Load this page again.'};
  }
  return way.begin(config.signIn);
}

export const base = () => `${config.api}/v1`;
// The header of a call; throws {says} once the person has to sign in again.
export const authorization = () => way.authorization();
// What to do where the sign-in does not count, and where the console does not answer.
export const hint = () => way.hint;
export const away = () => way.away;
// Undefined where a page cannot do it.
export const signInAgain = () => way.again;
export const signOut = () => way.out;

// What a person typed into the dialog of a change, kept while they sign in again.
export function keepDraft(path, reason) {
  sessionStorage.setItem('draft', JSON.stringify({path, reason}));
}

// The reason that was kept for a change, once.
export function takeDraft(path) {
  const found = JSON.parse(sessionStorage.getItem('draft'));
  if (found?.path !== path) return undefined;
  sessionStorage.removeItem('draft');
  return found.reason;
}
