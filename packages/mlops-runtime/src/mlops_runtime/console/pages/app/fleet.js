// Page 1 for several accounts and Regions: all models, in the order of promotion.
import {html} from './html.js';
import {useResource} from './api.js';
import {choose, modelPage, packagePage, useAddress} from './addresses.js';
import {Choice, Note, Read, State, Table, Time, Title, Unknown} from './parts.js';
import {ORDER} from './words.js';

const DIGEST = 12; // displayed characters of a model's hash

export function Fleet() {
  const found = useResource('/fleet');
  return html`<${Title}>Fleet<//><${Read} of=${found} what="the fleet">${(data) => html`<${Shown} ...${data} />`}<//>`;
}

function Shown({models, unread = {}, environments, here, consoles = {}}) {
  const {query} = useAddress();
  const environment = query.get('environment') ?? '', unit = query.get('unit') ?? '', state = query.get('state') ?? '';
  const rows = models.map((row) => ({...row, to: pageOf(row, here, consoles)}))
    .filter((row) => (!environment || row.environment === environment) && (!unit || row.unit === unit) && (!state || row.state === state));
  const select = (next) => choose('/', {environment, unit, state, ...next});
  return html`
    ${Object.entries(unread).map(([name, why]) => html`<${Note} kind="warn"><p><strong>${name}</strong> cannot be read: ${why}</p><//>`)}
    <form class="filters" onSubmit=${(event) => event.preventDefault()}>
      <${Choice} label="Environment" all="All environments" value=${environment} values=${environments} set=${(value) => select({environment: value})} />
      <${Choice} label="Unit" all="All units" value=${unit} values=${[...new Set(models.map((row) => row.unit))]} set=${(value) => select({unit: value})} />
      <${Choice} label="State" all="All states" value=${state} values=${ORDER} set=${(value) => select({state: value})} />
    </form>
    <p class="small soft" role="status">${rows.length} of ${models.length} ${models.length === 1 ? 'row' : 'rows'}, in ${environments.length} ${environments.length === 1 ? 'environment' : 'environments'}</p>
    <div class="card"><${Table} label="Models of all accounts" rows=${rows} rowKey=${(row) => `${row.environment}/${row.unit}/${row.model}`} columns=${COLUMNS}
      empty=${models.length ? 'No model matches these filters.' : 'No model is deployed there.'} /></div>`;
}

// A registry without an endpoint has no page; link to that of its newest version.
const isRegistry = (row) => 'approved' in row || 'released' in row;

// Address of a model's page: in this console, or in its account's console if the fleet file names that.
function pageOf(row, here, consoles) {
  const version = row.released ?? row.approved;
  const path = isRegistry(row) ? packagePage(version) : modelPage(row.unit, `${row.unit}-${row.model}`);
  if (row.environment === here) return path;
  return consoles[row.environment] && `${consoles[row.environment]}/${path}`;
}

const states = (row) => ['drift', 'quality'].filter((name) => row[name]);

const COLUMNS = [
  {name: 'Model', sort: (row) => row.model, of: (row) => html`${row.to ? html`<a href=${row.to}>${row.model}</a>` : row.model}<br /><span class="small soft">${row.unit}</span>`},
  {name: 'Environment', sort: (row) => row.environment, of: (row) => html`${row.environment}<br /><span class="small soft">${row.account} ${row.region}</span>`},
  {name: 'State', sort: (row) => ORDER.indexOf(row.state), of: (row) => html`<${State} of=${row.state} />${row.summary && html`<br /><span class="small">${row.summary}</span>`}
    ${row.automation !== 'runs' && html`<br /><span class="small">automation is ${row.automation}</span>`}`},
  {name: 'Version', sort: (row) => row.digest, of: (row) => (row.version
    ? html`<strong>version ${row.version}</strong>${row.digest && html` <code>${row.digest.slice(0, DIGEST)}</code>`}<br /><span class="small soft">since <${Time} at=${row.since} only /></span>` : html`<${Unknown} why="nothing yet" />`)},
  {name: 'Monitors', of: (row) => (states(row).length
    ? html`<ul class="monitors">${states(row).map((name) => html`<li>${name} <${State} of=${row[name]} /></li>`)}</ul>` : html`<${Unknown} why="not decided yet" />`)},
  {name: 'Last retraining', of: (row) => (row.retrained ? html`<span class="small">${row.retrained}</span>` : html`<${Unknown} why="no pipeline here" />`)},
  {name: 'Rollout', of: (row) => (row.rollout ? html`<span class="small">${row.rollout.split('; ').slice(0, 2).join('; ')}</span>` : html`<span class="soft">none</span>`)},
  {name: 'Owner', sort: (row) => row.owner, of: (row) => html`<span class="long">${row.owner}</span>`},
];
