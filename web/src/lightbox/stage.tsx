import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { itemPath } from "../api/client";
import type { Heat as Where, Hit } from "../api/types";
import { usePointers } from "../map/pointers";
import type { View } from "../map/projection";
import { Thumb, thumbPath, useAddress } from "../ui/thumb";
import { held, nearer, turned, WHOLE, type Size } from "./zoom";

// What browsers show by themselves; of anything else the service makes a picture that they can.
const SHOWN = /\.(jpe?g|png|gif|webp|avif|bmp)$/i;
export const LARGE = 1024;
const SWIPE = 60;

interface Props {
  hit: Hit;
  heat: Where | null;
  view: View;
  box: RefObject<HTMLDivElement | null>;
  onView: (change: (old: View) => View) => void;
  onStep: (by: number) => void;
}

export const sizeOf = (box: HTMLElement): Size => ({ width: box.clientWidth, height: box.clientHeight });

/** The picture, as large as there is room, or larger: the thumbnail at once, the file itself when it has come. */
export function Stage({ hit, heat, view, box, onView, onStep }: Props) {
  const size = () => sizeOf(box.current!);
  const last = useRef(view);
  last.current = view;
  usePointers(box, {
    move: (dx, dy) => onView((old) => (old.scale > 1 ? held({ ...old, x: old.x + dx, y: old.y + dy }, size()) : old)),
    zoom: (factor, x, y) => onView((old) => nearer(old, factor, x, y, size())),
    press: (x, y) => onView((old) => turned(old, x, y, size(), hit.width)),
    drop: (dx, dy) => last.current.scale === 1 && Math.abs(dx) > SWIPE && Math.abs(dx) > 2 * Math.abs(dy) && onStep(dx > 0 ? -1 : 1),
  });
  const ratio = hit.width && hit.height ? hit.width / hit.height : 1;
  const isWhole = view.scale === WHOLE.scale;
  return (
    <div ref={box} class={`stage-picture ${isWhole ? "" : "near"}`} style={{ aspectRatio: `${ratio}`, "--ratio": `${ratio}` }}>
      <div class="stage-zoom" style={isWhole ? {} : { transform: `translate(${view.x}px, ${view.y}px) scale(${view.scale})` }}>
        <Thumb key={hit.item} path={thumbPath(hit.item, LARGE, hit.version)} alt={hit.caption || hit.name} />
        {hit.online && SHOWN.test(hit.name) && <Original key={`${hit.item} whole`} item={hit.item} />}
        {heat && <Heat {...heat} />}
      </div>
    </div>
  );
}

function Original({ item }: { item: string }) {
  const address = useAddress(itemPath(item, "/original?inline=true"));
  const [there, setThere] = useState(false);
  if (!address || address === "failed") return null;
  return <img class={`original ${there ? "there" : ""}`} src={address} alt="" draggable={false} onLoad={() => setThere(true)} />;
}

/** Bright where the picture speaks for the query; the browser smooths between the patches. */
function Heat({ rows, columns, values, box: [left, top, right, bottom] }: Where) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const pen = canvas.current!.getContext("2d")!;
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const pixels = pen.createImageData(columns, rows);
    values.forEach((value, at) => {
      const share = high > low ? (value - low) / (high - low) : 1;
      pixels.data.set([18, 12, 6, Math.round(180 * (1 - share) ** 1.2)], 4 * at);
    });
    pen.putImageData(pixels, 0, 0);
  }, [values]);
  return <canvas ref={canvas} class="heat" style={{ left: share(left), top: share(top), width: share(right - left), height: share(bottom - top) }} width={columns} height={rows} role="img" aria-label="Where the picture fits the query: bright parts fit best" />;
}

const share = (part: number): string => `${100 * part}%`;
