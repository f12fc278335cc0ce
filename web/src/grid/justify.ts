/** Pictures in rows of one width, as in a book: heights near the wish, nothing cropped. Pure arithmetic. */

export interface Box {
  /** width / height */
  ratio: number;
}

export interface Line {
  /** Of the inputs, [first, last). */
  first: number;
  last: number;
  top: number;
  height: number;
  widths: number[];
  /** Room before each picture beside the gap, where a line has several parts. */
  indents?: number[];
}

const NARROWEST = 0.45;
const WIDEST = 3.2;

/** The ratio a picture is shown at: very long ones are cropped so that their neighbours stay visible. */
export const shownRatio = (width: number | null, height: number | null): number =>
  width && height ? Math.min(WIDEST, Math.max(NARROWEST, width / height)) : 1;

export interface Wish {
  width: number;
  height: number;
  gap: number;
}

/** Lines for boxes from `top` down. The last line keeps the wished height instead of being stretched. */
export function justify(boxes: readonly Box[], wish: Wish, top = 0, first = 0): { lines: Line[]; bottom: number } {
  const lines: Line[] = [];
  let start = 0;
  let ratios = 0;
  for (let at = 0; at < boxes.length; at++) {
    ratios += boxes[at]!.ratio;
    const room = wish.width - wish.gap * (at - start);
    if (room / ratios > wish.height && at < boxes.length - 1) continue;
    let last = at + 1;
    // With the picture that is one too many the line is low; without it, high. The nearer one is taken.
    const without = (room + wish.gap) / (ratios - boxes[at]!.ratio);
    if (at > start && room / ratios < wish.height && Math.abs(without - wish.height) < wish.height - room / ratios) last = at;
    const line = fit(boxes, start, last, wish, last === boxes.length);
    lines.push({ ...line, top, first: first + start, last: first + last });
    top += line.height + wish.gap;
    start = last;
    at = last - 1;
    ratios = 0;
  }
  return { lines, bottom: top };
}

function fit(boxes: readonly Box[], start: number, last: number, wish: Wish, isEnd: boolean): { height: number; widths: number[] } {
  const row = boxes.slice(start, last);
  const room = wish.width - wish.gap * (row.length - 1);
  const full = room / row.reduce((sum, box) => sum + box.ratio, 0);
  const height = Math.round(isEnd ? Math.min(full, wish.height) : Math.min(full, 1.9 * wish.height));
  const widths = row.map((box) => Math.floor(height * box.ratio));
  // What rounding left over goes to the last picture, so that the right edge is straight.
  const left = room - widths.reduce((sum, width) => sum + width, 0);
  if (!isEnd || full <= wish.height) widths[widths.length - 1]! += Math.round(left);
  return { height, widths };
}
