import type { Job } from "../api/types";
import { bytes, count, counted, duration, moment } from "../format";
import { cancelJob, isOver } from "../state/jobs";
import { may } from "../state/session";
import { useStore } from "../state/store";
import { note } from "../ui/said";
import { stopUpload, upload } from "./upload";

export function UploadCard({ library }: { library: string }) {
  const now = useStore(upload, (value) => value.now);
  if (!now || now.library !== library) return null;
  return (
    <div class="job">
      <div class="job-head">
        <b>{now.error ? "The upload stopped" : `Sending ${counted(now.files, "file")}`}</b>
        <span class="soft">{bytes(now.sent)} of {bytes(now.bytes)}</span>
        <button class="quiet" onClick={stopUpload}>{now.error ? "Close" : "Stop"}</button>
      </div>
      <progress aria-label="Sent" max={now.bytes || 1} value={now.sent} />
      {now.error && <p class="wrong" role="alert">{now.error}</p>}
    </div>
  );
}

const STATES: Record<Job["state"], string> = {
  waiting: "Waiting", running: "Indexing", done: "Done", failed: "Failed", cancelled: "Cancelled",
};
const KINDS: Record<Job["kind"], string> = { upload: "uploaded files", folder: "a folder", index: "all folders" };

export function JobCard({ job }: { job: Job }) {
  const cancel = () => cancelJob(job.id).catch((error: Error) => note(error.message));
  const total = job.total || undefined;
  return (
    <div class={`job ${job.state}`}>
      <div class="job-head">
        <b>{STATES[job.state]}{isOver(job) ? "" : `: ${KINDS[job.kind] ?? job.kind}`}</b>
        <span class="soft">{count(job.done)}{total ? ` of ${count(total)}` : ""}{took(job)}</span>
        {!isOver(job) && may("write") && <button class="quiet" onClick={() => void cancel()}>Cancel</button>}
      </div>
      {!isOver(job) && <progress aria-label={`Indexing ${job.library}`} {...(total ? { max: total, value: job.done } : {})} />}
      {!isOver(job) && job.done > 0 && <p class="soft small">What is in can be searched already.</p>}
      {job.problem && <p class="wrong" role="alert">{job.problem.title}{job.problem.detail ? `: ${job.problem.detail}` : ""}</p>}
      <Failures job={job} />
    </div>
  );
}

function took(job: Job): string {
  const [started, ended] = [moment(job.started), moment(job.ended)];
  return started && ended ? ` in ${duration((ended.getTime() - started.getTime()) / 1000)}` : "";
}

const SHOWN = 200;

function Failures({ job }: { job: Job }) {
  const { failures } = job;
  const all = Math.max(job.failed ?? 0, failures.length);
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
      {all > SHOWN && <p class="soft small">and {count(all - SHOWN)} more</p>}
    </details>
  );
}
