// Page 8: audit log of a model or unit, and its verification.
import {html, useState} from './html.js';
import {read, useResource} from './api.js';
import {modelPage, unitPage} from './addresses.js';
import {By, Card, Facts, Note, Read, State, Table, Time, Title, Unknown} from './parts.js';
import {number, packageName, plain} from './words.js';

export function Audit({unit, endpoint}) {
  const path = `/audit/${encodeURIComponent(endpoint ?? unit)}`, found = useResource(path);
  const crumbs = [[unit, unitPage(unit)], ...(endpoint ? [[endpoint, modelPage(unit, endpoint)]] : [])];
  return html`<${Title} crumbs=${crumbs}>Audit log of ${endpoint ?? unit}<//>
    <${Read} of=${found} what="the audit log">${(data) => html`<${Shown} data=${data} path=${path} />`}<//>`;
}

function Shown({data, path}) {
  return html`
    ${data.missing !== null && data.missing !== undefined && html`<${Note} kind="bad" role="alert"><p>Record ${data.missing} is missing or changed, so older ones cannot be shown. Verify the log.</p><//>`}
    <${Card} id="whole" title="Is it intact?"><${Verify} path=${path} name=${data.name} />
      <${Facts} of=${[
        ['head', html`<${Copied} of=${data.head} />`],
        ['at sequence', number(data.sequence)],
        ['bucket', html`<code>${data.bucket}</code>`],
      ]} />
      <p class="small soft">Store the head elsewhere: copies of the log are verified against it, also without AWS: <code>mlops audit verify ${data.name} --folder COPY --head HEAD</code></p><//>
    <${Card} id="records" title="Records, newest first"><${Table} label="Records" rows=${data.records} rowKey=${({record}) => record.sequence} empty="There is no record yet." columns=${COLUMNS} />
      <div class="buttons"><${Download} data=${data} /></div><//>`;
}

const COLUMNS = [
  {name: 'Number', of: ({record}) => record.sequence},
  {name: 'When', sort: ({record}) => record.at, of: ({record}) => html`<${Time} at=${record.at} />`},
  {name: 'Outcome', sort: ({record}) => record.outcome, of: ({record}) => html`<${State} of=${record.outcome} />`},
  {name: 'Serves after it', of: ({record}) => (record.serving_package ? packageName(record.serving_package) : html`<${Unknown} why="nothing" />`)},
  {name: 'Requested by', sort: ({who}) => who, of: ({record}) => html`<${By} who=${record.requested_by} />`},
  {name: 'Reason', of: ({record, sha256}) => html`${plain(record.reason)}${record.verdict && html`<br /><span class="small">${record.verdict.sentence}</span>`}<br /><code class="small soft" title="SHA-256 of the record">${sha256.slice(0, 16)}</code>`},
];

// Long chains are verified in parts, newest first, each against the hash in the previous part.
function Verify({path, name}) {
  const [state, set] = useState({});
  const verify = async () => {
    const findings = new Set();
    let part = {rest: null}, query = '';
    try {
      do {
        set({isBusy: true, part});
        part = await read(`${path}/verification${query}`);
        part.findings.forEach((each) => findings.add(each));
        query = part.rest ? `?until=${part.rest.sequence}-${part.rest.sha256}` : '';
      } while (query);
      set({found: {...part, findings: [...findings], is_whole: !findings.size}});
    } catch (error) {
      set({error});
    }
  };
  const {found, error, isBusy, part} = state;
  return html`<div class="buttons"><button type="button" onClick=${verify} disabled=${isBusy}>${isBusy ? 'Verifying…' : 'Verify every record'}</button></div>
    <div role="status" aria-live="polite">${isBusy && part.rest && html`<p>Records ${number(part.first)} to ${number(part.total)} were checked.</p>`}
      ${found && html`<${Note} kind=${found.is_whole ? 'good' : 'bad'}><p><${State} of=${found.is_whole ? 'intact' : 'broken'} /> ${number(found.total)} records, signed with the key <code>${found.key}</code>.</p>
      ${found.findings.length > 0 && html`<ul>${found.findings.map((each) => html`<li>${each}</li>`)}</ul>`}<//>`}
      ${error && html`<${Note} kind="bad"><p>It cannot be verified here: ${error.message}. Run <code>mlops audit verify ${name}</code></p><//>`}</div>`;
}

function Copied({of}) {
  const [isCopied, copied] = useState(false);
  const copy = () => navigator.clipboard.writeText(of).then(() => copied(true), () => {});
  return html`<code>${of}</code> <button type="button" class="quiet" onClick=${copy}>Copy the head</button> <span role="status">${isCopied ? 'copied' : ''}</span>`;
}

// Download of the displayed data; the file is created here, without another request.
function Download({data}) {
  const save = () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([JSON.stringify(data, null, 1)], {type: 'application/json'}));
    link.download = `${data.name}-audit.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return html`<button type="button" onClick=${save}>Download these records</button>`;
}
