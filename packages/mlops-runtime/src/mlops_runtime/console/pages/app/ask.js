// Dialog before every change: its consequences, and the user's reason, which is required.
import {html, useId, useLayoutEffect, useRef, useState} from './html.js';
import {change} from './api.js';
import {keepDraft, signInAgain, takeDraft} from './sign_in.js';

// A button that opens a dialog. `path` is requested with {reason, ...body}, which contains the displayed state, so that a stale page
// changes nothing. `kept` is where the reason is stored.
export function Ask({label, kind = '', title, go, path, body = {}, done, follow, children, disabled, kept = 'in the audit log'}) {
  const dialog = useRef(), opener = useRef(), id = useId();
  const [state, set] = useState({});
  const [isOpen, open] = useState(false);
  useLayoutEffect(() => {
    if (isOpen) dialog.current.showModal();
  }, [isOpen]);
  const start = (reason = '') => {
    set({key: crypto.randomUUID(), reason}); // one key per opening: a second click requests the same change
    open(true);
  };
  useLayoutEffect(() => {
    const reason = takeDraft(path);
    if (reason !== undefined) start(reason); // restore the dialog after a new sign-in
  }, [path]);
  const leave = () => {
    keepDraft(path, new FormData(dialog.current.querySelector('form')).get('reason'));
    signInAgain()();
  };
  const closed = () => {
    open(false);
    opener.current?.focus();
  };
  const send = async (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(event.target));
    set((before) => ({...before, isBusy: true, error: undefined}));
    try {
      const reason = fields.reason.replace(/\s+/g, ' ').trim(); // records have one line
      const answer = await change(path, {...body, reason}, state.key);
      dialog.current?.close();
      set({said: done(answer)});
      follow?.(answer);
    } catch (error) {
      set((before) => ({...before, isBusy: false, error}));
    }
  };
  return html`<span>
    <button type="button" class=${kind} ref=${opener} disabled=${disabled} onClick=${() => start()}>${label}</button>
    <span class="small soft" role="status" aria-live="polite">${state.said}</span>
    ${isOpen && html`<dialog ref=${dialog} aria-labelledby=${`${id}-title`} onClose=${closed}>
      <form onSubmit=${send}>
        <h2 id=${`${id}-title`}>${title}</h2>
        ${children}
        <label>Reason<textarea name="reason" defaultValue=${state.reason} required maxlength="500" autofocus aria-describedby=${`${id}-kept`}></textarea></label>
        <p class="small soft" id=${`${id}-kept`}>The reason is stored ${kept} with your name.</p>
        ${state.error && html`<div class="note bad" role="alert"><p>${refusal(state.error)}</p>${state.error.problems?.length > 0 && html`<ul>${state.error.problems.map((each) => html`<li>${each}</li>`)}</ul>`}</div>`}
        ${state.error?.status === 401 && signInAgain() && html`<p><button type="button" onClick=${leave}>Sign in again</button> Your text is kept.</p>`}
        <div class="buttons">
          <button type="submit" class=${kind || 'main'} disabled=${state.isBusy}>${state.isBusy ? 'Sending…' : go}</button>
          <button type="button" onClick=${() => dialog.current.close()}>Cancel</button>
        </div>
      </form></dialog>`}
  </span>`;
}

function refusal({status, message}) {
  if (status === 409) return `Nothing was changed, since this page is out of date: ${message}. Close this, check the current state, and decide again.`;
  if (status === 0) return `It is unknown whether this was done: ${message}. Send it again: the same request is not run twice.`;
  return `Nothing was changed: ${message}`;
}
