import type { Hit } from "../api/types";
import { csv } from "../format";
import { createStore } from "./store";

/** Items chosen, in the order of choosing; they stay while one searches on. */
export const selection = createStore<{ chosen: ReadonlyMap<string, Hit>; anchor: number }>({ chosen: new Map(), anchor: 0 });

export function toggle(hits: readonly Hit[], index: number): void {
  const hit = hits[index];
  if (!hit) return;
  selection.set(({ chosen }) => {
    const next = new Map(chosen);
    if (!next.delete(hit.item)) next.set(hit.item, hit);
    return { chosen: next, anchor: index };
  });
}

/** From the one chosen last to this one. */
export function chooseTo(hits: readonly Hit[], index: number): void {
  selection.set(({ chosen, anchor }) => {
    const [first, last] = anchor < index ? [anchor, index] : [index, anchor];
    const next = new Map(chosen);
    for (const hit of hits.slice(first, last + 1)) next.set(hit.item, hit);
    return { chosen: next };
  });
}

export function chooseAll(hits: readonly Hit[]): void {
  selection.set(({ chosen }) => ({ chosen: new Map([...chosen, ...hits.map((hit): [string, Hit] => [hit.item, hit])]) }));
}

export const clearSelection = (): void => selection.set({ chosen: new Map() });

const COLUMNS = [
  "item", "library", "kind", "name", "path", "score", "relevance", "width", "height", "size", "taken", "modified", "camera", "tags", "caption", "text",
] as const;

/** Have the browser save items as a file. */
export function exportAs(form: "json" | "csv", hits: readonly Hit[]): void {
  const rows = hits as unknown as Record<string, unknown>[];
  const text = form === "json" ? `${JSON.stringify(hits, null, 2)}\n` : csv(rows, COLUMNS);
  const type = form === "json" ? "application/json" : "text/csv;charset=utf-8";
  save(new Blob([text], { type }), `crosslens-${hits.length}.${form}`);
}

/** Have the browser save rows as a table. */
export function exportTable(rows: readonly object[], columns: readonly string[], name: string): void {
  save(new Blob([csv(rows as Record<string, unknown>[], columns)], { type: "text/csv;charset=utf-8" }), name);
}

export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
