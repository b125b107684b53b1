// Where pages stand behind the #, and what of a page's choices its address keeps.
import {useLayoutEffect, useState} from './html.js';

export const APPROVALS = ['Approvals', '#/approvals']; // where a package's page leads back

const here = () => location.hash.replace(/^#/, '') || '/';

// {path, query} of the page that is open.
export function useAddress() {
  const [found, set] = useState(here());
  useLayoutEffect(() => { // at once: a person may choose before the browser has painted
    const moved = () => set(here());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  const [path, query] = found.split('?');
  return {path, query: new URLSearchParams(query)};
}

// Change a choice without a step in the browser's history.
export function choose(path, query) {
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  history.replaceState(null, '', `#${path}${text ? `?${text}` : ''}`);
  dispatchEvent(new HashChangeEvent('hashchange'));
}

const part = encodeURIComponent;
export const resource = (unit, endpoint, more = '') => `/units/${part(unit)}/endpoints/${part(endpoint)}${more}`;
export const modelPage = (unit, endpoint) => `#${resource(unit, endpoint)}`;
export const rolloutPage = (unit, endpoint) => `#${resource(unit, endpoint, '/rollout')}`;
export const driftPage = (unit, endpoint) => `#${resource(unit, endpoint, '/drift')}`;
export const auditPage = (unit, endpoint) => `#${resource(unit, endpoint, '/audit')}`;
export const unitPage = (unit) => `#/models?unit=${part(unit)}`;
// A package is named as `mlops models` names it: group/number.
export const packagePage = (name) => `#/packages/${name.split('/').map(part).join('/')}`;
