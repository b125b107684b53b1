// Calls of the JSON API: errors, caching and polling.
import {useEffect, useState} from './html.js';
import {authorization, away, base} from './sign_in.js';

const AT_ONCE = 6; // limit of concurrent calls
const HIDDEN = 10; // factor of the polling interval while the page is hidden
const QUICK = 3, QUIET = 30; // seconds between polls: during a rollout, and otherwise
const CLOCKED = '/me'; // never cached, since it has the cloud's time
const kept = new Map(); // last response by path, to show at once when a page is opened again
const asking = new Set(); // functions that refresh the visible resources
const waiting = [];
let running = 0;

// An error of the API (RFC 9457), of the network or of the sign-in.
export class Problem extends Error {
  constructor(status, title, detail, problems = []) {
    super(detail || title);
    Object.assign(this, {status, title, problems});
  }
}

async function call(path, options = {}) {
  while (running >= AT_ONCE) await new Promise((go) => waiting.push(go));
  running += 1;
  try {
    return await answered(path, options);
  } finally {
    running -= 1;
    waiting.shift()?.();
  }
}

async function answered(path, options) {
  let answer, body, signed;
  try {
    signed = await authorization();
  } catch (error) {
    throw new Problem(error.status ?? 0, 'signed out', error.message ?? error.message);
  }
  try {
    answer = await fetch(base() + path, {...options, cache: 'no-store', headers: {Authorization: signed, ...options.headers}});
    const isJson = (answer.headers.get('Content-Type') ?? '').includes('json');
    body = isJson ? await answer.json() : {};
  } catch {
    throw new Problem(0, 'no answer', `the console does not respond. ${away()}`);
  }
  if (!answer.ok && answer.status !== 304) throw new Problem(answer.status, body.title ?? `status ${answer.status}`, body.detail ?? body.message, body.problems);
  return {status: answer.status, body, etag: answer.headers.get('ETag')};
}

// Request a change. `key` is the idempotency key of the click, so that a repeated request is the same change.
export async function change(path, body, key) {
  const {body: answer} = await call(path, {
    method: 'POST',
    headers: {'Content-Type': 'application/json', 'Idempotency-Key': key},
    body: JSON.stringify(body),
  });
  for (const ask of asking) ask();
  if (answer.is_final === false) setTimeout(() => change(path, body, key).catch(() => {}), 1000 * QUICK); // the fleet has not started yet
  return answer;
}

// Read a path once.
export const read = async (path) => (await call(path)).body;

// Poll a path and pass {data, at, told, error} to `set`: after an error, the old data, which was valid at `at`. Unchanged data is not
// sent again, so its time in the cloud is that of `told`.
function watch(path, every, set) {
  let timer = 0, isOn = true, isBusy = false, isStale = false;
  const ask = async () => {
    clearTimeout(timer);
    if (isBusy) {
      isStale = true; // the running request may return the state before the change
      return;
    }
    isBusy = true;
    isStale = false;
    const before = kept.get(path) ?? {};
    let next;
    try {
      const found = await call(path, before.etag && path !== CLOCKED ? {headers: {'If-None-Match': before.etag}} : {});
      const at = Date.now();
      next = found.status === 304 ? {...before, at, error: undefined} : {data: found.body, etag: found.etag, at, told: at};
    } catch (error) {
      next = {...before, error};
    }
    isBusy = false;
    kept.set(path, next);
    if (!isOn) return;
    set(next);
    if (isStale) {
      ask();
      return;
    }
    const seconds = every ? every(next.data) : QUIET;
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
}

// Data of a path, polled every 30 seconds or at the interval `every(data)`; nothing without a path.
export function useResource(path, every) {
  const [state, set] = useState({});
  useEffect(() => {
    set(kept.get(path) ?? {});
    return path ? watch(path, every, set) : undefined;
  }, [path]);
  return state;
}

// The same for several paths, by path.
export function useResources(paths, every) {
  const [states, set] = useState({});
  useEffect(() => {
    set(Object.fromEntries(paths.map((path) => [path, kept.get(path) ?? {}])));
    const ends = paths.map((path) => watch(path, every, (next) => set((all) => ({...all, [path]: next}))));
    return () => ends.forEach((end) => end());
  }, [paths.join()]);
  return states;
}

// Polling interval for a resource that may be in a rollout.
export const inRollout = (isRunning) => (isRunning ? QUICK : QUIET);
