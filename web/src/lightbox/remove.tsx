import { useState } from "preact/hooks";
import { itemPath, send } from "../api/client";
import type { Hit } from "../api/types";
import { closeItem, go } from "../state/place";
import { dropItem, results } from "../state/results";
import { selection, toggle } from "../state/selection";
import { may, refreshLibraries, service } from "../state/session";
import { useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { note } from "../ui/said";

/** Takes an item out of its library, once it was asked whether that is meant. */
export function Remove({ hit }: { hit: Hit }) {
  const [isAsked, setAsked] = useState(false);
  const isWritable = useStore(service, ({ libraries }) => libraries?.find((one) => one.name === hit.library)?.writable === true);
  if (!may("write") || !isWritable) return null;
  if (!isAsked) return <div class="row"><button class="quiet" onClick={() => setAsked(true)}><Icon name="trash" /> Remove …</button></div>;
  return (
    <section class="sure" aria-label="Remove it?">
      <p>Take it out of {hit.library}? A file that was uploaded is deleted for good. One in a folder stays there, and is found again when the folder is indexed again.</p>
      <div class="row">
        <button class="danger" ref={focus} onClick={() => void remove(hit)}>Remove it</button>
        <button class="quiet" onClick={() => setAsked(false)}>Keep it</button>
      </div>
    </section>
  );
}

const focus = (button: HTMLButtonElement | null): void => button?.focus();

async function remove(hit: Hit): Promise<void> {
  try {
    const response = await send(itemPath(hit.item), { method: "DELETE" });
    const { file_deleted: isDeleted } = (await response.json()) as { file_deleted: boolean };
    const { hits } = results.get();
    const at = hits.findIndex((one) => one.item === hit.item);
    const next = hits[at + 1] ?? hits[at - 1];
    if (selection.get().chosen.has(hit.item)) toggle([hit], 0);
    dropItem(hit.item);
    if (at >= 0 && next) go({ item: next.item }, true);
    else closeItem();
    note(isDeleted ? `${hit.name} was deleted` : `${hit.name} was taken out of ${hit.library}; its file stays`);
    await refreshLibraries();
  } catch (error) {
    note(`${hit.name} cannot be removed: ${(error as Error).message}`);
  }
}
