import type { Line } from "./justify";
import { rowOf, type Row } from "./rows";

const PAGE = 4;

/** Where a key takes the focus in the grid, as the index of a result; null for a key that moves nothing. */
export function move(rows: readonly Row[], gap: number, index: number, count: number, key: string): number | null {
  const last = count - 1;
  switch (key) {
    case "ArrowLeft": return Math.max(0, index - 1);
    case "ArrowRight": return Math.min(last, index + 1);
    case "ArrowUp": return across(rows, gap, index, -1);
    case "ArrowDown": return across(rows, gap, index, 1);
    case "PageUp": return across(rows, gap, index, -PAGE);
    case "PageDown": return across(rows, gap, index, PAGE);
    case "Home": return 0;
    case "End": return last;
    default: return null;
  }
}

/** The picture below or above whose middle is nearest. */
function across(rows: readonly Row[], gap: number, index: number, lines: number): number {
  let at = rowOf(rows, index);
  const start = rows[at];
  if (start?.type !== "line") return index;
  const wanted = middles(start, gap)[index - start.first]!;
  let target = start;
  for (let left = Math.abs(lines); left > 0; ) {
    at += Math.sign(lines);
    const row = rows[at];
    if (!row) break;
    if (row.type === "line") {
      target = row;
      left--;
    }
  }
  if (target === start) return index;
  const offers = middles(target, gap).map((middle) => Math.abs(middle - wanted));
  return target.first + offers.indexOf(Math.min(...offers));
}

function middles({ widths, indents }: Line, gap: number): number[] {
  let left = 0;
  return widths.map((width, at) => {
    left += indents?.[at] ?? 0;
    const middle = left + width / 2;
    left += width + gap;
    return middle;
  });
}
