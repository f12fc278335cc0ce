import type { Box, Line, Wish } from "./justify";
import type { Block, Label } from "./rows";

export interface Side {
  line: Line;
  labels: Label[];
}

const APART = 28;
// A heading needs so much room, however few pictures it has.
const NARROWEST = 178;

/** Small blocks with headings, as many as fit, in one line, each below its own heading; null where that is one at most. */
export function sideBySide(boxes: readonly Box[], blocks: readonly Block[], at: number, { width, height, gap }: Wish): Side | null {
  const widths: number[] = [];
  const indents: number[] = [];
  const labels: Label[] = [];
  const first = blocks[at]!.first;
  // left: where the next block may begin. end: of the last picture, with the gap after it.
  for (let [left, end, next] = [0, 0, at]; next < blocks.length; next++) {
    const { heading, first: from, last } = blocks[next]!;
    if (!heading || heading.isEnd) break;
    const own = boxes.slice(from, last).map(({ ratio }) => Math.floor(height * ratio));
    const whole = own.reduce((sum, one) => sum + one + gap, -gap);
    const room = Math.max(NARROWEST, whole);
    if (left + room > width) break;
    labels.push({ text: heading.text, detail: heading.detail, left, width: room });
    own.forEach((one, place) => (widths.push(one), indents.push(place ? 0 : left - end)));
    end = left + whole + gap;
    left += room + APART;
  }
  if (labels.length < 2) return null;
  return { line: { first, last: first + widths.length, top: 0, height: Math.round(height), widths, indents }, labels };
}
