// Page 4: drifted features, since when, whether the feed looks broken, and what to do.
import {html, useMemo, useState} from './html.js';
import {useResource} from './api.js';
import {modelPage, resource, unitPage} from './addresses.js';
import {Line} from './chart.js';
import {Card, Note, Read, State, Table, Time, Title} from './parts.js';
import {bare, number, said, share} from './words.js';

const FEW = 20; // features shown by default

export function Drift({unit, endpoint}) {
  const path = resource(unit, endpoint, '/drift'), found = useResource(path);
  const crumbs = [[unit, unitPage(unit)], [endpoint, modelPage(unit, endpoint)]];
  return html`<${Title} crumbs=${crumbs}>Monitors of ${endpoint}<//>
    <${Read} of=${found} what="the newest window">${(data) => html`<${Window} data=${data} path=${path} />`}<//>`;
}

function Window({data, path}) {
  const [isWhole, whole] = useState(false);
  const {report} = data, quality = report.quality?.metrics ?? [], leftOut = Object.entries(report.drift.left_out ?? {});
  const shown = isWhole ? data.features : data.features.slice(0, FEW);
  return html`
    <p class="lead" id="verdict">${data.verdict}</p>
    <p class="small soft">Window from <${Time} at=${report.window_from} /> until <${Time} at=${report.window_until} />, ${number(report.rows)} rows.</p>
    ${data.live_since > data.window_until && html`<${Note} kind="warn"><p>This window ended before the live version was deployed: it is about the previous one.</p><//>`}
    ${report.suppressed && html`<${Note} kind="warn"><p>Drift was not published: ${report.suppressed}.</p><//>`}
    <${Card} id="monitors" title="Monitors"><${Table} label="Monitors" rows=${data.monitors} rowKey=${(each) => each.monitor} empty="No monitor is configured." columns=${MONITORS} /><//>
    ${quality.length > 0 && html`<${Card} id="quality" title="Quality by labels"><${Table} label="Quality" rows=${quality} rowKey=${(each) => each.name} columns=${QUALITY} /><//>`}
    <h2>Features, strongest evidence first</h2>
    ${shown.map((each, at) => html`<${Feature} key=${each.name} of=${each} isFirst=${at === 0} path=${path} until=${data.window_until} />`)}
    ${data.features.length > shown.length && html`<p><button type="button" onClick=${() => whole(true)}>Show all ${data.features.length} features</button></p>`}
    ${leftOut.length > 0 && html`<${Card} id="left" title="Counted but not tested"><ul>${leftOut.map(([name, why]) => html`<li>${name}: ${why}</li>`)}</ul><//>`}`;
}

const Tone = ({tone, children}) => html`<span class=${`state ${tone === 'unknown' ? 'soft' : tone}`}>${children}</span>`;

const MONITORS = [
  {name: 'Monitor', of: (each) => bare(each.monitor)},
  {name: 'State', of: (each) => html`<${Tone} tone=${each.tone}>${said(each.state)}<//>`},
  {name: 'Meaning', of: (each) => each.means},
  {name: 'What to do', of: (each) => each.do || html`<span class="soft">nothing</span>`},
];
const QUALITY = [
  {name: 'Metric', of: (each) => bare(each.name)},
  {name: 'Now', number: true, of: (each) => number(each.value)},
  {name: 'Interval', number: true, of: (each) => (isKnown(each.low) ? `${number(each.low)} to ${number(each.high)}` : html`<span class="soft">none</span>`)},
  {name: 'Holdout', number: true, of: (each) => number(each.baseline)},
  {name: 'Verdict', of: (each) => (isKnown(each.violated) ? html`<${State} of=${each.violated ? 'VIOLATION' : 'OK'} />` : html`<span class="soft">no limit</span>`)},
];
const isKnown = (value) => value !== null && value !== undefined;

function Feature({of, isFirst, path, until}) {
  const [isOpen, open] = useState(isFirst || of.drifted);
  return html`<details class="card" open=${isOpen} onToggle=${(event) => open(event.currentTarget.open)}>
    <summary><strong>${of.name}</strong> <${Tone} tone=${of.tone}>${of.summary}<//> <span class="soft small">PSI ${number(of.psi)}</span></summary>
    ${of.description && html`<p>${of.description}</p>`}
    <p>What to do: ${of.do}.</p>
    ${isOpen && html`<${Evidence} path=${`${path}/feature?feature=${encodeURIComponent(of.name)}&window=${until.slice(0, 13)}`} name=${of.name} />`}
  </details>`;
}

function Evidence({path, name}) {
  const found = useResource(path);
  return html`<${Read} of=${found} what="its distribution">${(data) => html`<${Shown} of=${data} name=${name} />`}<//>`;
}

function Shown({of, name}) {
  const points = useMemo(() => of.history.map((each) => [each.window_until, each.psi]), [of]);
  const since = [...of.history].reverse().findIndex((each) => !each.drifted);
  const first = of.feature.drifted ? of.history[since < 0 ? 0 : of.history.length - since] : undefined;
  return html`
    ${first && html`<p>${since < 0 ? 'In all known windows, from the one until' : 'In all windows since the one until'} <${Time} at=${first.window_until} />.</p>`}
    ${of.feature.feed_fault && html`<${Note} kind="bad"><p>The feed looks broken, and a retraining would learn from broken data: ${of.feature.feed_fault}</p><//>`}
    ${of.problem && html`<p class="soft">Its distribution is not shown: ${of.problem}</p>`}
    <div class="columns">
      ${of.distribution.length > 0 && html`<div><h3>This window and the baseline</h3><${Cells} of=${of.distribution} /></div>`}
      ${points.length > 1 && html`<div><h3>PSI by window</h3><${Line} points=${points} label=${`PSI of ${name}`} /></div>`}
    </div>`;
}

function Cells({of}) {
  const most = Math.max(...of.flatMap((each) => [each.before, each.after])) || 1;
  return html`<ul class="legend"><li><${Key} kind="before" />baseline</li><li><${Key} kind="now" />this window</li></ul>
    <table class="cells"><thead class="hidden"><tr><th scope="col">Values</th><th scope="col">Baseline and window</th><th scope="col">Shares</th></tr></thead>
    <tbody>${of.map((each) => html`<tr><th scope="row">${each.moved ? html`<strong>${each.label}</strong>` : each.label}</th>
      <td><svg width="100%" height="20" aria-hidden="true"><rect class="before" y="1" width=${`${(100 * each.before) / most}%`} height="8" /><rect class="now" y="11" width=${`${(100 * each.after) / most}%`} height="8" /></svg></td>
      <td class="number small">${share(each.before)} → ${share(each.after)}${each.moved ? html`<span class="hidden"> moved most</span>` : ''}</td></tr>`)}</tbody></table>`;
}

const Key = ({kind}) => html`<svg aria-hidden="true" viewBox="0 0 10 10"><rect class=${kind} width="10" height="10" /></svg>`;
