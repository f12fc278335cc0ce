import type { Hit } from "../api/types";
import { moment } from "../format";
import { justify, shownRatio, type Box, type Line, type Wish } from "./justify";
import { sideBySide, type Side } from "./side";

/** What the grid draws, from top to bottom: lines of pictures, and headings between them. */
export type Row =
  | ({ type: "line" } & Line)
  // first = last: the result it stands before.
  | { type: "heading"; top: number; height: number; first: number; last: number; labels: Label[]; isEnd: boolean };

/** A heading, and where it stands in its row; no width: to the end. */
export interface Label {
  text: string;
  detail: string;
  left: number;
  width: number | null;
}

export type Arrange = "score" | "date" | "day" | "month" | "year" | "path";

export interface Block {
  heading: { text: string; detail: string; isEnd: boolean } | null;
  first: number;
  last: number;
}

const HEADING = 52;
// Texts are wide and low, on a phone as wide as it is.
const TEXT_RATIO = 2.6;
const TEXT_RATIO_PHONE = 3.6;
export const PHONE = 600;

export function layout(hits: readonly Hit[], blocks: readonly Block[], wish: Wish): { rows: Row[]; height: number } {
  const boxes = hits.map((hit): Box => ({ ratio: hit.kind === "text" ? (wish.width < PHONE ? TEXT_RATIO_PHONE : TEXT_RATIO) : shownRatio(hit.width, hit.height) }));
  const rows: Row[] = [];
  let top = 0;
  for (let at = 0; at < blocks.length; ) {
    const { first, last, heading } = blocks[at]!;
    const side = sideBySide(boxes, blocks, at, wish);
    if (heading) {
      rows.push({ type: "heading", top, height: HEADING, first, last: first, labels: side?.labels ?? [{ ...heading, left: 0, width: null }], isEnd: heading.isEnd });
      top += HEADING;
    }
    const { lines, bottom } = side ? lineOf(side, top, wish) : justify(boxes.slice(first, last), wish, top, first);
    for (const line of lines) rows.push({ type: "line", ...line });
    top = bottom;
    at += side?.labels.length ?? 1;
  }
  return { rows, height: top };
}

const lineOf = ({ line }: Side, top: number, { gap }: Wish): { lines: Line[]; bottom: number } =>
  ({ lines: [{ ...line, top }], bottom: top + line.height + gap });

/** Where results are parted: at days, months or years, or where relevance ends. */
export function blocks(hits: readonly Hit[], arrange: Arrange, relevanceEnds: number | null): Block[] {
  if (arrange === "day" || arrange === "month" || arrange === "year") return byDate(hits, arrange);
  const all = { first: 0, last: hits.length, heading: null };
  if (arrange !== "score" || relevanceEnds === null || relevanceEnds >= hits.length) return hits.length ? [all] : [];
  const text = relevanceEnds ? "What follows is less sure" : "Nothing here is sure to match";
  const detail = relevanceEnds ? "it is only the nearest" : "these are only the nearest";
  const rest = { first: relevanceEnds, last: hits.length, heading: { text, detail, isEnd: true } };
  return relevanceEnds ? [{ ...all, last: relevanceEnds }, rest] : [rest];
}

function byDate(hits: readonly Hit[], by: "day" | "month" | "year"): Block[] {
  const found: Block[] = [];
  let key = "";
  hits.forEach((hit, at) => {
    const text = dateHeading(hit, by);
    const last = found.at(-1);
    if (!last || text !== key) {
      found.push({ first: at, last: at + 1, heading: { text, detail: "", isEnd: false } });
      key = text;
    } else last.last = at + 1;
  });
  for (const block of found) block.heading!.detail = String(block.last - block.first);
  return found;
}

// Made once: to make one takes longer than to use it ten thousand times.
const DATES = {
  day: new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", year: "numeric" }),
  month: new Intl.DateTimeFormat("en-GB", { month: "long", year: "numeric" }),
  year: new Intl.DateTimeFormat("en-GB", { year: "numeric" }),
};

export function dateHeading(hit: Hit, by: keyof typeof DATES): string {
  const date = moment(hit.taken) ?? moment(hit.modified);
  return date ? DATES[by].format(date) : "No date";
}

/** Rows that touch [from, to), as [first, last): found by halving, so ten thousand cost nothing. */
export function visible(rows: readonly Row[], from: number, to: number): [number, number] {
  const first = firstWhere(rows, (row) => row.top + row.height > from);
  const last = firstWhere(rows, (row) => row.top >= to);
  return [first, Math.max(first, last)];
}

function firstWhere(rows: readonly Row[], holds: (row: Row) => boolean): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(rows[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The row that shows a result; -1 for none. */
export function rowOf(rows: readonly Row[], index: number): number {
  const at = firstWhere(rows, (row) => row.last > index);
  return at < rows.length ? at : -1;
}
