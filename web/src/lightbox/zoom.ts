import { zoomed, type View } from "../map/projection";

/** The whole picture, as it fits the stage. */
export const WHOLE: View = { scale: 1, x: 0, y: 0 };
const MOST = 12;
const STEP = 80;

export interface Size {
  width: number;
  height: number;
}

/** No further than its edges: a picture never leaves the stage. */
export function held({ scale, x, y }: View, { width, height }: Size): View {
  const within = (at: number, side: number) => Math.min(0, Math.max(side * (1 - scale), at));
  return { scale, x: within(x, width), y: within(y, height) };
}

export const nearer = (view: View, factor: number, x: number, y: number, size: Size): View =>
  held(zoomed(view, factor, x, y, [1, MOST]), size);

/** Between the whole picture and its own pixels, or twice as large where those are fewer. */
export function turned(view: View, x: number, y: number, size: Size, pixels: number | null): View {
  if (view.scale > 1) return WHOLE;
  return nearer(view, Math.max(2, (pixels ?? 0) / (size.width * devicePixelRatio || 1)), x, y, size);
}

/** What a key does to the view; null for nothing. Arrows move what is larger than the stage. */
export function keyed(view: View, key: string, size: Size, pixels: number | null): View | null {
  const [x, y] = [size.width / 2, size.height / 2];
  const moves: Record<string, [number, number]> = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
  const [dx, dy] = moves[key] ?? [0, 0];
  if (key === "z") return turned(view, x, y, size, pixels);
  if (key === "+" || key === "=") return nearer(view, 1.5, x, y, size);
  if (key === "-") return nearer(view, 1 / 1.5, x, y, size);
  if (key === "0") return WHOLE;
  return view.scale > 1 && (dx || dy) ? held({ ...view, x: view.x + dx, y: view.y + dy }, size) : null;
}
