import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, getJson, itemPath } from "../api/client";
import type { Heat, Hit } from "../api/types";
import { shownGrid } from "../grid/focus";
import type { View } from "../map/projection";
import { likeActions } from "../search/actions";
import { closeItem, go, place } from "../state/place";
import { results, searchMore } from "../state/results";
import { toggle } from "../state/selection";
import { settings } from "../state/settings";
import { useStore } from "../state/store";
import { holdPage } from "../ui/hold";
import { Icon } from "../ui/icon";
import { addressOf, thumbPath } from "../ui/thumb";
import { Trouble } from "../ui/trouble";
import { Details } from "./details";
import { LARGE, sizeOf, Stage } from "./stage";
import { keyed, WHOLE } from "./zoom";

/** A result shown large, with what is known of it. */
export function Lightbox({ item }: { item: string }) {
  const box = useRef<HTMLDialogElement>(null);
  const picture = useRef<HTMLDivElement>(null);
  const hits = useStore(results, (value) => value.hits);
  const isDetailed = useStore(settings, (value) => value.details);
  const index = hits.findIndex((hit) => hit.item === item);
  const { hit, error } = useHit(item, hits[index]);
  const [heat, setHeat] = useState<{ item: string; heat: Heat | null }>({ item, heat: null });
  const [seen, setSeen] = useState<{ item: string; view: View }>({ item, view: WHOLE });
  const view = seen.item === item ? seen.view : WHOLE;
  const setView = (change: (old: View) => View) => setSeen((old) => ({ item, view: change(old.item === item ? old.view : WHOLE) }));
  useDialog(box, item);
  useEffect(() => prefetch([hits[index + 1], hits[index - 1]]), [item]);

  const step = (by: number) => {
    const next = hits[index + by];
    if (index < 0 || !next) return;
    if (index + by > hits.length - 5) void searchMore(place.get());
    go({ item: next.item }, true);
  };
  const turn = () => settings.set({ details: !isDetailed });
  const onKey = (event: KeyboardEvent) => {
    if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
    const nearer = picture.current && keyed(view, event.key, sizeOf(picture.current), hit?.width ?? null);
    if (nearer) setView(() => nearer);
    else if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "i") turn();
    else if (event.key === "x" && index >= 0) toggle(hits, index);
    else if (hit) likeActions(hit).find((one) => one.key === event.key)?.act();
  };
  return (
    <dialog ref={box} class={`lightbox ${isDetailed ? "" : "alone"}`} aria-label={hit?.name ?? item} onKeyDown={onKey} onCancel={(event) => (event.preventDefault(), closeItem())}>
      <div class="lightbox-stage">
        {hit?.kind === "text" && <blockquote class="stage-text">{hit.text}</blockquote>}
        {hit?.kind === "image" && <Stage key={hit.item} hit={hit} heat={heat.item === item ? heat.heat : null} view={view} box={picture} onView={setView} onStep={step} />}
        {error && <Trouble error={error} />}
        <button class="over close" aria-label="Close" title="Close (Esc)" onClick={closeItem}><Icon name="close" /></button>
        <button class="over info" aria-label="Details" aria-pressed={isDetailed} title="Details (i)" onClick={turn}><Icon name="info" /></button>
        {index > 0 && <button class="over previous" aria-label="Previous" title="Previous (←)" onClick={() => step(-1)}><Icon name="left" /></button>}
        {index >= 0 && index < hits.length - 1 && <button class="over next" aria-label="Next" title="Next (→)" onClick={() => step(1)}><Icon name="right" /></button>}
      </div>
      {hit && isDetailed && <Details key={hit.item} hit={hit} onHeat={(found) => setHeat({ item, heat: found })} />}
    </dialog>
  );
}

/** A dialog of the browser; at its end the focus goes to what was shown last, if the grid has it. */
function useDialog(box: { current: HTMLDialogElement | null }, item: string): void {
  const last = useRef(item);
  last.current = item;
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    const release = holdPage();
    box.current!.showModal();
    return () => (release(), requestAnimationFrame(() => {
      const at = results.get().hits.findIndex((hit) => hit.item === last.current);
      const isTile = before === document.body || before?.dataset["tile"] !== undefined;
      if (isTile && at >= 0 && shownGrid.focusOn) shownGrid.focusOn(at);
      else before?.focus();
    }));
  }, []);
}

/** The pictures beside it, so that turning to them waits for nothing. */
function prefetch(hits: (Hit | undefined)[]): void {
  for (const hit of hits) {
    if (hit?.kind !== "image") continue;
    void addressOf(thumbPath(hit.item, LARGE, hit.version)).then((address) => (new Image().src = address), () => undefined);
  }
}

/** The item: as it was found, or, by a link, as the service knows it. */
function useHit(item: string, found: Hit | undefined): { hit: Hit | null; error: ApiError | null } {
  const [asked, setAsked] = useState<{ hit: Hit | null; error: ApiError | null }>({ hit: null, error: null });
  useEffect(() => {
    if (found) return;
    getJson<Hit>(itemPath(item)).then(
      (hit) => setAsked({ hit, error: null }),
      (error: unknown) => error instanceof ApiError && setAsked({ hit: null, error }),
    );
  }, [item, found]);
  return found ? { hit: found, error: null } : asked.hit?.item === item || asked.error ? asked : { hit: null, error: null };
}
