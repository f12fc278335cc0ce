import type { Hit } from "../api/types";
import { count } from "../format";
import { place } from "../state/place";
import { results } from "../state/results";
import { chooseAll, clearSelection, exportAs, selection } from "../state/selection";
import { may } from "../state/session";
import { useStore } from "../state/store";
import { startTeaching } from "../teach/start";
import { Icon } from "../ui/icon";
import { openMenu, type Choice } from "../ui/menu";
import { copy } from "../ui/said";
import { likeAll, MOST_ALIKE, toBench } from "./actions";
import { downloadAll, stopTaking, taking } from "./takeaway";

/** What can be done with those chosen; at the lower edge while there are any. */
export function SelectionBar() {
  const chosen = useStore(selection, (value) => value.chosen);
  const hits = useStore(results, (value) => value.hits);
  const view = useStore(place, (route) => route.view);
  if (!chosen.size) return null;
  const all = [...chosen.values()];
  const isMore = view === "search" && hits.some((hit) => !chosen.has(hit.item));
  return (
    <div class="selection" role="region" aria-label="Selection">
      <b>{count(chosen.size)} selected</b>
      {isMore && <button class="quiet" onClick={() => chooseAll(hits)}>Select all {count(hits.length)}</button>}
      <span class="selection-acts">
        {all.length <= MOST_ALIKE && <button aria-label="More like these" title="More like these" onClick={() => likeAll(all)}><Icon name="plus" /><span>Like these</span></button>}
        {may("write") && <button aria-label="Teach by these" title="Teach a concept by them" onClick={() => startTeaching(all)}><Icon name="teach" /><span>Teach</span></button>}
        <button aria-label="Compare them" title="A matrix of how alike they are" onClick={() => toBench(all, "matrix")}><Icon name="bench" /><span>Compare</span></button>
        <Download all={all} />
        <button aria-haspopup="menu" aria-label="Export" title="Export" onClick={(event) => openMenu(event.currentTarget, "Export", exportsOf(all))}><Icon name="export" /><span>Export</span></button>
      </span>
      <button class="quiet round" aria-label="Clear the selection" title="Clear the selection" onClick={clearSelection}><Icon name="close" /></button>
    </div>
  );
}

function Download({ all }: { all: readonly Hit[] }) {
  const { done, all: wanted } = useStore(taking, (value) => value);
  if (wanted) return <button title="Stop" onClick={stopTaking}><Icon name="close" /><span class="kept">{count(done)} of {count(wanted)} …</span></button>;
  return <button aria-label="Download them" title="Download them as one zip" onClick={() => void downloadAll(all)}><Icon name="download" /><span>Download</span></button>;
}

const exportsOf = (all: readonly Hit[]): Choice[] => [
  { text: all.length === 1 ? "Copy the path" : "Copy the paths", icon: "copy", act: () => void copy(all.map((hit) => hit.path).join("\n"), all.length === 1 ? "Path" : `${count(all.length)} paths`) },
  { text: "Save as CSV", icon: "download", act: () => exportAs("csv", all) },
  { text: "Save as JSON", icon: "download", act: () => exportAs("json", all) },
];
