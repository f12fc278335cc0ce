import { bytes, count, counted, duration } from "../format";
import { isOver, type Failure } from "../api/types";
import { cancelJob } from "../state/jobs";
import { may } from "../state/session";
import { exportTable } from "../state/selection";
import { useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { note } from "../ui/said";
import { sendFiles, stopUpload, uploads } from "./upload";
import { failedOf, type Work } from "./work";

export function UploadCard({ library }: { library: string }) {
  const now = useStore(uploads, ({ all }) => all[library]);
  if (!now) return null;
  return (
    <div class="job">
      <div class="job-head">
        <b>{now.error ? `The upload stopped; ${counted(now.unsent.length, "file")} not sent` : `Sending ${counted(now.files, "file")}`}</b>
        <span class="soft">{bytes(now.sent)} of {bytes(now.bytes)}</span>
        {now.error && <button onClick={() => void sendFiles(library, [])}>Try again</button>}
        <button class="quiet" onClick={() => stopUpload(library)}>{now.error ? "Close" : "Stop"}</button>
      </div>
      <progress aria-label="Sent" max={now.bytes || 1} value={now.sent} />
      {now.error && <p class="wrong" role="alert">{now.error}</p>}
    </div>
  );
}

const STATES: Record<Work["state"], string> = {
  waiting: "Waiting", running: "Indexing", done: "Done", failed: "Failed", cancelled: "Cancelled",
};
const KINDS: Record<Work["kind"], string> = { upload: "uploaded files", folder: "a folder", index: "all folders" };

export function JobCard({ work }: { work: Work }) {
  const cancel = () => Promise.all(work.ids.map(cancelJob)).catch((error: Error) => note(error.message));
  const total = work.total || undefined;
  const isRunning = !isOver(work);
  return (
    <div class={`job ${work.state}`}>
      <div class="job-head">
        <b>{STATES[work.state]}: {KINDS[work.kind] ?? work.kind}</b>
        <span class="soft">{count(work.done)}{total ? ` of ${count(total)}` : ""}{work.untold > 1 ? `, ${counted(work.untold, "batch", "batches")} to come` : ""}{work.took === null ? "" : ` in ${duration(work.took)}`}</span>
        {isRunning && may("write") && <button class="quiet" onClick={() => void cancel()}>Cancel</button>}
      </div>
      {isRunning && <progress aria-label={`Indexing ${work.library}`} {...(total ? { max: total, value: work.done } : {})} />}
      {isRunning && work.done > 0 && <p class="soft small">What is in can be searched already.</p>}
      {work.problem && <p class="wrong" role="alert">{work.problem.title}{work.problem.detail ? `: ${work.problem.detail}` : ""}</p>}
      <Failures failures={work.failures} all={failedOf(work)} name={work.library} />
    </div>
  );
}

const SHOWN = 200;

function Failures({ failures, all, name }: { failures: readonly Failure[]; all: number; name: string }) {
  if (!failures.length) return null;
  return (
    <details class="failures" open={failures.length <= 5}>
      <summary>{counted(all, "file")} failed</summary>
      <div class="table-scroll" tabIndex={0} role="region" aria-label="Failures">
        <table>
          <thead><tr><th scope="col">File</th><th scope="col">Reason</th></tr></thead>
          <tbody>
            {failures.slice(0, SHOWN).map((failure, at) => <tr key={at}><td>{failure.name}</td><td>{failure.reason}</td></tr>)}
          </tbody>
        </table>
      </div>
      <p class="row soft small">
        {all > SHOWN && <span>and {count(all - SHOWN)} more</span>}
        {failures.length > 5 && <button class="quiet" onClick={() => exportTable(failures, ["name", "reason"], `${name}-failures.csv`)}><Icon name="download" /> Save as CSV</button>}
      </p>
    </details>
  );
}
