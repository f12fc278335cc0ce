import { isOver, type Job } from "../api/types";
import { moment } from "../format";

/** Jobs that are one piece of work to who started them: an upload is sent in many. */
export interface Work extends Job {
  ids: string[];
  /** How many of its jobs have not told yet how many files they have. */
  untold: number;
  /** Seconds; null while it runs, or where it is not told. */
  took: number | null;
}

const NEAR_SECONDS = 60;

/** jobs: of one library, the newest first. */
export function worksOf(jobs: readonly Job[]): Work[] {
  const works: Work[] = [];
  for (const job of jobs) {
    const last = works.at(-1);
    if (last && belongs(job, last)) works[works.length - 1] = joined(job, last);
    else works.push({ ...job, ids: [job.id], untold: untold(job), took: took(job) });
  }
  return works;
}

function belongs(job: Job, later: Work): boolean {
  if (job.kind !== "upload" || later.kind !== "upload" || job.problem || later.problem) return false;
  if (!isOver(job)) return !isOver(later);
  if (isOver(later) ? job.state !== later.state : job.state !== "done") return false;
  const [ended, began] = [moment(job.ended), moment(later.started)];
  return ended === null || began === null || began.getTime() - ended.getTime() < 1000 * NEAR_SECONDS;
}

function joined(job: Job, later: Work): Work {
  const time = took(job);
  return {
    ...later,
    ids: [...later.ids, job.id],
    state: isOver(job) && later.state !== "waiting" ? later.state : isOver(job) || job.state === "running" ? "running" : later.state,
    done: job.done + later.done,
    total: (job.total ?? 0) + (later.total ?? 0),
    untold: untold(job) + later.untold,
    failed: failedOf(job) + failedOf(later),
    failures: [...job.failures, ...later.failures],
    started: job.started ?? later.started,
    took: time === null || later.took === null ? null : time + later.took,
  };
}

const untold = (job: Job): number => (isOver(job) || job.total ? 0 : 1);

export const failedOf = (job: Job): number => Math.max(job.failed ?? 0, job.failures.length);

function took(job: Job): number | null {
  const [started, ended] = [moment(job.started), moment(job.ended)];
  return started && ended ? (ended.getTime() - started.getTime()) / 1000 : null;
}
