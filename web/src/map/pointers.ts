import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";

export interface Gestures {
  move: (dx: number, dy: number) => void;
  zoom: (factor: number, x: number, y: number) => void;
  hover?: (x: number, y: number) => void;
  press: (x: number, y: number) => void;
  /** A drag with one pointer has ended, this far from where it began. */
  drop?: (dx: number, dy: number) => void;
}

const SLOP = 5;

/** Drag, pinch, wheel, hover and press on an element, in its own coordinates. */
export function usePointers(target: RefObject<HTMLElement | null>, gestures: Gestures): void {
  const latest = useRef(gestures);
  latest.current = gestures;
  useEffect(() => {
    const element = target.current!;
    const held = new Map<number, { x: number; y: number }>();
    let moved = 0;
    let began = { x: 0, y: 0 };
    const placeOf = (event: MouseEvent) => {
      const box = element.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    const down = (event: PointerEvent) => {
      if (event.button) return;
      element.setPointerCapture(event.pointerId);
      held.set(event.pointerId, placeOf(event));
      if (held.size > 1) began = { x: NaN, y: NaN };
      else [moved, began] = [0, placeOf(event)];
    };
    const move = (event: PointerEvent) => {
      const now = placeOf(event);
      const before = held.get(event.pointerId);
      if (!before) return latest.current.hover?.(now.x, now.y);
      moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
      const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
      held.set(event.pointerId, now);
      if (!other) return moved > SLOP ? latest.current.move(now.x - before.x, now.y - before.y) : undefined;
      const apart = (one: { x: number; y: number }) => Math.hypot(one.x - other.x, one.y - other.y) || 1;
      latest.current.zoom(apart(now) / apart(before), (now.x + other.x) / 2, (now.y + other.y) / 2);
    };
    const up = (event: PointerEvent) => {
      const place = placeOf(event);
      if (!held.delete(event.pointerId) || held.size) return;
      if (moved <= SLOP) latest.current.press(place.x, place.y);
      else if (!Number.isNaN(began.x)) latest.current.drop?.(place.x - began.x, place.y - began.y);
    };
    const cancel = (event: PointerEvent) => held.delete(event.pointerId);
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      const { x, y } = placeOf(event);
      latest.current.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), x, y);
    };
    const all = { pointerdown: down, pointermove: move, pointerup: up, pointercancel: cancel, wheel } as Record<string, unknown>;
    for (const [name, act] of Object.entries(all)) element.addEventListener(name, act as EventListener, { passive: false });
    return () => {
      for (const [name, act] of Object.entries(all)) element.removeEventListener(name, act as EventListener);
    };
  }, []);
}
