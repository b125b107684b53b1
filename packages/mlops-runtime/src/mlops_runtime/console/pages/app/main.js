// The frame of every page, and which page an address shows.
import {html, render, useEffect} from './html.js';
import {signIn, useResource} from './api.js';
import {useAddress} from './addresses.js';
import {Approval, Approvals} from './approval.js';
import {Audit} from './audit.js';
import {Clock} from './clock.js';
import {Drift} from './drift.js';
import {Model} from './model.js';
import {Models} from './models.js';
import {By, Note, Title} from './parts.js';
import {Rollout} from './rollout.js';
import {setNow, setScale} from './words.js';

const NAME = '([\\w%.-]+)';
const PAGES = [
  ['/', Models, []],
  ['/approvals', Approvals, []],
  [`/units/${NAME}/endpoints/${NAME}`, Model, ['unit', 'endpoint']],
  [`/units/${NAME}/endpoints/${NAME}/rollout`, Rollout, ['unit', 'endpoint']],
  [`/units/${NAME}/endpoints/${NAME}/audit`, Audit, ['unit', 'endpoint']],
  [`/units/${NAME}/audit`, Audit, ['unit']],
  [`/packages/${NAME}/${NAME}`, Approval, ['group', 'package']],
  [`/units/${NAME}/endpoints/${NAME}/drift`, Drift, ['unit', 'endpoint']],
];
const MENU = [['/', 'Models'], ['/approvals', 'Approvals']];

function Page({path, may}) {
  for (const [pattern, Shown, names] of PAGES) {
    const found = path.match(new RegExp(`^${pattern}$`));
    if (found) return html`<${Shown} key=${path} may=${may} ...${Object.fromEntries(names.map((name, at) => [name, decodeURIComponent(found[at + 1])]))} />`;
  }
  return html`<${Title}>No such page<//><p>The address <code>${path}</code> is not one of the console's. <a href="#/">See the models</a>.</p>`;
}

function Frame({isKnown}) {
  const {path} = useAddress();
  const me = useResource(isKnown ? '/me' : null);
  const {data} = me;
  if (data) setNow(data.now, me.told);
  setScale(data?.clock_scale);
  const operations = data?.operations ?? [];
  const may = (operation) => operations.includes(operation);
  useEffect(() => scrollTo(0, 0), [path]);
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to content</a>
    <header class="top">
      <nav aria-label="Pages">${MENU.map(([to, name]) => html`<a href=${`#${to}`} aria-current=${path === to ? 'page' : undefined}>${name}</a>`)}</nav>
      <span class="who">${data && html`<${By} who=${data.person ?? data.caller} /> as ${data.roles.join(', ')}`}</span>
    </header>
    ${data?.clock_scale && may('moveClock') && html`<${Clock} scale=${data.clock_scale} />`}
    <main id="main" tabindex="-1">${isKnown
      ? html`${me.error && !data && html`<${Note} kind="bad" role="alert"><p>Who you are cannot be read: ${me.error.message}</p><//>`}<${Page} path=${path} may=${may} />`
      : html`<${Title}>Not signed in<//><${Note} kind="bad" role="alert"><p>Open the address that <code>mlops console</code> has printed: it carries the token of this start of the command.</p><//>`}</main>`;
}

function skip(event) {
  event.preventDefault(); // the address behind the # is the page's own
  document.getElementById('main').focus();
}

render(html`<${Frame} isKnown=${signIn()} />`, document.body);
