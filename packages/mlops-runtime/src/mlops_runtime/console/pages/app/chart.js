// Line charts over time with uPlot, which is loaded when the first one is drawn.
import {html, useEffect, useRef, useState} from './html.js';
import {clock, number, utc} from './words.js';

const HEIGHT = 180;

// `points` are [time, value or null]; every chart has a text alternative.
export function Line({points, label}) {
  const box = useRef();
  const isDark = useDark();
  useEffect(() => {
    let plot, watcher, isOn = true;
    import('../vendor/uplot.js').then(({default: Plot}) => {
      if (!isOn || !box.current) return;
      const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
      const of = (name) => resolve(color(name), box.current);
      const axis = {stroke: of('soft'), grid: {stroke: of('line'), width: 1}, ticks: {stroke: of('line')}, font: '12px system-ui'};
      plot = new Plot({
        width: box.current.clientWidth, height: HEIGHT, legend: {show: false}, cursor: {drag: {x: false, y: false}}, tzDate: (at) => Plot.tzDate(new Date(at * 1000), 'Etc/UTC'),
        scales: {y: {range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1]}},
        axes: [{...axis, space: 80, values: (_, ticks, __, ___, step) => ticks.map((at) => (step < 86400 ? clock : day)(new Date(at * 1000).toISOString()))}, {...axis, size: 56, values: (_, ticks) => ticks.map((each) => number(each))}],
        series: [{}, {label, stroke: of('link'), width: 2, points: {show: true, size: 7, fill: of('link')}}],
      }, [points.map(([at]) => Date.parse(at) / 1000), points.map(([, value]) => value)], box.current);
      watcher = new ResizeObserver(([{contentRect}]) => contentRect.width > 0 && plot.setSize({width: contentRect.width, height: HEIGHT}));
      watcher.observe(box.current);
    });
    return () => {
      isOn = false;
      watcher?.disconnect();
      plot?.destroy();
    };
  }, [points, isDark]);
  const first = points[0], last = points[points.length - 1];
  return html`<div class="plot" ref=${box} role="img" aria-label=${`${label}: ${points.length} windows, ${number(first[1])} on ${utc(first[0])}, ${number(last[1])} on ${utc(last[0])}`}></div>`;
}

const day = (iso) => iso.slice(5, 10);

// Resolve light-dark() by setting it as an element's colour.
function resolve(value, element) {
  element.style.color = value;
  const found = getComputedStyle(element).color;
  element.style.color = '';
  return found;
}

function useDark() {
  const query = matchMedia('(prefers-color-scheme: dark)');
  const [isDark, set] = useState(query.matches);
  useEffect(() => {
    const changed = () => set(query.matches);
    query.addEventListener('change', changed);
    return () => query.removeEventListener('change', changed);
  }, []);
  return isDark;
}
