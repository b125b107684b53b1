// Page 1 for one account: all models of all units, worst state first.
import {html} from './html.js';
import {useResource, useResources, inRollout} from './api.js';
import {choose, modelPage, packagePage, rolloutPage, useAddress} from './addresses.js';
import {Choice, Note, Read, State, Table, Time, Title, Unknown} from './parts.js';
import {ORDER, bare, number, setNow} from './words.js';

const HOUR = 3600; // seconds between polls; costs are daily

const every = (data) => inRollout(data?.models.some((each) => each.rollout));

export function Models() {
  const units = useResource('/units');
  return html`<${Title}>Models<//><${Read} of=${units} what="the list of units">${({units: found, unread}) => html`
    ${Object.entries(unread ?? {}).map(([name, why]) => html`<${Note} kind="bad"><p><strong>${name}</strong> cannot be read: ${why}</p><//>`)}
    ${found.length ? html`<${Rows} names=${found.map((each) => each.unit)} />` : html`<p>No business unit is deployed here. Deploy a stack with: <code>mlops deploy</code></p>`}`}<//>`;
}

function Rows({names}) {
  const {path, query} = useAddress(), {data: costs, error} = useResource('/costs', () => HOUR);
  const unit = query.get('unit') ?? '', state = query.get('state') ?? '';
  const shown = names.filter((name) => !unit || name === unit);
  const page = (name) => `/units/${encodeURIComponent(name)}`;
  const found = useResources(shown.map(page), every);
  const of = shown.map((name) => ({name, ...found[page(name)]}));
  const read = of.filter((each) => each.data);
  for (const each of read) setNow(each.data.now, each.told);
  const rows = read.flatMap(({name, data}) => [...data.models, ...(data.registries ?? []).map((each) => ({...each, endpoint: each.group, isRegistry: true}))]
    .map((model) => ({...model, unit: name, owner: data.owner, cost: costs?.endpoints[model.endpoint], currency: costs?.currency})))
    .filter((each) => !state || each.state === state)
    .sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || a.endpoint.localeCompare(b.endpoint));
  const missing = of.filter((each) => !each.data && !each.error);
  const select = (next) => choose(path, {unit, state, ...next});
  return html`
    ${read.filter((each) => each.data.is_stopped).map(({name, data}) => html`<${Note} kind="warn"><p><strong>${name}</strong>: automation is ${data.automation}</p><//>`)}
    ${read.flatMap(({name, data}) => Object.entries(data.unread ?? {}).map(([part, why]) => html`<${Note} kind="warn"><p><strong>${name}</strong>, ${part}, cannot be read: ${why}</p><//>`))}
    ${of.filter((each) => each.error).map(({name, error, data, at}) => html`<${Note} kind=${data ? 'warn' : 'bad'} role="status"><p><strong>${name}</strong> ${data
      ? html`is shown as it was <${Time} at=${new Date(at).toISOString()} />: ${error.message}` : `cannot be read: ${error.message}`}</p><//>`)}
    <form class="filters" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label="Unit" all="All units" value=${unit} values=${names} set=${(value) => select({unit: value})} />
      <${Choice} label="State" all="All states" value=${state} values=${ORDER} set=${(value) => select({state: value})} />
    </form>
    <p class="small soft" role="status">${missing.length ? `Reading ${missing.length} of ${shown.length} units…` : `${rows.length} ${rows.length === 1 ? 'model' : 'models'} in ${read.length} ${read.length === 1 ? 'unit' : 'units'}`}</p>
    <div class="card"><${Table} label="Models" rows=${rows} rowKey=${(row) => `${row.unit}/${row.endpoint}`} columns=${COLUMNS}
      empty=${missing.length ? 'Not read yet.' : 'No model matches these filters.'} /></div>
    <p class="small soft">Cost per day: ${error?.message ?? (costs?.unread || (costs ? `as billed for ${costs.day}, by tags; totals of the units: ${shown.map((name) => `${name} ${number(costs.units[name] ?? 0, ` ${costs.currency}`)}`).join(', ')}` : 'being read'))}.</p>`;
}

// The newest released version of a registry, else its newest approved one.
function Kept({of: row}) {
  const name = row.released ?? row.approved;
  if (!name) return html`<${Unknown} why="nothing here" />`;
  return html`<a href=${packagePage(name)}>version ${row.version}</a><br /><span class="small soft">${row.released ? 'released' : 'approved'} <${Time} at=${row.since} only /></span>`;
}

const COLUMNS = [
  {name: 'Model', sort: (row) => row.endpoint, of: (row) => html`${row.isRegistry ? row.endpoint : html`<a href=${modelPage(row.unit, row.endpoint)}>${row.endpoint}</a>`}<br />
    <span class="small soft">${row.unit}${row.isRegistry && ', registry without an endpoint'}</span>`},
  {name: 'State', sort: (row) => ORDER.indexOf(row.state), of: (row) => html`<${State} of=${row.state} />${row.summary && html`<br /><span class="small">${row.summary}</span>`}
    ${row.waiting === undefined ? html`<br /><span class="small soft">waiting packages are not shown: your role may not list them</span>` : row.waiting?.map((name) => html`<br /><a class="small" href=${packagePage(name)}>Decide on ${name}</a>`)}`},
  {name: 'Serves', sort: (row) => row.since, of: (row) => (row.isRegistry ? html`<${Kept} of=${row} />` : row.package
    ? html`<strong>${row.version ? `version ${row.version}` : 'a version'}</strong><br /><span class="small soft">since <${Time} at=${row.since} only /></span>` : html`<${Unknown} why="nothing yet" />`)},
  {name: 'Owner', sort: (row) => row.owner, of: (row) => html`<span class="long">${row.owner}</span>`},
  {name: 'Cost per day', number: true, sort: (row) => row.cost, of: (row) => (row.cost === undefined ? html`<${Unknown} />` : number(row.cost, ` ${row.currency}`))},
  {name: 'Monitors', of: (row) => (Object.keys(row.monitors ?? {}).length
    ? html`<ul class="monitors">${Object.entries(row.monitors).map(([name, state]) => html`<li>${bare(name)} <${State} of=${state} /></li>`)}</ul>` : html`<${Unknown} why=${row.isRegistry || !row.is_monitored ? 'none is deployed' : 'not decided yet'} />`)},
  {name: 'Last retraining', of: (row) => (row.retrained ? html`<span class="small">${row.retrained}</span>` : html`<${Unknown} why=${row.pipeline ? 'none yet' : 'no pipeline'} />`)},
  {name: 'Rollout', of: (row) => (row.rollout ? html`<a href=${rolloutPage(row.unit, row.endpoint)}>See it</a><br /><span class="small">${row.rollout.split('; ').slice(0, 2).join('; ')}</span>` : html`<span class="soft">none</span>`)},
];
