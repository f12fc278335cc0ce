import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { MapAnswer } from "../api/types";
import { count } from "../format";
import { go } from "../state/place";
import { settings } from "../state/settings";
import { useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { Thumb, thumbPath } from "../ui/thumb";
import { draw } from "./draw";
import { pictureCache } from "./pictures";
import { fit, nearest, zoomed, type Point, type View } from "./projection";
import { usePointers } from "./pointers";

const STEP = 60;
const REACH = 18;
const MOST_STRETCH = 2;

/** The map: drag, pinch and wheel, or keys. What is near the pointer, or with keys the middle, is looked at. */
export function MapCanvas({ map }: { map: MapAnswer }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  // Its axes have no unit: it is as wide as the room for it.
  const stretch = Math.min(MOST_STRETCH, Math.max(1 / MOST_STRETCH, size.width / size.height || 1));
  const points = useMemo(() => map.points.map(([x, y]): Point => [x * stretch, y]), [map, stretch]);
  const whole = useMemo(() => fit(points, size.width, size.height), [points, size]);
  const [view, setView] = useState<View>(whole);
  const [at, setAt] = useState(-1);
  const [byKeys, setByKeys] = useState(false);
  const [drawn, again] = useState(0);
  const theme = useStore(settings, (value) => value.theme);
  const picture = useMemo(() => pictureCache(map.items, () => again((turn) => turn + 1)), [map]);

  useEffect(() => setView(whole), [whole]);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setSize({ width: entry!.contentRect.width, height: entry!.contentRect.height }));
    observer.observe(canvas.current!);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    canvas.current!.width = size.width * devicePixelRatio;
    canvas.current!.height = size.height * devicePixelRatio;
  }, [size]);
  useEffect(() => {
    // A frame may come after the canvas has gone.
    const frame = requestAnimationFrame(() => canvas.current && draw(canvas.current, { points, view, ...size, at, picture, crosshair: byKeys }));
    return () => cancelAnimationFrame(frame);
  }, [view, size, at, byKeys, drawn, theme, points]);

  const limits = [whole.scale * 0.5, whole.scale * 400] as const;
  const zoom = (factor: number, x = size.width / 2, y = size.height / 2) => setView((old) => zoomed(old, factor, x, y, limits));
  const lookAt = (x: number, y: number) => setAt(nearest(points, view, x, y, REACH * 1.5));
  const open = () => at >= 0 && go({ item: map.items[at]! });
  usePointers(canvas, {
    move: (dx, dy) => setView((old) => ({ ...old, x: old.x + dx, y: old.y + dy })),
    zoom,
    hover: (x, y) => (setByKeys(false), lookAt(x, y)),
    press: (x, y) => {
      const found = nearest(points, view, x, y, REACH * 2);
      if (found >= 0) go({ item: map.items[found]! });
    },
  });

  const onKey = (event: KeyboardEvent) => {
    const moves: Record<string, [number, number]> = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
    const [dx, dy] = moves[event.key] ?? [0, 0];
    if (event.key === "Enter") open();
    else if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") setView(whole);
    else if (dx || dy) setView((old) => ({ ...old, x: old.x + dx, y: old.y + dy }));
    else return;
    event.preventDefault();
    setByKeys(true);
  };
  useEffect(() => {
    if (byKeys) setAt(nearest(points, view, size.width / 2, size.height / 2, 60));
  }, [view, byKeys]);

  return (
    <div class="map">
      <canvas ref={canvas} tabIndex={0} role="application" aria-roledescription="map"
        aria-label={`Map of ${count(map.points.length)} pictures: arrows move, plus and minus zoom, 0 shows all, Enter opens the one in the middle`}
        onKeyDown={onKey} />
      <div class="map-tools pair">
        <button class="round" aria-label="Zoom in" onClick={() => zoom(1.6)}><Icon name="plus" /></button>
        <button class="round" aria-label="Zoom out" onClick={() => zoom(1 / 1.6)}><Icon name="minus" /></button>
        <button class="round" aria-label="Show all" onClick={() => setView(whole)}><Icon name="fit" /></button>
      </div>
      {at >= 0 && <Card item={map.items[at]!} x={view.scale * points[at]![0] + view.x} y={view.scale * points[at]![1] + view.y} width={size.width} />}
    </div>
  );
}

const CARD = 180;

function Card({ item, x, y, width }: { item: string; x: number; y: number; width: number }) {
  const left = Math.max(4, Math.min(width - CARD - 4, x - CARD / 2));
  const top = y > CARD + 30 ? y - CARD - 18 : y + 18;
  return (
    <div class="map-card" style={{ left: `${left}px`, top: `${top}px` }} role="status" aria-label={item}>
      <Thumb key={item} path={thumbPath(item, 256)} alt={item} />
    </div>
  );
}
