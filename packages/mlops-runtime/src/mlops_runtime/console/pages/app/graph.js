// Lineage as a picture, from tables at the left to endpoints at the right; the page also lists it as text.
import {html} from './html.js';

const WIDTH = 190, HEIGHT = 44, ACROSS = 60, DOWN = 14, LETTERS = 24; // pixels, and the characters that fit into a box
const MOST = 8; // boxes in a column; the list has the others

// columns: lists of {key, name, detail, to: keys in later columns}
export function Graph({columns}) {
  const shown = columns.map((nodes) => (nodes.length > MOST ? [...nodes.slice(0, MOST - 1), rest(nodes.slice(MOST - 1))] : nodes));
  const height = Math.max(...shown.map((nodes) => nodes.length)) * (HEIGHT + DOWN) - DOWN;
  const placed = shown.flatMap((nodes, column) => {
    const top = (height - nodes.length * (HEIGHT + DOWN) + DOWN) / 2;
    return nodes.map((node, at) => ({...node, x: 1 + column * (WIDTH + ACROSS), y: 1 + top + at * (HEIGHT + DOWN)}));
  });
  const edges = placed.flatMap((from) => placed.filter(({key}) => from.to?.includes(key)).map((to) => edge(from, to)));
  const width = shown.length * (WIDTH + ACROSS) - ACROSS + 2;
  return html`<svg class="graph" aria-hidden="true" width=${width} height=${height + 2} viewBox=${`0 0 ${width} ${height + 2}`}>
    ${edges.map((d) => html`<path class="edge" d=${d} />`)}
    ${placed.map(({key, name, detail, x, y}) => html`<g key=${key}><rect class="node" x=${x} y=${y} width=${WIDTH} height=${HEIGHT} rx="6" />
      <text class="name" x=${x + 10} y=${y + 18}>${short(name)}</text><text x=${x + 10} y=${y + 34}>${short(detail)}</text></g>`)}
  </svg>`;
}

const rest = (nodes) => ({key: 'rest', name: `${nodes.length} more`, detail: 'listed below', to: nodes.flatMap(({to}) => to ?? [])});
const short = (text) => (text.length > LETTERS ? `${text.slice(0, LETTERS - 1)}…` : text);

function edge(from, to) {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2], half = (x1 + x2) / 2;
  return `M${x1} ${y1}C${half} ${y1} ${half} ${y2} ${x2} ${y2}`;
}
