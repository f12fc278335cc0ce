import { count } from "../format";
import type { Arrange } from "../grid/rows";
import { go, place } from "../state/place";
import { isScored, results } from "../state/results";
import { chooseAll, clearSelection, exportAs, selection } from "../state/selection";
import { service } from "../state/session";
import { ROW_HEIGHTS, settings } from "../state/settings";
import { useStore } from "../state/store";
import { addHits } from "../workbench/pictures";
import { Icon } from "../ui/icon";

const ARRANGES: Record<Arrange, string> = {
  score: "Best first", date: "Newest first", day: "By day", month: "By month", year: "By year", path: "By path",
};

export function Toolbar() {
  const route = useStore(place, (value) => value);
  const scored = isScored(route);
  const choices = (Object.keys(ARRANGES) as Arrange[]).filter((one) => scored || one !== "date");
  return (
    <div class="toolbar">
      <Found />
      <span class="spring" />
      <LibraryChoice />
      {scored && (
        <label class="switch">
          <input type="checkbox" checked={route.relevant} onChange={(event) => go({ relevant: event.currentTarget.checked })} />
          Only relevant
        </label>
      )}
      <label>
        <span class="hidden">Arrange</span>
        <select value={route.arrange} onChange={(event) => go({ arrange: event.currentTarget.value as Arrange })}>
          {choices.map((one) => <option key={one} value={one}>{!scored && one === "score" ? "Newest first" : ARRANGES[one]}</option>)}
        </select>
      </label>
      <Sizes />
    </div>
  );
}

function Found() {
  const { hits, state, took, relevanceEnds } = useStore(results, (value) => value);
  const route = useStore(place, (value) => value);
  if (!hits.length) return <p class="found soft" />;
  const relevant = isScored(route) && relevanceEnds !== null ? `${count(Math.min(relevanceEnds, hits.length))} relevant of ` : "";
  const more = state === "all" ? "" : "+";
  return <p class="found"><b>{relevant}{count(hits.length)}{more}</b> <span class="soft">in {took < 10 ? took.toFixed(1) : Math.round(took)} ms</span></p>;
}

/** Which libraries are searched: all, or those ticked. */
function LibraryChoice() {
  const libraries = useStore(service, (value) => value.libraries) ?? [];
  const chosen = useStore(place, (route) => route.libraries);
  if (libraries.length < 2) return null;
  const turn = (name: string, on: boolean) => go({ libraries: on ? [...chosen, name] : chosen.filter((one) => one !== name) });
  return (
    <details class="drop" onKeyDown={(event) => event.key === "Escape" && (event.currentTarget.open = false, event.currentTarget.querySelector("summary")!.focus())}
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

function Sizes() {
  const size = useStore(settings, (value) => value.size);
  const change = (by: number) => settings.set({ size: size + by });
  return (
    <div class="pair" role="group" aria-label="Size of the pictures">
      <button class="quiet round" aria-label="Smaller pictures" disabled={size === 0} onClick={() => change(-1)}><Icon name="minus" /></button>
      <button class="quiet round" aria-label="Larger pictures" disabled={size === ROW_HEIGHTS.length - 1} onClick={() => change(1)}><Icon name="plus" /></button>
    </div>
  );
}

/** What can be done with those chosen; at the lower edge while there are any. */
export function SelectionBar() {
  const chosen = useStore(selection, (value) => value.chosen);
  const hits = useStore(results, (value) => value.hits);
  const view = useStore(place, (route) => route.view);
  if (!chosen.size) return null;
  const all = [...chosen.values()];
  return (
    <div class="selection" role="region" aria-label="Selection">
      <b>{count(chosen.size)} selected</b>
      {view === "search" && hits.length > 0 && <button class="quiet" onClick={() => chooseAll(hits)}>Select all {count(hits.length)}</button>}
      <button onClick={() => exportAs("json", all)}>JSON</button>
      <button onClick={() => exportAs("csv", all)}>CSV</button>
      <button class="quiet" onClick={() => (addHits(all), go({ view: "workbench", name: "matrix" }))}>Compare</button>
      <button class="quiet round" aria-label="Clear the selection" onClick={clearSelection}><Icon name="close" /></button>
    </div>
  );
}
