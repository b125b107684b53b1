// The frame of every page, and which page an address shows.
import {html, render, useEffect, useState} from './html.js';
import {signIn, useResource} from './api.js';
import {By, Note} from './parts.js';

const address = () => location.hash.replace(/^#/, '') || '/';

function useAddress() {
  const [found, set] = useState(address());
  useEffect(() => {
    const moved = () => set(address());
    addEventListener('hashchange', moved);
    return () => removeEventListener('hashchange', moved);
  }, []);
  return found;
}

function Frame({isKnown}) {
  const at = useAddress();
  const me = useResource(isKnown ? '/me' : null, 300);
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to content</a>
    <header class="top"><nav aria-label="Pages"><a href="#/" aria-current=${at === '/' ? 'page' : undefined}>Models</a></nav>
      <span class="who">${me.data ? html`as <${By} who=${me.data.caller} />` : ''}</span></header>
    <main id="main" tabindex="-1">${isKnown ? html`<h1>Models</h1>` : html`<${Note} kind="bad" role="alert"><h1>Not signed in</h1>
      <p>Open the address that <code>mlops console</code> has printed: it carries the token of this start of the command.</p><//>`}</main>`;
}

function skip(event) {
  event.preventDefault(); // the address is the page's own
  document.getElementById('main').focus();
}

render(html`<${Frame} isKnown=${signIn()} />`, document.body);
