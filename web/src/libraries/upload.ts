import { ApiError, connection, libraryPath } from "../api/client";
import { isOver, type Job } from "../api/types";
import { jobs, watchJob } from "../state/jobs";
import { createStore } from "../state/store";
import { batches } from "./batches";

interface Upload {
  files: number;
  sent: number;
  bytes: number;
  /** Why it stopped, and what has not been sent then. */
  error: string | null;
  unsent: readonly File[];
}

/** What is on its way to the service now, by library. */
export const uploads = createStore<{ all: Readonly<Record<string, Upload>> }>({ all: {} });

// The service lets only so many jobs wait; to be turned away after sending would be a pity.
const MOST_WAITING = 8;
const BUSY_MS = 4000;

let queue: { library: string; batch: readonly File[] }[] = [];
let isRunning = false;
let sending: { library: string; request: XMLHttpRequest } | null = null;

const sizeOf = (files: readonly File[]): number => files.reduce((sum, file) => sum + file.size, 0);

function put(library: string, change: (old: Upload) => Partial<Upload>): void {
  uploads.set(({ all }) => (all[library] ? { all: { ...all, [library]: { ...all[library], ...change(all[library]) } } } : {}));
}

function drop(library: string): void {
  uploads.set(({ all: { [library]: _, ...all } }) => ({ all }));
  queue = queue.filter((one) => one.library !== library);
}

/** Send files, a batch at a time, after those that are on their way. What could not be sent before is tried again. */
export async function sendFiles(library: string, files: readonly File[]): Promise<void> {
  const old = uploads.get().all[library];
  const added = old?.error ? [...old.unsent, ...files] : files;
  if (!added.length) return;
  const before = old?.error === null ? old : { files: 0, sent: 0, bytes: 0 };
  const now: Upload = { files: before.files + added.length, sent: before.sent, bytes: before.bytes + sizeOf(added), error: null, unsent: [] };
  uploads.set(({ all }) => ({ all: { ...all, [library]: now } }));
  queue.push(...batches(added).map((batch) => ({ library, batch })));
  if (isRunning) return;
  isRunning = true;
  for (let next = queue.shift(); next; next = queue.shift()) await sendOne(next.library, next.batch);
  isRunning = false;
}

export function stopUpload(library: string): void {
  drop(library);
  if (sending?.library === library) sending.request.abort();
}

async function sendOne(library: string, batch: readonly File[]): Promise<void> {
  const before = uploads.get().all[library]?.sent ?? 0;
  const isWanted = () => uploads.get().all[library] !== undefined;
  try {
    await room(library, isWanted);
    if (!isWanted()) return;
    watchJob(await sendPatiently(library, batch, (sent) => put(library, ({ bytes }) => ({ sent: Math.min(before + sent, bytes) }))));
    put(library, () => ({ sent: before + sizeOf(batch) }));
    if (!queue.some((one) => one.library === library)) drop(library);
  } catch (error) {
    const unsent = [...batch, ...queue.filter((one) => one.library === library).flatMap((one) => one.batch)];
    queue = queue.filter((one) => one.library !== library);
    put(library, () => ({ error: (error as Error).message, unsent }));
  }
}

/** Until few enough jobs of the library wait, or nobody wants it any more. */
function room(library: string, isWanted: () => boolean): Promise<void> {
  const isFree = () => !isWanted() || Object.values(jobs.get().all).filter((job) => job.library === library && !isOver(job)).length < MOST_WAITING;
  if (isFree()) return Promise.resolve();
  return new Promise((done) => {
    const look = () => isFree() && (stops.forEach((stop) => stop()), done());
    const stops = [jobs.watch(look), uploads.watch(look)];
  });
}

async function sendPatiently(library: string, batch: readonly File[], onSent: (bytes: number) => void): Promise<Job> {
  for (;;) {
    try {
      return await sendBatch(library, batch, onSent);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 429) || !uploads.get().all[library]) throw error;
      await new Promise((go) => setTimeout(go, BUSY_MS));
    }
  }
}

/** XMLHttpRequest, since fetch does not tell how much has been sent. */
function sendBatch(library: string, files: readonly File[], onSent: (bytes: number) => void): Promise<Job> {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.webkitRelativePath || file.name);
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    sending = { library, request };
    request.open("POST", libraryPath(library, "/items"));
    request.responseType = "json";
    const { key } = connection.get();
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = (event) => onSent(event.loaded);
    request.onerror = () => fail(new Error("The service does not answer. What was sent before is kept."));
    request.onabort = () => fail(new Error("Stopped"));
    request.onload = () => {
      const body = (request.response ?? {}) as { job?: Job; title?: string; detail?: string };
      if (request.status < 300 && body.job) done(body.job);
      else fail(new ApiError(request.status, "", body.title ?? `The service answered ${request.status}`, body.detail ?? "", "", null, null));
    };
    request.send(form);
  });
}

/** Files of what was dropped or pasted, folders opened. */
export async function droppedFiles(data: DataTransfer | null): Promise<File[]> {
  const files = [...(data?.files ?? [])];
  const entries = [...(data?.items ?? [])].map((item) => item.webkitGetAsEntry()).filter((one) => one !== null);
  return entries.length ? (await Promise.all(entries.map(filesOf))).flat() : files;
}

async function filesOf(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) return [await new Promise<File>((done, fail) => (entry as FileSystemFileEntry).file(done, fail))];
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: File[] = [];
  // Browsers give a folder in portions, and nothing at its end.
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((done, fail) => reader.readEntries(done, fail));
    if (!some.length) return found;
    found.push(...(await Promise.all(some.map(filesOf))).flat());
  }
}
