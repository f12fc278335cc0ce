import type { Hit } from "../api/types";
import { place } from "../state/place";
import { useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { mark, taughtLibrary, teaching, type Mark } from "./state";

/** Whether an item can be marked: something is taught, in its library. */
export const isTaught = (hit: Hit): boolean => !!place.get().teach && taughtLibrary(place.get()) === hit.library;

/** Does it show what is taught? */
export function Marks({ hit, stop }: { hit: Hit; stop: number }) {
  const name = useStore(place, (route) => route.teach);
  const isOne = useStore(place, () => isTaught(hit));
  const now = useStore(teaching, (value) => value.marks.get(hit.item) ?? null);
  if (!isOne) return null;
  const button = (how: Mark, text: string) => (
    <button class={`mark ${how}`} tabIndex={stop} aria-pressed={now === how} aria-label={`${text} ${name}: ${hit.name}`} title={`${text} ${name} (${how[0]})`} onClick={() => mark(hit.item, how)}>
      <Icon name={how === "yes" ? "check" : "close"} />
    </button>
  );
  return <span class={`marks ${now ?? ""}`}>{button("yes", "Shows")}{button("no", "Does not show")}</span>;
}

/** y and n mark the tile that has the focus. */
export function markedByKey(key: string, hit: Hit): boolean {
  if ((key !== "y" && key !== "n") || !isTaught(hit)) return false;
  mark(hit.item, key === "y" ? "yes" : "no");
  return true;
}
