import { connection, getJson, sendJson } from "../api/client";
import { follow } from "../api/events";
import type { ServerEvent } from "../api/sse";
import { isOver, type Failure, type Job } from "../api/types";
import { announce } from "../ui/said";
import { refreshLibraries } from "./session";
import { createStore } from "./store";

/** Work in the background: by their numbers, the newest first. */
export const jobs = createStore<{ all: Record<string, Job>; order: string[] }>({ all: {}, order: [] });

const followed = new Set<string>();
const RETRY_MS = 2000;
const REFRESH_MS = 1500;
// The service tells counts that are up to two seconds old.
const SETTLED_MS = 2500;

export async function refreshJobs(): Promise<void> {
  const found = await getJson<{ jobs: Job[] }>("/v1/jobs").catch(() => null);
  for (const job of found?.jobs.reverse() ?? []) watchJob(job);
}

/** Show a job, and follow it until it is over. */
export function watchJob(job: Job): void {
  put(job);
  if (isOver(job) || followed.has(job.id)) return;
  followed.add(job.id);
  void followJob(job.id).finally(() => followed.delete(job.id));
}

function put(job: Job): void {
  jobs.set(({ all, order }) => ({
    all: { ...all, [job.id]: job },
    order: order.includes(job.id) ? order : [job.id, ...order],
  }));
}

/** By its events; where the stream breaks, by asking, and then by its events again. */
async function followJob(id: string): Promise<void> {
  for (;;) {
    await follow(`/v1/jobs/${id}/events`, (event) => take(id, event), new AbortController().signal).catch(() => undefined);
    const now = await getJson<Job>(`/v1/jobs/${id}`).catch(() => null);
    if (now) put(now);
    const job = jobs.get().all[id]!;
    if (isOver(job)) {
      announce(`${job.library}: ${job.state}, ${job.done} added, ${job.failures.length} failed`);
      setTimeout(() => void refreshLibraries(), SETTLED_MS);
      return refreshLibraries();
    }
    if (!now && connection.get().reachable) return; // the service knows nothing of it any more
    await new Promise((go) => setTimeout(go, RETRY_MS));
  }
}

let refreshed = 0;

function take(id: string, { event, data }: ServerEvent): void {
  const job = jobs.get().all[id]!;
  const told = JSON.parse(data) as Partial<Job> & Partial<Failure>;
  if (event === "failure") put({ ...job, failures: [...job.failures, { name: told.name ?? "", reason: told.reason ?? "" }] });
  else put({ ...job, ...told, failures: told.failures ?? job.failures });
  // What is in can be searched already: the counts of libraries say so.
  if (Date.now() - refreshed > REFRESH_MS) {
    refreshed = Date.now();
    void refreshLibraries();
  }
}

export const cancelJob = (id: string): Promise<void> => sendJson("DELETE", `/v1/jobs/${id}`);
