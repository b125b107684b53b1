// How times, numbers, names and states read.

let ahead = 0; // milliseconds by which the cloud's clock is ahead of this browser's

// Every answer says what time it is in the cloud; distances are from there.
export function setNow(iso) {
  const found = Date.parse(iso);
  if (!Number.isNaN(found)) ahead = found - Date.now();
}

export const now = () => Date.now() + ahead;

const UNITS = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];

// 5400 is "1 h 30 min".
export function length(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const at = UNITS.findIndex(([, size]) => whole >= size);
  if (at < 0) return '0 s';
  const [unit, size] = UNITS[at], next = UNITS[at + 1];
  const rest = next && whole < 10 * size ? Math.floor((whole % size) / next[1]) : 0;
  return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${next[0]}` : ''}`;
}

export function distance(iso) {
  const seconds = (now() - Date.parse(iso)) / 1000;
  return seconds >= 0 ? `${length(seconds)} ago` : `in ${length(-seconds)}`;
}

export const utc = (iso) => `${new Date(iso).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

// ".../model-package/demand-forecast/7" is "version 7".
export function version(arn) {
  return arn ? `version ${arn.split('/').pop()}` : 'no version';
}

// The person of an ARN or address: what follows the last slash.
export const person = (by) => (by ? by.split('/').pop() : '');

// "2.3 %" of 0.0231, "1,204.5" of 1204.52; three figures are all that anybody compares.
export function number(value, unit = '') {
  if (value === null || value === undefined) return 'unknown';
  const size = Math.abs(value);
  const digits = Number.isInteger(value) || size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : size >= 0.001 ? 3 : 5;
  return value.toLocaleString('en', {maximumFractionDigits: digits}) + unit;
}

export const percent = (share) => (share === null || share === undefined ? 'unknown' : number(100 * share, ' %'));

// OK is good, what breaks a promise is bad; what is merely not known is neither, and never red.
const TONES = {
  OK: 'good', InService: 'good', Approved: 'good', PROMOTED: 'good', SUCCEEDED: 'good', passed: 'good', intact: 'good',
  VIOLATION: 'bad', Failed: 'bad', FAILED: 'bad', ROLLED_BACK: 'bad', REJECTED: 'bad', Rejected: 'bad', GONE: 'bad', failed: 'bad', broken: 'bad',
  BASELINE_OLDER_THAN_MODEL: 'warn', NO_CAPTURE: 'warn', Updating: 'warn', Creating: 'warn', RUNNING: 'warn', PAUSED: 'warn', PendingManualApproval: 'warn',
};
const SAID = {
  InService: 'in service', NOT_YET_DEPLOYED: 'not yet deployed', GONE: 'gone', RECORDED: 'as recorded', PendingManualApproval: 'waits for approval',
};

export const tone = (state) => TONES[state] ?? 'soft';
export const said = (state) => SAID[state] ?? (/^[A-Z_]+$/.test(state) && state !== 'OK' ? state.toLowerCase().replaceAll('_', ' ') : state);
