import { useEffect, useRef } from "preact/hooks";
import { picturesOf, type Hit, type Library } from "../api/types";
import { count } from "../format";
import { bestOf, BESTS } from "../grid/arrange";
import type { Arrange } from "../grid/rows";
import { hasFilters } from "../query/edit";
import { go, place } from "../state/place";
import { heldBy, isArranged, isJudged, isScored, results, searchAgain } from "../state/results";
import type { Route } from "../state/route";
import { may, service } from "../state/session";
import { ROW_HEIGHTS, settings } from "../state/settings";
import { useStore } from "../state/store";
import { startTeaching } from "../teach/start";
import { Icon } from "../ui/icon";

const ARRANGES: Record<Arrange, string> = {
  score: "Best first", date: "Newest first", day: "By day", month: "By month", year: "By year", path: "By path",
};

export function Toolbar() {
  const route = useStore(place, (value) => value);
  const isKnown = useStore(results, (value) => value.relevanceEnds !== null);
  const scored = isScored(route);
  const choices = (Object.keys(ARRANGES) as Arrange[]).filter((one) => scored || one !== "date");
  return (
    <div class="toolbar">
      <Found />
      <span class="spring" />
      {!route.teach && may("write") && <button class="quiet" aria-label="Teach a concept" title="Teach a concept by marking pictures" onClick={() => startTeaching()}><Icon name="teach" /><span class="wide">Teach</span></button>}
      <LibraryChoice />
      {isJudged(route) && (route.relevant || (isKnown && !isArranged(route))) && (
        <label class="switch">
          <input type="checkbox" checked={route.relevant} onChange={(event) => go({ relevant: event.currentTarget.checked })} />
          Only relevant
        </label>
      )}
      <label>
        <span class="hidden">Arrange</span>
        <select id="arrange" value={route.arrange} onChange={(event) => go({ arrange: event.currentTarget.value as Arrange })}>
          {choices.map((one) => <option key={one} value={one}>{!scored && one === "score" ? "Newest first" : ARRANGES[one]}</option>)}
        </select>
      </label>
      {isArranged(route) && !route.relevant && <Best best={route.best} />}
      <Sizes />
    </div>
  );
}

/** Everything is near to some words: of how many is to be shown by date or path is said, and can be chosen. */
function Best({ best }: { best: number }) {
  const { found, relevanceEnds } = useStore(results, (value) => value);
  const [own, now] = [bestOf(found.length, relevanceEnds, 0), bestOf(found.length, relevanceEnds, best)];
  const others = [...BESTS.filter((one) => one < found.length), found.length].filter((one) => one !== own);
  return (
    <label>
      <span class="hidden">Of how many</span>
      <select id="best" value={now} onChange={(event) => go({ best: BESTS.find((one) => one >= Number(event.currentTarget.value) && Number(event.currentTarget.value) !== own) ?? 0 }, true)}>
        <option value={own}>{relevanceEnds ? `the ${count(own)} relevant` : `of the best ${count(own)}`}</option>
        {others.map((one) => <option key={one} value={one}>of the best {count(one)}</option>)}
      </select>
    </label>
  );
}

function Found() {
  const { hits, state, took, relevanceEnds, held } = useStore(results, (value) => value);
  const route = useStore(place, (value) => value);
  const total = useStore(service, ({ libraries }) => totalOf(libraries ?? [], route, hits[0]));
  const now = useStore(service, () => heldBy(route));
  if (!hits.length) return <p class="found soft" />;
  const time = <span class="soft took">in {took < 10 ? took.toFixed(1) : Math.round(took)} ms</span>;
  const among = state === "all" ? count(hits.length) : total === null || total < hits.length ? `${count(hits.length)}+` : count(total);
  const isMore = held !== null && now !== null && held !== now;
  return (
    <p class="found">
      {isArranged(route) ? <><b>{count(hits.length)}</b> <span class="soft">{relevanceEnds === hits.length ? "relevant" : "best"}</span></>
        : isScored(route) && relevanceEnds !== null ? <><b>{count(relevanceEnds)} relevant</b> <span class="soft">of {among}</span></>
        : <b>{among} {hits[0]!.kind === "text" ? "texts" : "pictures"}</b>} {time}
      {isMore && <> <button class="quiet" onClick={() => void searchAgain(route)}>Show what is new</button></>}
    </p>
  );
}

/** How many items a search without filters looks at; null where filters decide. */
function totalOf(libraries: readonly Library[], route: Route, first: Hit | undefined): number | null {
  if (hasFilters(route.query) || route.relevant) return null;
  const chosen = libraries.filter(({ name }) => !route.libraries.length || route.libraries.includes(name));
  return chosen.reduce((sum, one) => sum + (first?.kind === "text" ? one.texts : picturesOf(one)), 0);
}

/** Which libraries are searched: all, or those ticked. */
function LibraryChoice() {
  const libraries = useStore(service, (value) => value.libraries) ?? [];
  const chosen = useStore(place, (route) => route.libraries);
  const box = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const away = (event: Event) => box.current?.open && !box.current.contains(event.target as Node) && (box.current.open = false);
    addEventListener("pointerdown", away);
    return () => removeEventListener("pointerdown", away);
  }, []);
  if (libraries.length < 2) return null;
  const turn = (name: string, on: boolean) => go({ libraries: on ? [...chosen, name] : chosen.filter((one) => one !== name) });
  return (
    <details ref={box} class="drop" onKeyDown={(event) => event.key === "Escape" && (event.currentTarget.open = false, event.currentTarget.querySelector("summary")!.focus())}
      onFocusOut={(event) => !event.currentTarget.contains(event.relatedTarget as Node | null) && event.relatedTarget && (event.currentTarget.open = false)}>
      <summary>{chosen.length ? chosen.join(", ") : "All libraries"}</summary>
      <div class="drop-body" role="group" aria-label="Libraries to search">
        {libraries.map(({ name, items }) => (
          <label key={name}>
            <input type="checkbox" checked={chosen.includes(name)} onChange={(event) => turn(name, event.currentTarget.checked)} />
            <span>{name}</span> <span class="soft">{count(items)}</span>
          </label>
        ))}
      </div>
    </details>
  );
}

// As many sizes as a phone has room for.
const ON_PHONES = 3;

function Sizes() {
  const size = useStore(settings, (value) => value.size);
  const change = (by: number) => settings.set({ size: size + by });
  return (
    <>
      <button class="quiet round cycle" aria-label="Size of the pictures: change" title="Size of the pictures" onClick={() => settings.set({ size: (size + 1) % ON_PHONES })}><Icon name="grid" /></button>
      <div class="pair" role="group" aria-label="Size of the pictures">
        <button class="quiet round" aria-label="Smaller pictures" disabled={size === 0} onClick={() => change(-1)}><Icon name="minus" /></button>
        <button class="quiet round" aria-label="Larger pictures" disabled={size === ROW_HEIGHTS.length - 1} onClick={() => change(1)}><Icon name="plus" /></button>
      </div>
    </>
  );
}
