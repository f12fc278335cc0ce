import { itemPath, send } from "../api/client";
import type { Hit } from "../api/types";
import { wantsSomething, withItem, type Liking } from "../query/edit";
import { attachments } from "../state/attachments";
import { go, place } from "../state/place";
import { save } from "../state/selection";
import { announce, copy, note } from "../ui/said";
import type { Choice } from "../ui/menu";

export const openItem = (hit: Hit): void => go({ item: hit.item });

function like(hit: Hit, liking: Liking): void {
  const { query, pictures } = place.get();
  const next = withItem(query, hit.item, liking);
  if (!wantsSomething(next) && !pictures.some((id) => attachments.get().all[id]?.away === false)) {
    return note("Say first what you look for; then this can be taken away from it");
  }
  go({ view: "search", name: "", query: next, item: null });
  scrollTo(0, 0);
  announce(`Searching ${{ more: "more like", less: "less like", without: "without" }[liking]} ${hit.name}`);
}

type LikeChoice = Choice & { key: string };

/** What the query can take of a result. Each has a key in the grid, too. */
export const likeActions = (hit: Hit): LikeChoice[] => [
  { text: "More like this", icon: "plus", key: "m", act: () => like(hit, "more") },
  { text: "Less like this", icon: "minus", key: "l", act: () => like(hit, "less") },
  { text: "Without this", icon: "ban", key: "w", act: () => like(hit, "without") },
];

export const menuFor = (hit: Hit): Choice[] => [
  ...likeActions(hit),
  { text: "Open", icon: "image", key: "Enter", act: () => openItem(hit) },
  { text: "Copy path", icon: "copy", act: () => void copy(hit.path, "Path") },
  ...(hit.kind === "image" && hit.online ? [{ text: "Download", icon: "download" as const, act: () => void download(hit) }] : []),
];

/** Save the file itself. It is fetched, since a link could not send the key. */
export async function download(hit: Hit): Promise<void> {
  try {
    const response = await send(itemPath(hit.item, "/original"));
    save(await response.blob(), hit.name);
  } catch (error) {
    note(`${hit.name} cannot be downloaded: ${(error as Error).message}`);
  }
}
