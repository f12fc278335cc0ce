import type { Hit } from "../api/types";
import { moment } from "../format";
import { justify, shownRatio, type Line, type Wish } from "./justify";

/** What the grid draws, from top to bottom: lines of pictures, and headings between them. */
export type Row =
  | ({ type: "line" } & Line)
  // first = last: the result it stands before.
  | { type: "heading"; top: number; height: number; first: number; last: number; text: string; detail: string; isEnd: boolean };

export type Arrange = "score" | "date" | "day" | "month" | "year" | "path";

export interface Block {
  heading: { text: string; detail: string; isEnd: boolean } | null;
  first: number;
  last: number;
}

const HEADING = 52;

export function layout(hits: readonly Hit[], blocks: readonly Block[], wish: Wish): { rows: Row[]; height: number } {
  const rows: Row[] = [];
  let top = 0;
  for (const block of blocks) {
    if (block.heading) {
      rows.push({ type: "heading", top, height: HEADING, first: block.first, last: block.first, ...block.heading });
      top += HEADING;
    }
    const boxes = hits.slice(block.first, block.last).map((hit) => ({ ratio: shownRatio(hit.width, hit.height, hit.kind === "text") }));
    const { lines, bottom } = justify(boxes, wish, top, block.first);
    for (const line of lines) rows.push({ type: "line", ...line });
    top = bottom;
  }
  return { rows, height: top };
}

/** Where results are parted: at days, months or years, or where relevance ends. */
export function blocks(hits: readonly Hit[], arrange: Arrange, relevanceEnds: number | null, page = Infinity): Block[] {
  if (hits.length > page) return byPage(hits, arrange, page);
  if (arrange === "day" || arrange === "month" || arrange === "year") return byDate(hits, arrange);
  const all = { first: 0, last: hits.length, heading: null };
  if (arrange !== "score" || relevanceEnds === null || relevanceEnds >= hits.length) return hits.length ? [all] : [];
  const detail = relevanceEnds ? "What follows is only the nearest of the rest" : "Nothing seems to be meant; these are only the nearest";
  const rest = { first: relevanceEnds, last: hits.length, heading: { text: "Relevance ends here", detail, isEnd: true } };
  return relevanceEnds ? [{ ...all, last: relevanceEnds }, rest] : [rest];
}

/** Pages that are arranged one by one are told apart, or dates would seem to begin anew. */
function byPage(hits: readonly Hit[], arrange: Arrange, page: number): Block[] {
  const found: Block[] = [];
  for (let first = 0; first < hits.length; first += page) {
    const text = `Results ${first + 1} to ${Math.min(first + page, hits.length)} by score`;
    if (first) found.push({ first, last: first, heading: { text, detail: "arranged for themselves", isEnd: true } });
    for (const block of blocks(hits.slice(first, first + page), arrange, null)) found.push({ ...block, first: first + block.first, last: first + block.last });
  }
  return found;
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

export function dateHeading(hit: Hit, by: "day" | "month" | "year"): string {
  const date = moment(hit.taken) ?? moment(hit.modified);
  if (!date) return "No date";
  const options: Record<typeof by, Intl.DateTimeFormatOptions> = {
    day: { weekday: "long", day: "numeric", month: "long", year: "numeric" },
    month: { month: "long", year: "numeric" },
    year: { year: "numeric" },
  };
  return date.toLocaleDateString("en-GB", options[by]);
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
