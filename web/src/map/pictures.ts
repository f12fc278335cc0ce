import { addressOf, thumbPath } from "../ui/thumb";

const SIZE = 128;
const MOST = 1500;

/** Small pictures for the canvas, fetched when first asked for. ready: called when some have come. */
export function pictureCache(items: readonly string[], ready: () => void): (index: number) => HTMLImageElement | null {
  const known = new Map<number, HTMLImageElement>();
  let told = 0;
  const tell = () => {
    told ||= requestAnimationFrame(() => ((told = 0), ready()));
  };
  return (index) => {
    const image = known.get(index);
    if (image) return image;
    if (known.size >= MOST) known.delete(known.keys().next().value!);
    const fresh = new Image();
    known.set(index, fresh);
    fresh.onload = tell;
    void addressOf(thumbPath(items[index]!, SIZE)).then((address) => (fresh.src = address), () => undefined);
    return fresh;
  };
}
