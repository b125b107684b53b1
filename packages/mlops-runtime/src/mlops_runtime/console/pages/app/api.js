// Calls of the JSON API: who signs them, what a refusal is, how often a page asks again.
import {useEffect, useState} from './html.js';

const BASE = '/api/v1';
const HIDDEN = 10; // a page that lies behind others asks that much less often
const kept = new Map(); // by path: what was answered last, so that a page that is opened again shows it at once
const asking = new Set(); // what asks again now, of every resource in sight
let token = '';

// A refusal of the API (RFC 9457) or of the way to it.
export class Problem extends Error {
  constructor(status, title, detail, body = {}) {
    super(detail || title);
    Object.assign(this, {status, title, body});
  }
}

// The address that `mlops console` prints carries the token behind its #, which no server and no log sees.
export function signIn() {
  const found = location.hash.match(/^#token=([\w-]+)$/);
  if (found) {
    sessionStorage.setItem('token', found[1]); // of this tab alone; the next start of the command makes another
    history.replaceState(null, '', '#/');
  }
  token = sessionStorage.getItem('token') ?? '';
  return token !== '';
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(BASE + path, {...options, cache: 'no-store', headers: {Authorization: `Bearer ${token}`, ...options.headers}});
  } catch {
    throw new Problem(0, 'no answer', 'The console does not answer. Check that mlops console still runs, and the network.');
  }
  if (answer.status === 304) return {status: 304};
  const isJson = (answer.headers.get('Content-Type') ?? '').includes('json');
  const body = isJson ? await answer.json() : {};
  if (!answer.ok) throw new Problem(answer.status, body.title ?? `status ${answer.status}`, body.detail, body);
  return {status: answer.status, body, etag: answer.headers.get('ETag')};
}

// Ask for a change. `expect` is what the person saw; a repeated click is the same change, by its key.
export async function change(path, body, key) {
  const {body: answer} = await call(path, {
    method: 'POST',
    headers: {'Content-Type': 'application/json', 'Idempotency-Key': key},
    body: JSON.stringify(body),
  });
  for (const ask of asking) ask();
  return answer;
}

// What a path answers: {data, at, error}. After a refusal the old data stays, with the time at which it was read.
export function useResource(path, every) {
  const [state, set] = useState(kept.get(path) ?? {});
  useEffect(() => {
    let timer = 0, isOn = true, isBusy = false;
    if (!path) return undefined;
    set(kept.get(path) ?? {});
    const ask = async () => {
      clearTimeout(timer);
      if (isBusy) return;
      isBusy = true;
      const before = kept.get(path) ?? {};
      let next;
      try {
        const found = await call(path, before.etag ? {headers: {'If-None-Match': before.etag}} : {});
        next = found.status === 304 ? {...before, at: Date.now(), error: undefined} : {data: found.body, etag: found.etag, at: Date.now()};
      } catch (error) {
        next = {...before, error};
      }
      isBusy = false;
      kept.set(path, next);
      if (!isOn) return;
      set(next);
      const seconds = typeof every === 'function' ? every(next.data) : every;
      timer = setTimeout(ask, 1000 * seconds * (document.hidden ? HIDDEN : 1));
    };
    const seen = () => document.hidden || ask();
    asking.add(ask);
    document.addEventListener('visibilitychange', seen);
    ask();
    return () => {
      isOn = false;
      clearTimeout(timer);
      asking.delete(ask);
      document.removeEventListener('visibilitychange', seen);
    };
  }, [path]);
  return path ? state : {};
}
