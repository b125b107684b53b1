// Addresses of pages after the #, with a page's filters as query.
import {useLayoutEffect, useState} from './html.js';

export const APPROVALS = ['Approvals', '#/approvals']; // breadcrumb of a package's page

const here = () => location.hash.replace(/^#/, '') || '/';

// {path, query} of the open page.
export function useAddress() {
  const [found, set] = useState(here());
  useLayoutEffect(() => { // before the first paint, since a user may already choose a filter
    const moved = () => set(here());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  const [path, query] = found.split('?');
  return {path, query: new URLSearchParams(query)};
}

// Change a filter without an entry in the browser's history.
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
// A package's name is group/number, as in `mlops models`.
export const packagePage = (name) => `#/packages/${name.split('/').map(part).join('/')}`;
