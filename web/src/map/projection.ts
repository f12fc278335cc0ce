/** Where points of the map lie on the screen. Pure arithmetic. */

export type Point = readonly [number, number];

/** screen = scale · point + (x, y) */
export interface View {
  scale: number;
  x: number;
  y: number;
}

const MARGIN = 28;

/** All points, as large as they fit. */
export function fit(points: readonly Point[], width: number, height: number): View {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  }
  if (!points.length) return { scale: 1, x: 0, y: 0 };
  const scale = Math.min((width - 2 * MARGIN) / (right - left || 1), (height - 2 * MARGIN) / (bottom - top || 1));
  return { scale, x: width / 2 - (scale * (left + right)) / 2, y: height / 2 - (scale * (top + bottom)) / 2 };
}

/** Larger or smaller, with what is at (x, y) staying there. */
export function zoomed(view: View, factor: number, x: number, y: number, [least, most]: readonly [number, number]): View {
  const scale = Math.min(most, Math.max(least, view.scale * factor));
  const by = scale / view.scale;
  return { scale, x: x - by * (x - view.x), y: y - by * (y - view.y) };
}

/** The point nearest to a place on the screen, if it is within a distance; -1 for none. */
export function nearest(points: readonly Point[], view: View, x: number, y: number, within: number): number {
  let best = -1;
  let least = within * within;
  points.forEach((point, at) => {
    const dx = view.scale * point[0] + view.x - x;
    const dy = view.scale * point[1] + view.y - y;
    const distance = dx * dx + dy * dy;
    if (distance < least) [best, least] = [at, distance];
  });
  return best;
}

/** Points that the screen shows, or nearly. */
export function inside(points: readonly Point[], view: View, width: number, height: number): number[] {
  const found: number[] = [];
  for (let at = 0; at < points.length; at++) {
    const x = view.scale * points[at]![0] + view.x;
    const y = view.scale * points[at]![1] + view.y;
    if (x > -40 && y > -40 && x < width + 40 && y < height + 40) found.push(at);
  }
  return found;
}
