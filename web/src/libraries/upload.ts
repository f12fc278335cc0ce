import { ApiError, connection, libraryPath } from "../api/client";
import type { Job } from "../api/types";
import { createStore } from "../state/store";
import { watchJob } from "../state/jobs";
import { batches } from "./batches";

interface Upload {
  library: string;
  files: number;
  sent: number;
  bytes: number;
  error: string | null;
}

/** What is on its way to the service now; null for nothing. */
export const upload = createStore<{ now: Upload | null }>({ now: null });

let running: XMLHttpRequest | null = null;

export async function sendFiles(library: string, files: readonly File[]): Promise<void> {
  if (upload.get().now?.error === null) return; // one after the other
  const bytes = files.reduce((sum, file) => sum + file.size, 0);
  upload.set({ now: { library, files: files.length, sent: 0, bytes, error: null } });
  let before = 0;
  try {
    for (const batch of batches(files)) {
      const start = before;
      const job = await sendBatch(library, batch, (sent) => progress(start + sent));
      watchJob(job);
      before += batch.reduce((sum, file) => sum + file.size, 0);
    }
    upload.set({ now: null });
  } catch (error) {
    upload.set(({ now }) => ({ now: now && { ...now, error: (error as Error).message } }));
  }
}

export function stopUpload(): void {
  running?.abort();
  upload.set({ now: null });
}

const progress = (sent: number): void => upload.set(({ now }) => ({ now: now && { ...now, sent: Math.min(sent, now.bytes) } }));

/** XMLHttpRequest, since fetch does not tell how much has been sent. */
function sendBatch(library: string, files: readonly File[], onSent: (bytes: number) => void): Promise<Job> {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.webkitRelativePath || file.name);
  return new Promise((done, fail) => {
    const request = (running = new XMLHttpRequest());
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

/** Files of what was dropped, folders opened. */
export async function droppedFiles(data: DataTransfer | null): Promise<File[]> {
  const entries = [...(data?.items ?? [])].map((item) => item.webkitGetAsEntry()).filter((one) => one !== null);
  return (await Promise.all(entries.map(filesOf))).flat();
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
