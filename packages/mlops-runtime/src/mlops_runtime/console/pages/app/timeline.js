// Events on a time axis, as a picture and as a list.
import {html} from './html.js';
import {By, State, Time} from './parts.js';
import {bare, clock} from './words.js';

const LINE = 24, R = 6, EDGE = 2; // pixels, pixels, percent

export function Timeline({changes, from, until, empty}) {
  if (!changes.length) return html`<p class="soft">${empty}</p>`;
  const start = Date.parse(from), end = Math.max(Date.parse(until), start + 1);
  const x = (at) => `${EDGE + ((100 - 2 * EDGE) * (Math.min(Math.max(Date.parse(at), start), end) - start)) / (end - start)}%`;
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => new Date(start + part * (end - start)).toISOString());
  return html`
    <svg class="axis-of-time" aria-hidden="true">
      <line class="axis" x1=${`${EDGE}%`} x2=${`${100 - EDGE}%`} y1=${LINE} y2=${LINE} stroke-width="2" />
      ${ticks.map((at, number) => html`<line class="axis" x1=${x(at)} x2=${x(at)} y1=${LINE} y2=${LINE + 8} />
        <text x=${x(at)} y=${LINE + 24} text-anchor=${number === 0 ? 'start' : number === ticks.length - 1 ? 'end' : 'middle'}>${clock(at)}</text>`)}
      ${changes.map((each) => html`<svg x=${x(each.at)} y=${LINE}>${mark(each)}</svg>`)}
    </svg>
    <ol class="plain" aria-label="Events, newest first">${changes.map((each) => html`<li key=${`${each.at} ${each.kind} ${each.sequence ?? each.summary}`}>
      <${State} of=${each.is_bad ? bad(each.kind) : each.kind === 'window' ? 'window' : bare(each.kind)} /> <${Time} at=${each.at} />
      ${each.who && html` by <${By} who=${each.who} />`}<br /><span>${each.summary}</span></li>`)}</ol>`;
}

const bad = (kind) => (kind === 'window' ? 'limits violated' : bare(kind) === 'rolled back' ? 'rolled back' : kind.toUpperCase());

// Records are diamonds, monitor windows are dots; bad events are coloured and larger.
function mark({kind, is_bad: isBad}) {
  const name = isBad ? 'bad' : kind === 'promoted' ? 'good' : kind === 'window' ? 'before' : 'now';
  const r = isBad ? R + 1 : R - 1;
  return kind === 'window' ? html`<circle class=${name} r=${r - 1} />` : html`<path class=${name} d=${`M0 ${-r - 2}l${r} ${r + 2}l${-r} ${r + 2}l${-r} ${-r - 2}z`} />`;
}
