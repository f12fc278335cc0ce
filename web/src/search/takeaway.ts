import { itemPath, send } from "../api/client";
import type { Hit } from "../api/types";
import { bytes, counted, moment } from "../format";
import { save } from "../state/selection";
import { createStore } from "../state/store";
import { archive } from "../state/zip";
import { note } from "../ui/said";

/** Files that are being fetched, to be saved as one. */
export const taking = createStore<{ done: number; all: number }>({ done: 0, all: 0 });

// The archive is made in the browser's memory.
const MOST_BYTES = 2e9;

let running: AbortController | null = null;

export const stopTaking = (): void => running?.abort();

/** Save the file itself. It is fetched, since a link could not send the key. */
export async function download(hit: Hit): Promise<void> {
  try {
    const response = await send(itemPath(hit.item, "/original"));
    save(await response.blob(), hit.name);
  } catch (error) {
    note(`${hit.name} cannot be downloaded: ${(error as Error).message}`);
  }
}

/** Save the files of many items as one archive; what cannot be had now is told and left out. */
export async function downloadAll(hits: readonly Hit[]): Promise<void> {
  const files = hits.filter((hit) => hit.kind === "image");
  const size = files.reduce((sum, hit) => sum + (hit.size ?? 0), 0);
  if (files.length === 1) return download(files[0]!);
  if (!files.length || taking.get().all) return;
  if (size > MOST_BYTES) return note(`That is ${bytes(size)}; at most ${bytes(MOST_BYTES)} fit into one download. Take fewer, or export their paths.`);
  running = new AbortController();
  const failed = await fetchAll(files, running.signal);
  if (failed === null) return;
  if (failed.length) note(`${counted(failed.length, "file")} could not be had: ${failed.slice(0, 3).join(", ")}${failed.length > 3 ? " …" : ""}`);
}

/** Names of those that failed; null when it was stopped. */
async function fetchAll(files: readonly Hit[], signal: AbortSignal): Promise<string[] | null> {
  const all = archive();
  const failed: string[] = [];
  taking.set({ done: 0, all: files.length });
  try {
    for (const [at, hit] of files.entries()) {
      try {
        const response = await send(itemPath(hit.item, "/original"), { signal });
        all.add({ name: hit.name, data: new Uint8Array(await response.arrayBuffer()), time: moment(hit.taken) ?? moment(hit.modified) ?? new Date() });
      } catch {
        if (signal.aborted) return null;
        failed.push(hit.name);
      }
      taking.set({ done: at + 1 });
    }
    if (failed.length < files.length) save(all.end(), `crosslens-${files.length - failed.length}.zip`);
    return failed;
  } finally {
    taking.set({ done: 0, all: 0 });
  }
}
