// Page 2: state of a model with its cause, and the possible actions.
import {html, useState} from './html.js';
import {inRollout, useResource} from './api.js';
import {auditPage, driftPage, packagePage, resource, rolloutPage, unitPage} from './addresses.js';
import {Ask} from './ask.js';
import {By, Card, Facts, Read, State, Time, Title, Unknown} from './parts.js';
import {Timeline} from './timeline.js';
import {bare, now, packageName, version} from './words.js';

const DAY = 24 * 3600 * 1000;
export const every = (data) => inRollout(data?.overview.running.length > 0);

export function Model({unit, endpoint, may}) {
  const found = useResource(resource(unit, endpoint), every);
  return html`<${Title} crumbs=${[[unit, unitPage(unit)]]}>${endpoint}<//>
    <${Read} of=${found} what="the model">${(data) => html`<${Shown} ...${{data, unit, endpoint, may}} />`}<//>`;
}

function Shown({data, unit, endpoint, may}) {
  const {row, overview, serves, before} = data;
  return html`
    <p class="lead"><${State} of=${row.state} /> <strong id="serves">${serves ? `${version(serves.version)} serves` : 'no model serves yet'}</strong>${serves?.since && html` since <${Time} at=${serves.since} />`}${
      before && html`; ${version(before.version)} before`}.${overview.progress?.percent > 0 && html` <span id="share">${packageName(overview.progress.package)} has ${overview.progress.percent} % of the traffic.</span>`}</p>
    ${data.is_stopped && html`<div class="note warn"><p>Automation is ${data.automation}</p></div>`}
    <section class="card" aria-label="Cause" aria-live="polite"><p class="lead" id="cause">${data.cause || 'No problem found: every monitor is within its limits.'}</p>
      <${Buttons} ...${{data, unit, endpoint, may}} /></section>
    ${data.unread?.map((each) => html`<div class="note warn" role="status"><p>Not shown: ${each}</p></div>`)}
    <${Card} id="changed" title="What changed in the last 24 hours"><${Timeline} changes=${data.changes} empty="There are no records and no monitor reports."
      from=${new Date(Math.min(now(), Date.parse(data.now)) - DAY).toISOString()} until=${data.now} /><//>
    <div class="columns">
      <${Card} id="monitors" title="Monitors"><${Monitors} of=${overview.monitor} isThere=${overview.is_monitored} unit=${unit} endpoint=${endpoint} /><//>
      <${Card} id="served" title="Serving"><${Facts} of=${[
        ['endpoint', html`<${State} of=${overview.state} />`],
        ['configuration', overview.serving_config ?? html`<${Unknown} why="none" />`],
        ['as in the stack', {true: 'yes', false: 'not yet'}[overview.is_desired] ?? html`<${Unknown} why="no model serves" />`],
        overview.probation_until && ['on probation', html`until <${Time} at=${overview.probation_until} />`],
        ['owner', data.owner],
        ['cost center', data.cost_center],
        ['unit', html`<a href=${`#/units/${encodeURIComponent(unit)}/features`}>features</a>, <a href=${`#/units/${encodeURIComponent(unit)}/audit`}>audit log</a>`],
        overview.last && ['newest record', html`<a href=${auditPage(unit, endpoint)}>${overview.last.sequence}</a> <${State} of=${overview.last.outcome} /> <${Time} at=${overview.last.at} /> by <${By} who=${overview.last.requested_by} />`],
      ]} /><//>
      <${Card} id="retraining" title="Retraining"><${Facts} of=${[
        ['pipeline', row.pipeline ?? html`<${Unknown} why="none" />`],
        ['last run', row.retrained ?? html`<${Unknown} why="none yet" />`],
        ['waits for approval', row.waiting === null || row.waiting === undefined ? html`<${Unknown} why="not shown: your role may not list packages" />`
          : row.waiting.length ? row.waiting.map((name) => html`<a href=${packagePage(name)}>${name}</a> `) : 'nothing'],
      ]} /><//>
    </div>`;
}

function Buttons({data, unit, endpoint, may}) {
  const {overview, serves, before, retraining} = data, isRunning = overview.running.length > 0;
  const isWayBack = overview.progress?.request_reason === 'rollback';
  const [followed, follow] = useState('');
  const path = (more) => resource(unit, endpoint, more);
  return html`<div class="buttons">
    ${isRunning && html`<a class="button" href=${rolloutPage(unit, endpoint)}>See the rollout</a>`}
    ${serves && may('rollBack') && html`<${Ask} label=${isWayBack ? 'Abort the rollback' : 'Roll back'} kind="danger" title=${isWayBack ? `Abort the rollback of ${endpoint}` : `Roll ${endpoint} back`} go=${isWayBack ? 'Abort it now' : 'Roll back now'} path=${path('/rollbacks')} body=${{expect: seen(data)}}
      done=${() => 'Rolling back…'} follow=${(answer) => answer.execution && follow(answer.execution)} disabled=${!before && !isRunning}>
      ${isRunning ? html`<p>The running ${isWayBack ? 'rollback' : 'rollout'} is aborted: <strong>${version(serves.version)}</strong> continues to serve and gets all of the traffic.</p>`
        : html`<p><strong>${version(before?.version)}</strong> will replace ${version(serves.version)}. Callers see no interruption.</p>
          <p class="small">${data.before_did.length ? data.before_did.join(' ') : 'The newest records have no information on its last time in service.'}</p>`}<//>`}
    ${may(data.is_paused ? 'resumeUnit' : 'pauseUnit') && html`<${Pause} ...${{data, unit}} />`}
    ${retraining && may('retrain') && html`<${Ask} label="Retrain" title=${`Retrain ${endpoint}`} go="Retrain now" path=${`/units/${encodeURIComponent(unit)}/pipelines/${encodeURIComponent(retraining.pipeline)}/retrainings`}
      body=${{expect: {last_execution: retraining.last_execution ?? null}}} done=${() => 'Requested a retraining. The guard decides whether it starts.'}>
      <p>The pipeline <strong>${retraining.pipeline}</strong> trains on the current data. Its gate compares the candidate with ${serves ? version(serves.version) : 'its limits'}, and an approval is required before it gets traffic. The live model does not change now.</p><//>`}
  </div>
  ${followed && html`<${Followed} path=${path(`/rollbacks/${encodeURIComponent(followed)}`)} />`}
  ${serves && !before && !isRunning && html`<p class="small soft">No version served before this one, so there is nothing to roll back to.</p>`}
  ${serves && !may('rollBack') && html`<p class="small soft">Your role may not roll back.</p>`}`;
}

// The displayed state, which a change refers to, so that an outdated page changes nothing.
export const seen = ({sequence, serves}) => ({sequence, package: serves?.package ?? null});

function Followed({path}) {
  const {data, error} = useResource(path, (found) => inRollout(!found?.is_over));
  const text = data ? (data.is_over ? data.summary : 'The rollback is running.') : error ? `The rollback cannot be followed: ${error.message}` : '';
  return html`<div class=${`note ${data?.is_over ? (data.is_served ? 'good' : 'bad') : ''}`} role="status" id="rollback"><p>${text}</p></div>`;
}

function Pause({data, unit}) {
  const isPaused = data.is_paused;
  return html`<${Ask} label=${isPaused ? 'Resume automation' : 'Pause automation'} title=${`${isPaused ? 'Resume' : 'Pause'} the automation of ${unit}`} go=${isPaused ? 'Resume now' : 'Pause now'}
    path=${`/units/${encodeURIComponent(unit)}/${isPaused ? 'resume' : 'pause'}`} body=${{expect: {sequence: data.unit_sequence}}} done=${() => (isPaused ? 'Automation is resumed.' : 'Automation is paused.')}>
    <p>${isPaused ? 'The platform may start retrainings and rollouts automatically again' : 'No retraining or rollout starts automatically until a person resumes automation; running rollouts continue'}, for every model of <strong>${unit}</strong>. The live models do not change.</p><//>`;
}

export function Monitors({of, isThere, unit, endpoint}) {
  if (!of) return html`<p class="soft">${isThere ? 'A monitor is deployed, but has not decided yet.' : 'No monitor is deployed.'}</p>`;
  if (of.unread) return html`<p class="soft">The report is not shown: ${of.unread}</p>`;
  return html`<${Facts} of=${Object.entries(of.states).map(([name, state]) => [bare(name), html`<${State} of=${state} />`])} />
    <p class="small soft">Window until ${of.window_until ? html`<${Time} at=${of.window_until} />` : 'an unknown time'}.${of.suppressed && ` Drift was not published: ${of.suppressed}.`}</p>
    <p><a href=${driftPage(unit, endpoint)}>Features and history</a></p>`;
}
