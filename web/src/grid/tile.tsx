import type { Hit } from "../api/types";
import { percent, score } from "../format";
import { menuFor, openItem } from "../search/actions";
import { chooseTo, selection, toggle } from "../state/selection";
import { Marks } from "../teach/marks";
import { Icon } from "../ui/icon";
import { openMenu } from "../ui/menu";
import { Thumb, thumbPath } from "../ui/thumb";

interface Props {
  hit: Hit;
  hits: readonly Hit[];
  index: number;
  width: number;
  height: number;
  indent: number;
  isChosen: boolean;
  isCurrent: boolean;
  fast: boolean;
}

/** Pictures that were shown are in the browser's cache; others that only fly by are not worth fetching. */
const seen = new Set<string>();

export function Tile({ hit, hits, index, width, height, indent, isChosen, isCurrent, fast }: Props) {
  const place = { width: `${width}px`, ...(indent ? { marginLeft: `${indent}px` } : {}) };
  const path = thumbPath(hit.item, sizeFor(Math.max(width, height)), hit.version);
  if (fast && !isCurrent && !seen.has(path)) return <div class="tile" role="gridcell" style={place}><span class="tile-open" /></div>;
  seen.add(path);
  const stop = isCurrent ? 0 : -1;
  const choose = (event: MouseEvent) => (event.shiftKey ? chooseTo(hits, index) : toggle(hits, index));
  const isTouch = (event: MouseEvent) => (event as PointerEvent).pointerType === "touch";
  // With a finger one chooses as in other galleries: the first by holding it, others by touching them.
  const chooses = (event: MouseEvent) => event.shiftKey || event.ctrlKey || event.metaKey || (isTouch(event) && selection.get().chosen.size > 0);
  const press = (event: MouseEvent) => (chooses(event) ? choose(event) : openItem(hit));
  const hold = (event: MouseEvent) => isTouch(event) && (event.preventDefault(), toggle(hits, index));
  return (
    <div class={`tile ${isChosen ? "chosen" : ""} ${hit.online ? "" : "offline"}`} role="gridcell" aria-selected={isChosen} style={place}>
      <button class="tile-open" data-tile={index} tabIndex={stop} onClick={press} onContextMenu={hold}>
        {hit.kind === "text" ? <span class="tile-text">{hit.text}</span> : <Thumb key={path} path={path} alt="" />}
        <span class="tile-facts">
          <span class="tile-name">{hit.name}</span>
          {hit.caption && <span class="hidden">{hit.caption}</span>}
          {hit.score !== null && (
            <span class="tile-score">
              <span class="hidden">score </span>{score(hit.score)}
              {hit.relevance !== null && <i><span class="hidden">relevance </span>{percent(hit.relevance)}</i>}
            </span>
          )}
        </span>
      </button>
      <button class="tile-choose" tabIndex={stop} role="checkbox" aria-checked={isChosen} aria-label={`Select ${hit.name}`} onClick={choose}>
        <Icon name="check" />
      </button>
      <button class="tile-more" tabIndex={stop} aria-haspopup="menu" aria-label={`Actions for ${hit.name}`}
        onClick={(event) => openMenu(event.currentTarget, `Actions for ${hit.name}`, menuFor(hit))}>
        <Icon name="more" />
      </button>
      <Marks hit={hit} stop={stop} />
      {!hit.online && <span class="tile-offline">offline</span>}
    </div>
  );
}

const SIZES = [128, 256, 512, 1024];

/** The smallest thumbnail that is sharp on this screen. */
export const sizeFor = (pixels: number): number => SIZES.find((size) => size >= pixels * Math.min(2, devicePixelRatio) * 0.8) ?? 1024;
