import type { Hit } from "../api/types";
import { moment } from "../format";
import type { Arrange } from "./rows";

/** How many of the best are arranged by something else than the score; 0: those that are relevant, if that is known. */
export const BESTS = [50, 200, 1000] as const;
const FIRST = 200;

/** How many of the found results, best first, are to be arranged. */
export function bestOf(found: number, relevanceEnds: number | null, best: number): number {
  return Math.min(found, best || relevanceEnds || FIRST);
}

/** Results in another order than that of their scores: the latest first, or by path. */
export function arranged(hits: readonly Hit[], by: Arrange): Hit[] {
  if (by === "path") return [...hits].sort((one, other) => (one.path < other.path ? -1 : Number(one.path > other.path)));
  const time = new Map(hits.map((hit) => [hit, (moment(hit.taken) ?? moment(hit.modified))?.getTime() ?? -Infinity]));
  // Without a date they come last, as they were.
  return [...hits].sort((one, other) => (time.get(one) === time.get(other) ? 0 : time.get(other)! - time.get(one)!));
}
