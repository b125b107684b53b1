// Page 7: the rows and code that a package was trained from, and the endpoints that served it.
import {html} from './html.js';
import {useResource} from './api.js';
import {APPROVALS, packagePage} from './addresses.js';
import {Graph} from './graph.js';
import {By, Card, Facts, Note, Read, Table, Time, Title, Unknown} from './parts.js';
import {bare, number} from './words.js';

export function Lineage({group, package: of}) {
  const name = `${group}/${of}`, found = useResource(`/packages/${encodeURIComponent(group)}/${encodeURIComponent(of)}/lineage`);
  return html`<${Title} root=${APPROVALS} crumbs=${[[name, packagePage(name)]]}>Lineage of ${name}<//>
    <${Read} of=${found} what="the lineage">${(data) => html`<${Shown} data=${data} />`}<//>`;
}

// Columns of the graph: tables, training set and code, the package, and endpoints.
function columns({package: name, training_set: set, training_set_id: id, code, promotions}) {
  const served = Object.entries(Object.groupBy(promotions, (each) => each.endpoint));
  const tables = (set?.reads ?? []).map((each) => ({key: `table ${each.table}`, name: each.table, detail: `snapshot ${each.snapshot}`, to: ['set']}));
  const made = [
    ...(id ? [{key: 'set', name: set?.name ?? 'training set', detail: set ? `${number(set.rows)} rows` : id, to: ['package']}] : []),
    ...Object.entries(code).map(([what, value]) => ({key: what, name: bare(what), detail: value.split(':').pop(), to: ['package']})),
  ];
  return [
    tables, made, [{key: 'package', name, detail: 'package', to: served.map(([endpoint]) => `served ${endpoint}`)}],
    served.map(([endpoint, all]) => ({key: `served ${endpoint}`, name: endpoint, detail: `record ${all.map((each) => each.sequence).join(', ')}`})),
  ].filter((each) => each.length);
}

function Shown({data}) {
  const set = data.training_set;
  return html`<${Graph} columns=${columns(data)} />
    ${data.unread.map((each) => html`<${Note} kind="warn"><p>Not shown: ${each}</p><//>`)}
    <${Card} id="served" title="Where it served"><${Table} label="Promotions" rows=${data.promotions} empty="Nowhere yet, according to the newest records." columns=${SERVED} /><//>
    <${Card} id="code" title="Code and run"><${Facts} of=${Object.entries(data.code).map(([name, value]) => [bare(name), html`<code>${value}</code>`])} /><//>
    <${Card} id="set" title="Training set"><${Facts} of=${[
      ['id', data.training_set_id ? html`<code>${data.training_set_id}</code>` : html`<${Unknown} />`],
      ...(set ? [['name', set.name], ['rows', number(set.rows)], ['built by', set.engine], ...Object.entries({...set.split, ...set.source}).map(([name, value]) => [bare(name), value])] : []),
    ]} />${!set && html`<p class="soft">It was not built from the unit's feature store, so its source rows are not known here.</p>`}<//>
    ${set && html`<${Card} id="reads" title="Source tables, as snapshots"><${Table} label="Tables" rows=${set.reads} empty="None." columns=${READS} /><//>`}`;
}

const SERVED = [
  {name: 'Endpoint', of: (each) => each.endpoint},
  {name: 'Record', number: true, of: (each) => each.sequence},
  {name: 'Since', of: (each) => html`<${Time} at=${each.at} />`},
  {name: 'Requested by', of: (each) => html`<${By} who=${each.who} />`},
];
const READS = [
  {name: 'Table', of: (each) => each.table},
  {name: 'Snapshot', of: (each) => html`<code>${each.snapshot}</code>`},
  {name: 'Columns', of: (each) => each.columns.join(', ')},
];
