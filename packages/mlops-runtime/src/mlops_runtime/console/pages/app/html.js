// Preact with HTML templates, and its hooks.
import {h} from '../vendor/preact.js';
import htm from '../vendor/htm.js';

export const html = htm.bind(h);
export {render} from '../vendor/preact.js';
export {useEffect, useId, useLayoutEffect, useMemo, useRef, useState} from '../vendor/hooks.js';
