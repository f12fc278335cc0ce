import type { Point, View } from "./projection";

/**
 * Which points are shown as pictures, so that they can be told apart: of each cell of a grid the one nearest to its middle.
 * The grid lies in the map, not on the screen, and changes by doubling: moving the map changes nothing, coming closer little.
 * cell: at most so many pixels; at least half.
 */
export function spread(points: readonly Point[], seen: readonly number[], view: View, cell: number): number[] {
  const side = 2 ** Math.floor(Math.log2(cell / view.scale));
  const best = new Map<string, { at: number; far: number }>();
  for (const at of seen) {
    const [x, y] = points[at]!;
    const [column, row] = [Math.floor(x / side), Math.floor(y / side)];
    const far = (x / side - column - 0.5) ** 2 + (y / side - row - 0.5) ** 2;
    const key = `${column} ${row}`;
    const old = best.get(key);
    if (!old || far < old.far) best.set(key, { at, far });
  }
  return [...best.values()].map(({ at }) => at);
}
