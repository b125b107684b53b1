// Page 6: search of the feature store's catalogue, and the training sets that read a table.
import {html, useState} from './html.js';
import {useResource} from './api.js';
import {choose, unitPage, useAddress} from './addresses.js';
import {Note, Read, Table, Title} from './parts.js';

export function Features({unit}) {
  const {path, query} = useAddress(), text = query.get('text') ?? '', of = `/units/${encodeURIComponent(unit)}/features`;
  const found = useResource(text && `${of}?text=${encodeURIComponent(text)}`);
  const search = (event) => {
    event.preventDefault();
    choose(path, {text: new FormData(event.target).get('text').trim()});
  };
  return html`<${Title} crumbs=${[[unit, unitPage(unit)]]}>Features of ${unit}<//>
    <form class="filters" role="search" onSubmit=${search}><label>Words<input name="text" type="search" required defaultValue=${text} /></label><button type="submit">Find</button></form>
    ${text && html`<${Read} of=${found} what="the catalogue">${(data) => html`
      ${data.problems.map((each) => html`<${Note} kind="warn"><p>${each}</p><//>`)}
      <div class="card"><${Table} label="Groups and services" rows=${data.hits} rowKey=${(each) => each.name} empty="No group or service has all of these words." columns=${COLUMNS(of)} /></div>`}<//>`}`;
}

const COLUMNS = (of) => [
  {name: 'Name', of: (each) => each.name},
  {name: 'Kind', of: (each) => each.kind},
  {name: 'Owner', of: (each) => html`<span class="long">${each.owner}</span>`},
  {name: 'Description', of: (each) => html`${each.description}<br /><span class="small soft">${each.matches.join('; ')}</span>`},
  {name: 'Read by', of: (each) => (each.kind === 'group' ? html`<${Users} path=${`${of}/${encodeURIComponent(each.name)}/users`} />` : '')},
];

function Users({path}) {
  const [isOpen, open] = useState(false), {data, error} = useResource(isOpen && path);
  if (!isOpen) return html`<button type="button" onClick=${() => open(true)}>Show</button>`;
  if (error) return error.message;
  return data ? html`<span role="status">${data.users.length ? data.users.map((each) => html`${each.name}${each.is_erased ? ' (erased)' : ''}: ${each.columns.join(', ')}<br />`) : 'no training set'}</span>` : 'Reading…';
}
