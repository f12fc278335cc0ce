import { useEffect, useRef, useState } from "preact/hooks";
import { itemPath } from "../api/client";
import type { Heat as Where, Hit } from "../api/types";
import { Thumb, thumbPath, useAddress } from "../ui/thumb";

// What browsers show by themselves; of anything else the service makes a picture that they can.
const SHOWN = /\.(jpe?g|png|gif|webp|avif|bmp)$/i;
const LARGE = 1024;

/** The picture, as large as there is room: the thumbnail at once, the file itself when it has come. */
export function Stage({ hit, heat }: { hit: Hit; heat: Where | null }) {
  if (hit.kind === "text") return <blockquote class="stage-text">{hit.text}</blockquote>;
  const ratio = hit.width && hit.height ? hit.width / hit.height : 1;
  return (
    <div class="stage-picture" style={{ aspectRatio: `${ratio}`, "--ratio": `${ratio}` }}>
      <Thumb key={hit.item} path={thumbPath(hit.item, LARGE, hit.version)} alt={hit.caption || hit.name} />
      {hit.online && SHOWN.test(hit.name) && <Original key={`${hit.item} whole`} item={hit.item} />}
      {heat && <Heat {...heat} />}
    </div>
  );
}

function Original({ item }: { item: string }) {
  const address = useAddress(itemPath(item, "/original?inline=true"));
  const [there, setThere] = useState(false);
  if (!address || address === "failed") return null;
  return <img class={`original ${there ? "there" : ""}`} src={address} alt="" onLoad={() => setThere(true)} />;
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
