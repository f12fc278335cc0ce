import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import type { RefObject } from "preact";

export interface Window {
  /** What of the element is to be drawn, in its own coordinates: what is seen and some more on both sides. */
  from: number;
  to: number;
  /** Flying by: too fast for pictures to be worth fetching. */
  fast: boolean;
}

const FAST = 3; // pixels a millisecond
const SETTLE_MS = 120;

/** The part of an element that the window shows, in steps, so that most scrolling draws nothing anew. */
export function useWindow(box: RefObject<HTMLElement | null>, height: number): Window {
  const [shown, setShown] = useState<Window>({ from: 0, to: 2 * innerHeight, fast: false });
  useLayoutEffect(() => {
    let frame = 0;
    let settle = 0;
    let last = { at: scrollY, time: performance.now() };
    const look = (fast: boolean) => {
      frame = 0;
      const top = box.current ? -box.current.getBoundingClientRect().top : 0;
      const step = innerHeight / 4;
      const from = Math.floor((top - innerHeight * 0.75) / step) * step;
      const to = Math.ceil((top + innerHeight * 1.75) / step) * step;
      setShown((old) => (old.from === from && old.to === to && old.fast === fast ? old : { from, to, fast }));
    };
    const scrolled = () => {
      const now = { at: scrollY, time: performance.now() };
      const fast = Math.abs(now.at - last.at) / Math.max(1, now.time - last.time) > FAST;
      last = now;
      clearTimeout(settle);
      settle = setTimeout(() => look(false), SETTLE_MS);
      frame ||= requestAnimationFrame(() => look(fast));
    };
    const resized = () => look(false);
    look(false);
    addEventListener("scroll", scrolled, { passive: true });
    addEventListener("resize", resized);
    return () => {
      removeEventListener("scroll", scrolled);
      removeEventListener("resize", resized);
      cancelAnimationFrame(frame);
      clearTimeout(settle);
    };
  }, [height > 0]);
  return shown;
}

/** The width of an element, kept up to date. */
export function useWidth(box: RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => setWidth(box.current?.clientWidth ?? 0), []);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  return width;
}
