// Formatting of times, numbers, names and states.

let readAt = Date.now(), readNow = Date.now(), scale = 1;

// Every response has the cloud's time, the reference for relative times. The embedded clock may run faster than the browser's.
export function setNow(iso, at = Date.now()) {
  const found = Date.parse(iso);
  if (!Number.isNaN(found) && at > readAt) [readNow, readAt] = [found, at];
}

export function setScale(found) {
  scale = found ?? 1;
}

export const now = () => readNow + scale * (Date.now() - readAt);

const UNITS = [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]];

export function length(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const at = UNITS.findIndex(([, size]) => whole >= size);
  if (at < 0) return '0 s';
  const [unit, size] = UNITS[at], next = UNITS[at + 1];
  const rest = next && whole < 10 * size ? Math.floor((whole % size) / next[1]) : 0;
  return `${Math.floor(whole / size)} ${unit}${rest ? ` ${rest} ${next[0]}` : ''}`;
}

// Times in a response may be some seconds later than its own time.
export function distance(iso) {
  const seconds = (now() - Date.parse(iso)) / 1000;
  return seconds > -5 ? `${length(seconds)} ago` : `in ${length(-seconds)}`;
}

export const utc = (iso) => `${new Date(iso).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
export const clock = (iso) => new Date(iso).toISOString().slice(11, 16);

export const version = (number) => (number === null || number === undefined ? 'an unknown version' : `version ${number}`);

export const packageName = (arn) => (arn ? arn.split(':model-package/').pop() : '');

// A reason in a record or on a package: with package names, without the markers for checking approvals.
export const plain = (reason) => (reason ?? '').replace(/ \[(trust|binding) \w+\]/g, '').replace(/arn:[\w-]+:sagemaker:[\w-]*:\d*:model-package\//g, '');

export const person = (by) => (by ? by.split('/').pop().split(':').pop() : '');

export function number(value, unit = '') {
  if (value === null || value === undefined) return 'unknown';
  if (typeof value !== 'number') return String(value);
  const size = Math.abs(value);
  const digits = Number.isInteger(value) || size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : size >= 0.001 ? 3 : 5;
  return value.toLocaleString('en', {maximumFractionDigits: digits}) + unit;
}

export const share = (value) => (value === null || value === undefined ? 'unknown' : number(100 * value, ' %'));
export const bare = (text) => text.replaceAll('_', ' ');

// States from worst to best, as in the API.
export const ORDER = [
  'deleted', 'broken', 'limits violated', 'rolled back', 'not monitored', 'waits for an approval', 'rollout runs', 'on probation', 'not known yet',
  'serves', 'approved', 'released', 'not deployed', 'not approved',
];

// Unknown states are neither good nor bad, and never red.
const TONES = {
  good: ['serves', 'released', 'OK', 'InService', 'Approved', 'PROMOTED', 'REGISTERED', 'SUCCEEDED', 'RESUMED', 'passed', 'intact'],
  bad: [
    'deleted', 'broken', 'limits violated', 'rolled back', 'VIOLATION', 'Failed', 'FAILED', 'DELETED', 'ROLLED_BACK', 'REJECTED', 'Rejected', 'failed', 'UpdateRollbackFailed',
    'drifted', 'ALARM',
  ],
  warn: [
    'not monitored', 'waits for an approval', 'rollout runs', 'on probation', 'NO_CAPTURE', 'BASELINE_OLDER_THAN_MODEL', 'Updating', 'Creating', 'RUNNING', 'PAUSED',
    'PendingManualApproval', 'REFUSED', 'ASKED', 'stopped',
  ],
};
const SAID = {InService: 'in service', PendingManualApproval: 'waits for approval'};

export const tone = (state) => Object.keys(TONES).find((each) => TONES[each].includes(state)) ?? 'soft';
export const said = (state) => SAID[state] ?? (/^[A-Z_]+$/.test(state) && state !== 'OK' ? bare(state.toLowerCase()) : state);
