import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { Row } from "./rows";

// What it takes itself: it lies over no other heading.
const ROOM = 40;

/** Says at the upper edge under which heading one is, while the heading itself is out of sight. */
export function Now({ box, rows }: { box: RefObject<HTMLElement | null>; rows: readonly Row[] }) {
  const own = useRef<HTMLParagraphElement>(null);
  const [text, setText] = useState("");
  useEffect(() => {
    const headings = rows.filter((row) => row.type === "heading" && !row.isEnd);
    let frame = 0;
    const look = () => {
      frame = 0;
      const edge = document.querySelector<HTMLElement>(".top")?.offsetHeight ?? 0;
      const seen = edge - (box.current?.getBoundingClientRect().top ?? 0);
      const last = headings.findLast((row) => row.top + row.height < seen);
      const isNext = headings.some((row) => row.top < seen + ROOM && row.top + row.height > seen);
      if (own.current) own.current.style.top = `${edge}px`;
      setText(last?.type === "heading" && !isNext ? last.labels[0]!.text : "");
    };
    const scrolled = () => void (frame ||= requestAnimationFrame(look));
    look();
    if (!headings.length) return;
    addEventListener("scroll", scrolled, { passive: true });
    return () => (removeEventListener("scroll", scrolled), cancelAnimationFrame(frame));
  }, [rows]);
  return <p ref={own} class="grid-now" aria-hidden="true" hidden={!text}><span>{text}</span></p>;
}
