// Components of pages: states, times, tables, and placeholders for missing or outdated data.
import {html, useEffect, useRef, useState} from './html.js';
import {hint as signInHint, signInAgain} from './sign_in.js';
import {distance, length, person, said, setNow, tone, utc} from './words.js';

export const State = ({of, title}) => html`<span class=${`state ${tone(of)}`} title=${title}>${said(of)}</span>`;

export function Time({at, only}) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 10000);
    return () => clearInterval(timer);
  }, []);
  if (!at) return html`<span class="soft">never</span>`;
  return html`<time datetime=${at} title=${utc(at)}>${only ? distance(at) : `${utc(at)} (${distance(at)})`}</time>`;
}

export const By = ({who}) => html`<span title=${who}>${person(who) || 'unknown'}</span>`;

export const Unknown = ({why}) => html`<span class="soft">${why ?? 'not known here'}</span>`;

// Selection of one value, or all.
export const Choice = ({label, all, value, values, set}) => html`<label>${label}<select value=${value} onChange=${(event) => set(event.target.value)}>
  <option value="">${all}</option>${values.map((each) => html`<option value=${each} selected=${each === value}>${each}</option>`)}</select></label>`;

export const Facts = ({of}) => html`<dl class="facts">${of.filter(Boolean).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;

export const Card = ({title, id, children}) => html`<section class="card" aria-labelledby=${id}><h2 id=${id}>${title}</h2>${children}</section>`;

export const Note = ({kind = '', role, children}) => html`<div class=${`note ${kind}`} role=${role}>${children}</div>`;

// A page's resource: loading, an error, or data; data that could not be refreshed is shown with its age.
export function Read({of, what, children}) {
  const {data, error, at} = of;
  if (data?.now) setNow(data.now, of.told);
  if (!data && error) return html`<${Note} kind="bad" role="alert"><p>${what} cannot be read: ${error.message}</p>${adviceOn(error)}<//>`;
  if (!data) return html`<p role="status">Reading ${what}…</p>`;
  return html`
    ${error && html`<${Note} kind="warn" role="status"><p>This is ${what} as of <${Age} at=${at} /> ago. It cannot be refreshed: ${error.message}</p>${adviceOn(error)}<//>`}
    ${children(data)}`;
}

function Age({at}) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  return length((Date.now() - at) / 1000);
}

const SignInAgain = () => signInAgain() && html`<p><button type="button" onClick=${signInAgain()}>Sign in again</button></p>`;

export function adviceOn({status, title}) {
  if (status === 401) return html`<p>${signInHint()}</p><${SignInAgain} />`;
  if (title === 'no role') return html`<${SignInAgain} />`; // new groups need a new token
  if (status === 403) return html`<p>Your role may not read this. Ask the owner of the unit for the named permission.</p>`;
  return null;
}

// Columns: {name, of: row => value to show, sort: row => key, number}. A header with `sort` is a button.
export function Table({label, columns, rows, empty, rowKey, start}) {
  const [by, setBy] = useState(start);
  if (!rows.length) return html`<p class="soft">${empty}</p>`;
  const column = by && columns[by.column];
  const shown = column?.sort ? [...rows].sort((a, b) => (by.down ? -1 : 1) * compare(column.sort(a), column.sort(b))) : rows;
  const order = (at) => setBy({column: at, down: by?.column === at ? !by.down : false});
  return html`<table class="stack" aria-label=${label}>
    <thead><tr>${columns.map((each, at) => html`<th scope="col" class=${each.number ? 'number' : ''}
      aria-sort=${each.sort && by?.column === at ? (by.down ? 'descending' : 'ascending') : undefined}>${each.sort
        ? html`<button type="button" class="quiet" onClick=${() => order(at)}>${each.name}<span aria-hidden="true">${by?.column === at ? (by.down ? ' ↓' : ' ↑') : ''}</span></button>`
        : each.name}</th>`)}</tr></thead>
    <tbody>${shown.map((row) => html`<tr key=${rowKey?.(row)}>${columns.map((each, at) => at === 0
      ? html`<th scope="row">${each.of(row)}</th>`
      : html`<td data-label=${each.name} class=${each.number ? 'number' : ''}><span>${each.of(row)}</span></td>`)}</tr>`)}</tbody>
  </table>`;
}

function compare(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1; // unknown values last
  if (b === null || b === undefined) return -1;
  return a < b ? -1 : 1;
}

let isFirst = true; // browsers announce the first page themselves

// A page's heading gets the focus after navigation, so that screen readers announce the page.
export function Title({children, crumbs, root = ['Models', '#/models']}) {
  const heading = useRef();
  useEffect(() => {
    document.title = heading.current.textContent;
    if (!isFirst) heading.current.focus();
    isFirst = false;
  }, []);
  return html`${crumbs && html`<p class="crumbs">${[root, ...crumbs].map(([name, to], at) => html`${at > 0 && ' / '}<a href=${to}>${name}</a>`)}</p>`}
    <h1 tabindex="-1" ref=${heading}>${children}</h1>`;
}
