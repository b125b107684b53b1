// Page 3: progress and verdict of a rollout, and a button to abort it.
import {html} from './html.js';
import {useResource} from './api.js';
import {modelPage, packagePage, resource, unitPage} from './addresses.js';
import {Ask} from './ask.js';
import {Card, Facts, Note, Read, State, Time, Title, Unknown} from './parts.js';
import {length, now, number, packageName, plain, version} from './words.js';
import {every, seen} from './model.js';

export function Rollout({unit, endpoint, may}) {
  const found = useResource(resource(unit, endpoint), every);
  return html`<${Title} crumbs=${[[unit, unitPage(unit)], [endpoint, modelPage(unit, endpoint)]]}>Rollout of ${endpoint}<//>
    <${Read} of=${found} what="the rollout">${(data) => html`<div aria-live="polite">${data.overview.progress
      ? html`<${Running} ...${{data, unit, endpoint, may}} />` : html`<${Ended} ...${{data}} />`}</div>`}<//>`;
}

function Running({data, unit, endpoint, may}) {
  const {progress} = data.overview, {verdict} = progress;
  return html`
    <p class="lead"><${State} of="rollout runs" /> ${doing(data.rollout) ?? progress.phase}</p>
    <${Card} id="steps" title="Steps"><${Steps} of=${progress} /><${Share} percent=${progress.percent} serves=${data.serves} />
      <${Facts} of=${[
        ['requested by', progress.request_reason || html`<${Unknown} />`],
        progress.package && ['package', html`<a href=${packagePage(packageName(progress.package))}>${packageName(progress.package)}</a>`],
        ...data.rollout.slice(1).map(({name, text}) => [name, text]),
      ]} /><//>
    <${Card} id="verdict" title="Current verdict"><${Verdict} of=${verdict} isWatched=${progress.is_watched} needed=${progress.needed} />
      <${Facts} of=${[['new', 'p99 of the new fleet'], ['old', 'p99 of the old fleet']].map(([fleet, name]) => [name, html`<${Latency} of=${data.latencies.find((each) => each.fleet === fleet)} />`])} /><//>
    ${may('abortRollout') && html`<div class="buttons"><${Ask} label="Abort the rollout" kind="danger" title=${`Abort the rollout of ${endpoint}`} go="Abort now" path=${resource(unit, endpoint, '/abort')}
      body=${{expect: seen(data)}} done=${() => 'Aborting. The traffic returns to the old fleet.'}>
      <p><strong>${data.serves ? version(data.serves.version) : 'No version'}</strong> serves all calls again. The candidate is not promoted; approve it again to retry.</p><//></div>`}`;
}

const Latency = ({of}) => (of ? html`${number(of.p99_ms, ' ms')} <span class="soft">of ${number(of.answers)} responses in five minutes, <${Time} at=${of.since} only /></span>` : html`<${Unknown} />`);

const doing = ([first]) => first && (first.name === 'step' ? `step ${first.text}` : first.text);

function Steps({of}) {
  if (!of.steps) return html`<p class="soft">The steps are not planned yet.</p>`;
  const left = of.until && Math.max(0, (Date.parse(of.until) - now()) / 1000);
  return html`<ol class="steps">${Array.from({length: of.steps}, (_, at) => {
    const step = at + 1, isDone = step < of.step, isCurrent = step === of.step;
    return html`<li class=${isDone ? 'done' : isCurrent ? 'current' : ''} aria-current=${isCurrent ? 'step' : undefined}>Step ${step}: ${isDone ? 'done' : isCurrent
      ? left > 0 ? html`bakes, ${length(left)} left` : 'ends at one of the next checks' : of.bakes[at] ? `bakes ${length(of.bakes[at])}` : 'to come'}</li>`;
  })}</ol>`;
}

function Share({percent, serves}) {
  const old = serves ? version(serves.version) : 'the live version';
  return html`<p>The new fleet has <strong>${number(percent)} %</strong> of the traffic, ${old} has ${number(100 - percent)} %.</p>
    <p class="bar" aria-hidden="true"><svg viewBox="0 0 100 1" preserveAspectRatio="none"><rect class="now" width=${percent} height="1" /><rect class="before" x=${percent} width=${100 - percent} height="1" /></svg></p>`;
}

function Verdict({of, isWatched, needed}) {
  if (!isWatched) return html`<p class="soft">This rollout is not compared: it is the first version, or a rollback.</p>`;
  if (!of) return html`<p class="soft">Nothing is counted yet.</p>`;
  return html`<p class="lead">${of.sentence}</p><${Facts} of=${[
    ['decision', {stop: html`<${State} of="stopped" />`, enough: html`<${State} of="passed" />`}[of.action] ?? 'continue'],
    ['successful responses', `${number(of.calls)}${needed ? ` of ${number(needed)} required` : ''}, in ${number(of.minutes)} ${of.minutes === 1 ? 'minute' : 'minutes'}`],
    ['evidence against it', `${number(of.evidence)} to 1`],
  ]} />`;
}

function Ended({data}) {
  const {running, progress_unread: unread, rollout} = data.overview;
  if (running.length) return html`<${Note} kind="warn"><p>A rollout is running. Its progress is not ${unread ? `shown: ${unread}` : 'known yet.'}</p><//>`;
  if (!rollout) return html`<p>No rollout is running, and none has changed traffic yet.</p>`;
  return html`<p class="lead">No rollout is running. The last one: <${State} of=${rollout.outcome} /> <${Time} at=${rollout.at} />.</p>
    <${Card} id="last" title="Reason"><p>${plain(rollout.reason) || 'No reason was recorded.'}</p>
      ${rollout.verdict && html`<${Verdict} of=${rollout.verdict} isWatched=${true} needed=${null} />`}<//>`;
}
