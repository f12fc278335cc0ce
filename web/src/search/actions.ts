import type { Hit } from "../api/types";
import { wantsSomething, withItem, type Liking } from "../query/edit";
import { attachments } from "../state/attachments";
import { go, place } from "../state/place";
import { selection, toggle } from "../state/selection";
import { may } from "../state/session";
import { startTeaching } from "../teach/start";
import { announce, copy, note } from "../ui/said";
import type { Choice } from "../ui/menu";
import { addHits } from "../workbench/pictures";
import { download } from "./takeaway";

export const openItem = (hit: Hit): void => go({ item: hit.item });

function like(hits: readonly Hit[], liking: Liking): void {
  const { query, pictures } = place.get();
  const next = hits.reduce((old, hit) => withItem(old, hit.item, liking), query);
  if (!wantsSomething(next) && !pictures.some((id) => (attachments.get().all[id]?.weight ?? 0) > 0)) {
    return note("Say first what you look for; then this can be taken away from it");
  }
  go({ view: "search", name: "", query: next, item: null, arrange: "score" });
  const what = hits.length === 1 ? hits[0]!.name : `these ${hits.length}`;
  announce(`Searching ${{ more: "more like", less: "less like", without: "without" }[liking]} ${what}`);
}

// The service takes so many terms in one search.
export const MOST_ALIKE = 32;

export const likeAll = (hits: readonly Hit[]): void => like(hits.slice(0, MOST_ALIKE), "more");

export function toBench(hits: readonly Hit[], name: "labels" | "matrix"): void {
  addHits(hits);
  go({ view: "workbench", name, item: null });
}

type LikeChoice = Choice & { key: string };

/** What the query can take of a result. Each has a key in the grid, too. */
export const likeActions = (hit: Hit): LikeChoice[] => [
  { text: "More like this", icon: "plus", key: "m", act: () => like([hit], "more") },
  { text: "Less like this", icon: "minus", key: "l", act: () => like([hit], "less") },
  { text: "Without this", icon: "ban", key: "w", act: () => like([hit], "without") },
];

export const menuFor = (hit: Hit): Choice[] => [
  ...likeActions(hit),
  { text: "Open", icon: "image", key: "Enter", act: () => openItem(hit) },
  { text: selection.get().chosen.has(hit.item) ? "Do not select" : "Select", icon: "check", key: "x", act: () => toggle([hit], 0) },
  ...(may("write") ? [{ text: "Teach by this", icon: "teach" as const, act: () => startTeaching([hit]) }] : []),
  { text: "Copy path", icon: "copy", act: () => void copy(hit.path, "Path") },
  ...(hit.kind === "image" && hit.online ? [{ text: "Download", icon: "download" as const, act: () => void download(hit) }] : []),
  ...(hit.kind === "image" ? [{ text: "Try labels on it", icon: "bench" as const, act: () => toBench([hit], "labels") }] : []),
];
