import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Hit } from "../api/types";
import { selection, chooseAll, chooseTo, toggle } from "../state/selection";
import { ROW_HEIGHTS, settings } from "../state/settings";
import { useStore } from "../state/store";
import { likeActions, openItem } from "../search/actions";
import { markedByKey } from "../teach/marks";
import { shownGrid } from "./focus";
import { move } from "./move";
import { Now } from "./now";
import { layout, PHONE, rowOf, visible, type Block, type Row } from "./rows";
import { useWidth, useWindow } from "./scroll";
import { Tile } from "./tile";

// Of the height that pictures have.
const TEXT_HEIGHT = 0.6;

interface Props {
  hits: readonly Hit[];
  blocks: readonly Block[];
  label: string;
  /** Called when the end comes near. */
  onEnd: () => void;
}

/** Results as a grid of justified lines. Only what the window shows is in the page. */
export function Grid({ hits, blocks, label, onEnd }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box);
  const size = useStore(settings, (value) => value.size);
  const chosen = useStore(selection, (value) => value.chosen);
  const [current, setCurrent] = useState(0);
  const gap = width < PHONE ? 4 : 8;
  const isText = hits[0]?.kind === "text";
  const wish = (ROW_HEIGHTS[size] ?? 220) * (isText ? TEXT_HEIGHT : 1);
  const { rows, height } = useMemo(
    () => (width ? layout(hits, blocks, { width, height: wish, gap }) : { rows: [], height: 0 }),
    [hits, blocks, width, wish, gap],
  );
  const shown = useWindow(box, height);
  const [first, last] = visible(rows, shown.from, shown.to);
  const focused = Math.min(current, hits.length - 1);

  useEffect(() => {
    if (last >= rows.length && rows.length) onEnd();
  }, [last, rows]);

  const focusOn = (index: number) => {
    const row = rows[rowOf(rows, index)];
    if (!row || !box.current) return;
    setCurrent(index);
    bringIntoView(box.current, row);
    const focusTile = () => {
      const tile = box.current?.querySelector<HTMLElement>(`[data-tile="${index}"]`);
      tile?.focus({ preventScroll: true });
      return tile;
    };
    // At once, so that the next key finds it; or when it has been drawn.
    if (!focusTile()) afterDrawing(focusTile);
  };
  useEffect(() => {
    shownGrid.focusOn = focusOn;
    return () => void (shownGrid.focusOn = null);
  });
  const onKey = (event: KeyboardEvent) => {
    const at = tileOf(event.target);
    if (at === null || (event.target as HTMLElement).closest("[role=menu]")) return;
    if (acted(event, hits, at)) return void event.preventDefault();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = move(rows, gap, at, hits.length, event.key);
    if (target === null) return;
    event.preventDefault();
    if (event.shiftKey) chooseTo(hits, target);
    focusOn(target);
  };

  const drawn = rowsWithFocus(rows, first, last, focused);
  return (
    <div
      ref={box}
      class={`grid ${chosen.size ? "choosing" : ""}`}
      role="grid"
      aria-label={label}
      aria-multiselectable="true"
      aria-rowcount={rows.length}
      style={{ height: `${height}px` }}
      onKeyDown={onKey}
      onFocusIn={(event) => {
        const at = tileOf(event.target);
        if (at !== null) setCurrent(at);
      }}
    >
      <Now box={box} rows={rows} />
      {drawn.map((at) => (
        <GridRow key={at} row={rows[at]!} at={at} gap={gap} hits={hits} chosen={chosen} focused={focused} fast={shown.fast} />
      ))}
    </div>
  );
}

interface RowProps {
  row: Row;
  at: number;
  gap: number;
  hits: readonly Hit[];
  chosen: ReadonlyMap<string, Hit>;
  focused: number;
  fast: boolean;
}

function GridRow({ row, at, gap, hits, chosen, focused, fast }: RowProps) {
  const style = { transform: `translateY(${row.top}px)`, height: `${row.height}px` };
  if (row.type === "heading") {
    return (
      <div class={`grid-heading ${row.isEnd ? "ends" : ""}`} role="row" aria-rowindex={at + 1} style={style}>
        {row.labels.map(({ text, detail, left, width }) => (
          <div key={left} role="gridcell" style={width === null ? {} : { position: "absolute", left: `${left}px`, width: `${width}px` }}><h2>{text}</h2> <span class="soft">{detail}</span></div>
        ))}
      </div>
    );
  }
  return (
    <div class="grid-row" role="row" aria-rowindex={at + 1} style={{ ...style, gap: `${gap}px` }}>
      {row.widths.map((width, column) => {
        const index = row.first + column;
        const hit = hits[index];
        return hit && (
          <Tile key={hit.item} hit={hit} hits={hits} index={index} width={width} height={row.height} indent={row.indents?.[column] ?? 0}
            isChosen={chosen.has(hit.item)} isCurrent={index === focused} fast={fast} />
        );
      })}
    </div>
  );
}

/** The rows to draw; the one with the focus stays, or the focus would be lost by scrolling. */
function rowsWithFocus(rows: readonly Row[], first: number, last: number, focused: number): number[] {
  const drawn = Array.from({ length: last - first }, (_, at) => first + at);
  const own = rowOf(rows, focused);
  return own < 0 || (first <= own && own < last) ? drawn : own < first ? [own, ...drawn] : [...drawn, own];
}

function acted(event: KeyboardEvent, hits: readonly Hit[], at: number): boolean {
  const hit = hits[at]!;
  const isTile = (event.target as HTMLElement).dataset["tile"] !== undefined;
  if ((event.ctrlKey || event.metaKey) && event.key === "a") return chooseAll(hits), true;
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  if (event.key === "Enter" && isTile) return openItem(hit), true;
  if (event.key === "x" || (event.key === " " && isTile)) return toggle(hits, at), true;
  if (markedByKey(event.key, hit)) return true;
  const like = likeActions(hit).find((one) => one.key === event.key);
  like?.act();
  return like !== undefined;
}

function tileOf(target: EventTarget | null): number | null {
  const tile = (target as HTMLElement | null)?.closest?.("[role=gridcell]")?.querySelector<HTMLElement>("[data-tile]");
  return tile ? Number(tile.dataset["tile"]) : null;
}

const afterDrawing = (act: () => unknown): void => void requestAnimationFrame(() => requestAnimationFrame(act));

function bringIntoView(box: HTMLElement, row: Row): void {
  const top = box.getBoundingClientRect().top + row.top;
  const header = (document.querySelector<HTMLElement>(".top")?.offsetHeight ?? 0) + 12;
  if (top < header) scrollBy(0, top - header);
  else if (top + row.height > innerHeight - 24) scrollBy(0, top + row.height - innerHeight + 24);
}
