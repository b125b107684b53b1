// Page 5: decision on a package. Intervals of the gate, digests, and problems that prevent a deployment.
import {html, useState} from './html.js';
import {useResource} from './api.js';
import {APPROVALS, packagePage, rolloutPage} from './addresses.js';
import {Ask} from './ask.js';
import {By, Card, Facts, Note, Read, State, Table, Time, Title, Unknown} from './parts.js';
import {number, plain, share} from './words.js';

const FEW = 12;
const UNBOUNDED = 1e9; // the gate's value for a rival without a loss, or without a comparison

export function Approval({group, package: of, may}) {
  const name = `${group}/${of}`, path = `/packages/${encodeURIComponent(group)}/${encodeURIComponent(of)}`;
  const found = useResource(path);
  return html`<${Title} crumbs=${[]} root=${APPROVALS}>Package ${name}<//>
    <${Read} of=${found} what="the package">${(data) => html`<${Shown} ...${{data, name, path, may}} />`}<//>`;
}

export function Approvals() {
  const found = useResource('/approvals');
  return html`<${Title}>Approvals<//><${Read} of=${found} what="the waiting packages">${({waiting}) => html`<div class="card"><${Table} label="Waiting packages" rows=${waiting}
    rowKey=${(each) => each.package} empty="No package waits for an approval." columns=${WAITING} /></div>`}<//>`;
}

const WAITING = [
  {name: 'Package', of: (each) => html`<a href=${packagePage(each.package)}>${each.package}</a>`},
  {name: 'Unit', sort: (each) => each.unit, of: (each) => each.unit},
  {name: 'Registered', sort: (each) => each.registered, of: (each) => html`<${Time} at=${each.registered} />`},
];

function Shown({data, name, path, may}) {
  const {review, gate} = data;
  return html`
    <p class="lead"><${State} of=${review.approval} /> ${review.changed_by && html` by <${By} who=${review.changed_by} />`} ${review.changed && html`<${Time} at=${review.changed} />`}</p>
    ${review.description && html`<p>${plain(review.description)}</p>`}
    ${review.problems.length > 0 && html`<${Note} kind="bad" role="status"><p><strong>It cannot be deployed:</strong></p><ul>${review.problems.map((each) => html`<li>${each}</li>`)}</ul><//>`}
    ${data.note && html`<${Note} kind="warn"><p>It was not shown to be better than the live model: ${data.note}.</p><//>`}
    ${data.pickled && html`<${Note} kind="warn"><p>The pickle imports ${data.pickled.join(', ') || 'nothing'}; this list is not a guarantee, as unpickling can run any code.</p><//>`}
    ${data.endpoints.filter((each) => each.is_same).map((each) => html`<${Note} kind="warn"><p>${each.endpoint} already serves the archive of this package: an approval does not change its model.</p><//>`)}
    <${Buttons} ...${{data, name, path, may}} />
    <${Card} id="gate" title="Decision of the gate">${gate ? html`<${Gate} of=${gate} />` : html`<${Unknown} why="The gate's result cannot be read." />`}<//>
    <div class="columns">
      <${Card} id="losses" title="Losses on the holdout">${data.metric ? html`<${Losses} of=${data} />` : html`<${Unknown} why="The evaluation cannot be read." />`}<//>
      <${Card} id="origin" title="Origin and digests"><${Facts} of=${[
        ['registered', html`<${Time} at=${review.registered} />`],
        ...(review.metadata.source_package ? [['released by', html`${review.metadata.source_environment || 'unknown'} as <code>${review.metadata.source_package}</code>`], ['audit record there', html`<${Digest} of=${review.metadata.source_record} />`]] : []),
        ['training set', review.metadata.training_set_id ? html`<a href=${`${packagePage(name)}/lineage`}>${review.metadata.training_set_id.slice(0, 16)}</a>` : html`<${Unknown} />`],
        ['loaded by', review.metadata.flavor ? `${review.metadata.flavor}, trust ${review.metadata.trust}` : 'onnx, data only'],
        ['model', html`<${Digest} of=${review.metadata.model_sha256} />`],
        ['archive', html`<${Digest} of=${review.metadata.artifact_sha256} />`],
        ['container', html`<${Digest} of=${review.binding} />`],
        ['image', html`<code>${review.image || 'unknown'}</code>`],
        ['code', review.metadata.code ? html`<code>${review.metadata.code}</code>` : html`<${Unknown} />`],
      ]} /><//>
    </div>`;
}

const Digest = ({of}) => (of ? html`<code>${of}</code>` : html`<${Unknown} />`);

function Buttons({data, name, path, may}) {
  const {review} = data;
  const [said, say] = useState(''); // remains after the buttons are gone
  const expect = {approval: review.approval, binding: review.binding};
  if (!may('approve') && !may('reject')) return html`<p class="small soft">Your role may not approve or reject.</p>`;
  return html`<p role="status">${said} ${review.approval === 'Approved' && data.endpoints.map((each) => html`<a href=${rolloutPage(each.unit, each.endpoint)}>See the rollout of ${each.endpoint}</a> `)}</p><div class="buttons">
    ${may('approve') && review.approval === 'PendingManualApproval' && html`<${Ask} label="Approve" kind="main" title=${`Approve ${name}`} go="Approve and roll out" path=${`${path}/approval`} body=${{expect}}
      kept="on the package, and in the audit log," disabled=${!data.can_approve} done=${() => ''} follow=${() => say('Approved. Its rollout starts automatically.')}>
      <p>A rollout of <strong>${name}</strong> starts now: golden requests first, then a part of the traffic. The live model serves until the new one has passed. The record has your name.</p><//>`}
    ${may('reject') && data.can_reject && html`<${Ask} label="Reject" title=${`Reject ${name}`} go="Reject now" path=${`${path}/rejection`} body=${{expect}} kept="on the package" done=${() => ''} follow=${() => say('Rejected.')}>
      <p><strong>${name}</strong> will not be deployed. ${review.approval === 'Approved' ? 'An endpoint that serves it continues until you roll it back.' : 'The live model does not change.'}</p><//>`}
  </div>${review.problems.length > 0 && html`<p class="small soft">It cannot be approved, for the reasons above.</p>`}`;
}

function Gate({of}) {
  const failed = of.checks.filter((each) => !each.passed);
  const shown = [...failed, ...of.checks.filter((each) => each.passed)].slice(0, Math.max(FEW, failed.length));
  const columns = checks(reach(of.checks));
  return html`<p><${State} of=${of.verdict === 'PASSED' ? 'passed' : 'failed'} /> ${of.verdict === 'PASSED' ? '' : of.reason}</p>
    <${Table} label="Checks of the gate" rows=${shown} rowKey=${(each) => `${each.rival} ${each.segment}`} empty=${of.verdict === 'PASSED' ? `Nothing was compared: ${of.reason}` : 'Nothing was compared.'} columns=${columns} />
    ${shown.length < of.checks.length && html`<details><summary>The ${of.checks.length - shown.length} other checks, all passed</summary>
      <${Table} label="Other checks" rows=${of.checks.filter((each) => !shown.includes(each))} rowKey=${(each) => `${each.rival} ${each.segment}`} columns=${columns} /></details>`}
    ${of.verdict === 'PASSED' && shown.length > 0 && html`<details><summary>The gate's reason</summary><p>${of.reason}</p></details>`}
    ${of.coverage?.map((each) => html`<p class="small soft">Of ${number(each.segments)} segments of ${each.column}, ${number(each.compared)} are compared separately; ${share(each.untested_rows)} of the rows are in no interval.</p>`)}`;
}

// Range of the plots on both sides of zero: that of the intervals, at least 30 % and at most 100 %.
const reach = (of) => Math.min(1, Math.max(0.3, ...of.flatMap(({low, high, limit}) => [low, high, limit].map(Math.abs).filter((each) => each < UNBOUNDED))));

const checks = (far) => [
  {name: 'Against', sort: (each) => each.rival, of: (each) => each.rival},
  {name: 'Over', sort: (each) => each.segment ?? '', of: (each) => each.segment ?? 'all rows'},
  {name: 'Relative loss', sort: (each) => each.high, of: (each) => (Math.abs(each.high) >= UNBOUNDED ? html`<span class="soft">not compared</span>` : html`<${Interval} of=${each} far=${far} />`)},
  {name: 'Limit', number: true, of: (each) => signed(each.limit)},
  {name: 'Verdict', sort: (each) => (each.passed ? 1 : 0), of: (each) => html`<${State} of=${each.passed ? 'passed' : 'failed'} />`},
];

const signed = (value) => `${value > 0 ? '+' : ''}${number(Math.round(1000 * value) / 10)} %`;

function Interval({of, far}) {
  const x = (value) => `${Math.min(100, Math.max(0, 50 + (value * 50) / far))}%`;
  return html`<span class="interval"><svg width="100%" height="16" aria-hidden="true">
    <line class="axis" x1="50%" x2="50%" y1="0" y2="16" /><line class="limit" x1=${x(of.limit)} x2=${x(of.limit)} y1="0" y2="16" />
    <line class=${of.passed ? 'span' : 'span bad'} x1=${x(of.low)} x2=${x(of.high)} y1="8" y2="8" /></svg> ${of.low === of.high ? signed(of.low) : `${signed(of.low)} to ${signed(of.high)}`}</span>`;
}

function Losses({of}) {
  const rows = Object.entries(of.metrics).sort(([, a], [, b]) => a - b), own = of.metrics.candidate;
  return html`<${Table} label="Losses" rows=${rows} rowKey=${([name]) => name} empty="Nothing was evaluated." columns=${[
    {name: 'Model', of: ([name]) => name},
    {name: of.metric.toUpperCase(), number: true, of: ([, loss]) => number(loss)},
    {name: 'Candidate relative to it', number: true, of: ([name, loss]) => (name === 'candidate' || !loss ? '' : signed((own - loss) / loss))},
  ]} /><p class="small soft">Over ${number(of.rows)} rows; a lower loss is better.</p>`;
}
