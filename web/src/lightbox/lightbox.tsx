import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, getJson, itemPath } from "../api/client";
import type { Heat, Hit } from "../api/types";
import { likeActions } from "../search/actions";
import { go, place } from "../state/place";
import { results, searchMore } from "../state/results";
import { toggle } from "../state/selection";
import { useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { Trouble } from "../ui/trouble";
import { Details } from "./details";
import { Stage } from "./stage";

/** A result shown large, with what is known of it. */
export function Lightbox({ item }: { item: string }) {
  const box = useRef<HTMLDialogElement>(null);
  const hits = useStore(results, (value) => value.hits);
  const index = hits.findIndex((hit) => hit.item === item);
  const { hit, error } = useHit(item, hits[index]);
  const [heat, setHeat] = useState<{ item: string; heat: Heat | null }>({ item, heat: null });

  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    box.current!.showModal();
    return () => returnFocus(before);
  }, []);

  const close = () => go({ item: null });
  const step = (by: number) => {
    const next = hits[index + by];
    if (index < 0 || !next) return;
    if (index + by > hits.length - 5) void searchMore(place.get());
    go({ item: next.item }, true);
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "x" && index >= 0) toggle(hits, index);
    else if (hit) likeActions(hit).find((one) => one.key === event.key)?.act();
  };
  return (
    <dialog ref={box} class="lightbox" aria-label={hit?.name ?? item} onKeyDown={onKey} onCancel={(event) => (event.preventDefault(), close())}>
      <div class="lightbox-stage">
        {hit && <Stage hit={hit} heat={heat.item === item ? heat.heat : null} />}
        {error && <Trouble error={error} />}
        <button class="over close" aria-label="Close" onClick={close}><Icon name="close" /></button>
        {index > 0 && <button class="over previous" aria-label="Previous" onClick={() => step(-1)}><Icon name="left" /></button>}
        {index >= 0 && index < hits.length - 1 && <button class="over next" aria-label="Next" onClick={() => step(1)}><Icon name="right" /></button>}
      </div>
      {hit && <Details key={hit.item} hit={hit} onHeat={(found) => setHeat({ item, heat: found })} />}
    </dialog>
  );
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

/** To the tile of the picture that was shown last, if the grid has it; else to where the focus was. */
function returnFocus(before: HTMLElement | null): void {
  requestAnimationFrame(() => (before?.isConnected ? before : document.querySelector<HTMLElement>("[data-tile][tabindex='0']"))?.focus());
}
