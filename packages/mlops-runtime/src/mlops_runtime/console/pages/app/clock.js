// The embedded cloud's clock, with buttons to advance it. Not shown on AWS.
import {html, useEffect, useState} from './html.js';
import {change} from './api.js';
import {now, number, utc} from './words.js';

const SPANS = [['1 hour', 60], ['1 day', 24 * 60], ['1 week', 7 * 24 * 60]];

export function Clock({scale}) {
  const [, tick] = useState(0), [state, set] = useState({});
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  const move = async (minutes, name) => {
    set({isBusy: true, said: `Advancing by ${name}…`});
    try {
      await change('/clock', {minutes}, crypto.randomUUID());
      set({said: `Advanced by ${name}.`});
    } catch (error) {
      set({said: `Not advanced: ${error.message}`});
    }
  };
  return html`<aside class="clock" aria-label="Clock of the embedded cloud">
    <span>Embedded cloud, <time>${utc(new Date(now()).toISOString())}</time>${scale === 1 ? '' : `, ${number(scale)} times as fast`}</span>
    <span class="buttons">${SPANS.map(([name, minutes]) => html`<button type="button" disabled=${state.isBusy} onClick=${() => move(minutes, name)}>+ ${name}</button>`)}</span>
    <span role="status" aria-live="polite">${state.said}</span></aside>`;
}
