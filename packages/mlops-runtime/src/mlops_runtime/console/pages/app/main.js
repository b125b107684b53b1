// Frame of every page, and routing.
import {html, render, useEffect, useState} from './html.js';
import {useResource} from './api.js';
import {useAddress} from './addresses.js';
import {Clock} from './clock.js';
import {adviceOn, By, Note, Title} from './parts.js';
import {away, signIn, signInAgain, signOut} from './sign_in.js';
import {setNow, setScale} from './words.js';

const NAME = '([\\w%.-]+)';
// each page is loaded when it is first opened
const PAGES = [
  ['/models', () => import('./models.js'), 'Models', []],
  ['/approvals', () => import('./approval.js'), 'Approvals', []],
  [`/units/${NAME}/endpoints/${NAME}`, () => import('./model.js'), 'Model', ['unit', 'endpoint']],
  [`/units/${NAME}/endpoints/${NAME}/rollout`, () => import('./rollout.js'), 'Rollout', ['unit', 'endpoint']],
  [`/units/${NAME}/endpoints/${NAME}/audit`, () => import('./audit.js'), 'Audit', ['unit', 'endpoint']],
  [`/units/${NAME}/audit`, () => import('./audit.js'), 'Audit', ['unit']],
  [`/units/${NAME}/features`, () => import('./features.js'), 'Features', ['unit']],
  [`/packages/${NAME}/${NAME}/lineage`, () => import('./lineage.js'), 'Lineage', ['group', 'package']],
  [`/packages/${NAME}/${NAME}`, () => import('./approval.js'), 'Approval', ['group', 'package']],
  [`/units/${NAME}/endpoints/${NAME}/drift`, () => import('./drift.js'), 'Drift', ['unit', 'endpoint']],
];
const FLEET = ['/', () => import('./fleet.js'), 'Fleet', []], MODELS = ['/', ...PAGES[0].slice(1)];
const OWN = [['/models', 'Models'], ['/approvals', 'Approvals']];

function Page({path, may, isKnown}) {
  const [loaded, set] = useState({});
  const page = [may('readFleet') ? FLEET : MODELS, ...PAGES].find(([pattern]) => new RegExp(`^${pattern}$`).test(path));
  useEffect(() => {
    page?.[1]().then((found) => set({path, Shown: found[page[2]]}), () => set({path}));
  }, [path, page]);
  if (path === '/' && !isKnown) return html`<p role="status">Reading your roles…</p>`; // the first page depends on them
  if (!page) return html`<${Title}>No such page<//><p>The console has no page <code>${path}</code>. <a href="#/">See the models</a>.</p>`;
  if (loaded.path !== path) return html`<p role="status">Reading the page…</p>`;
  if (!loaded.Shown) return html`<${Note} kind="bad" role="alert"><p>The page cannot be loaded. ${away()} Reload this address.</p><//>`;
  const values = path.match(new RegExp(`^${page[0]}$`)).slice(1).map(decodeURIComponent);
  return html`<${loaded.Shown} key=${path} may=${may} ...${Object.fromEntries(page[3].map((name, at) => [name, values[at]]))} />`;
}

function Frame({refused}) {
  const {path} = useAddress();
  const me = useResource(refused ? null : '/me');
  const {data} = me;
  if (data) setNow(data.now, me.told);
  setScale(data?.clock_scale);
  const operations = data?.operations ?? [];
  const may = (operation) => operations.includes(operation);
  const menu = may('readFleet') ? [['/', 'Fleet'], ...OWN] : OWN;
  const isOpen = (to) => path === to || (path === '/' && menu === OWN && to === '/models');
  const hasRole = data || me.error?.title !== 'no role'; // without a role, all pages have the same error
  useEffect(() => scrollTo(0, 0), [path]);
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to content</a>
    <header class="top">
      <nav aria-label="Pages">${menu.map(([to, name]) => html`<a href=${`#${to}`} aria-current=${isOpen(to) ? 'page' : undefined}>${name}</a>`)}</nav>
      <span class="who">${data && html`<${By} who=${data.person ?? data.caller} /> as ${data.roles.join(', ')}`} ${!refused && signOut() && html`<button type="button" class="quiet" onClick=${signOut()}>Sign out</button>`}</span>
    </header>
    ${data?.clock_scale && may('moveClock') && html`<${Clock} scale=${data.clock_scale} />`}
    <main id="main" tabindex="-1">${!refused
      ? html`${!hasRole && html`<${Title}>No role<//>`}${me.error && !data && html`<${Note} kind="bad" role="alert"><p>Your roles cannot be read: ${me.error.message}</p>${adviceOn(me.error)}<//>`}${hasRole && html`<${Page} path=${path} may=${may} isKnown=${Boolean(data ?? me.error)} />`}`
      : html`<${Title}>${refused.title}<//><${Note} role="alert"><p>${refused.message}</p><//>${signInAgain() && html`<p><button type="button" class="main" onClick=${signInAgain()}>Sign in</button></p>`}`}</main>`;
}

function skip(event) {
  event.preventDefault(); // the fragment is the page's address
  document.getElementById('main').focus();
}

signIn().then((refused) => render(html`<${Frame} refused=${refused} />`, document.body));
