import { describe, expect, it } from "vitest";
import type { Hit } from "../src/api/types";
import { justify, shownRatio } from "../src/grid/justify";
import { move } from "../src/grid/move";
import { blocks, layout, rowOf, visible } from "../src/grid/rows";

const wish = { width: 1000, height: 200, gap: 8 };
const ratios = (count: number) => Array.from({ length: count }, (_, at) => ({ ratio: [1.5, 0.67, 1, 1.78][at % 4]! }));
const hit = (at: number, taken: string | null = null): Hit => ({
  item: `photos:${at}`, library: "photos", id: at, kind: "image", name: `${at}.jpg`, path: `/p/${at}.jpg`,
  score: 1 - at / 1e5, relevance: null, width: [300, 200, 400][at % 3]!, height: 200, size: 1, modified: null,
  taken, camera: null, text: null, caption: null, tags: [], online: true, version: "a",
});

describe("justified lines", () => {
  it("have straight edges, no overlap, and every picture once", () => {
    const { lines, bottom } = justify(ratios(97), wish);
    expect(lines.flatMap((line) => line.widths)).toHaveLength(97);
    for (const line of lines.slice(0, -1)) {
      expect(line.widths.reduce((sum, width) => sum + width, 0) + wish.gap * (line.widths.length - 1)).toBe(1000);
      expect(line.height).toBeGreaterThan(120);
      expect(line.height).toBeLessThan(320);
    }
    lines.reduce((at, line) => (expect(line.top).toBe(at), line.top + line.height + wish.gap), 0);
    expect(bottom).toBe(lines.at(-1)!.top + lines.at(-1)!.height + wish.gap);
  });

  it("do not stretch a last line", () => expect(justify([{ ratio: 1 }], wish).lines[0]!.height).toBe(200));

  it("give a panorama the whole width on a phone", () => {
    const { lines } = justify([{ ratio: 3.2 }, { ratio: 1 }], { width: 360, height: 150, gap: 4 });
    expect(lines[0]!.widths).toEqual([360]);
  });

  it("show neither slivers nor ribbons", () => {
    expect(shownRatio(10_000, 10)).toBe(3.2);
    expect(shownRatio(10, 10_000)).toBe(0.45);
    expect(shownRatio(null, null, true)).toBe(1.5);
  });

  it("are there at once for ten thousand", () => {
    const start = performance.now();
    justify(ratios(10_000), wish);
    expect(performance.now() - start).toBeLessThan(100);
  });
});

describe("rows", () => {
  const hits = Array.from({ length: 10_000 }, (_, at) => hit(at));

  it("are drawn where one looks, and nowhere else", () => {
    const { rows, height } = layout(hits, blocks(hits, "score", null), wish);
    const [first, last] = visible(rows, height / 2, height / 2 + 900);
    expect(last - first).toBeLessThan(10);
    expect(rows[first]!.top + rows[first]!.height).toBeGreaterThan(height / 2);
    expect(visible(rows, height + 10, height + 20)).toEqual([rows.length, rows.length]);
    expect(visible([], 0, 100)).toEqual([0, 0]);
  });

  it("have a line where relevance ends", () => {
    const { rows } = layout(hits.slice(0, 40), blocks(hits.slice(0, 40), "score", 12), wish);
    const at = rows.findIndex((row) => row.type === "heading");
    expect(rows[at - 1]!.last).toBe(12);
    expect(rows[at + 1]!.first).toBe(12);
    expect(blocks(hits.slice(0, 5), "score", 5)).toHaveLength(1);
    expect(blocks(hits.slice(0, 5), "score", 0)[0]!.heading!.isEnd).toBe(true);
  });

  it("are parted by date", () => {
    const dated = [hit(0, "2024-05-17T10:00:00"), hit(1, "2024-05-17T09:00:00"), hit(2, "2024-04-01T00:00:00"), hit(3)];
    const found = blocks(dated, "day", null);
    expect(found.map((block) => [block.heading!.text, block.last - block.first])).toEqual([
      ["Friday, 17 May 2024", 2], ["Monday, 1 April 2024", 1], ["No date", 1],
    ]);
    expect(blocks(dated, "year", null).map((block) => block.heading!.text)).toEqual(["2024", "No date"]);
  });

  it("are told apart where pages are arranged one by one", () => {
    const found = blocks(hits.slice(0, 25), "date", null, 10);
    expect(found.map((block) => [block.first, block.last, block.heading?.text ?? ""])).toEqual([
      [0, 10, ""], [10, 10, "Results 11 to 20 by score"], [10, 20, ""], [20, 20, "Results 21 to 25 by score"], [20, 25, ""],
    ]);
  });

  it("are found by the results in them, headings or not", () => {
    const dated = Array.from({ length: 300 }, (_, at) => hit(at, `2024-01-${String(28 - Math.floor(at / 11)).padStart(2, "0")}T10:00:00`));
    const { rows } = layout(dated, blocks(dated, "day", null), wish);
    dated.forEach((_, at) => {
      const row = rows[rowOf(rows, at)]!;
      expect(row.type === "line" && row.first <= at && at < row.last).toBe(true);
    });
    expect(rowOf(rows, 300)).toBe(-1);
  });
});

describe("keys", () => {
  const hits = Array.from({ length: 60 }, (_, at) => hit(at));
  const { rows } = layout(hits, blocks(hits, "score", 20), wish);
  const go = (index: number, key: string) => move(rows, wish.gap, index, 60, key);

  it("move by one, and stop at the ends", () => {
    expect([go(0, "ArrowLeft"), go(0, "ArrowRight"), go(59, "ArrowRight"), go(7, "Home"), go(7, "End")]).toEqual([0, 1, 59, 0, 59]);
  });

  it("move to the nearest picture below and back over headings", () => {
    const below = go(19, "ArrowDown")!;
    expect(below).toBeGreaterThanOrEqual(20);
    expect(rowOf(rows, go(below, "ArrowUp")!)).toBe(rowOf(rows, 19));
    expect(go(0, "ArrowUp")).toBe(0);
  });

  it("leave other keys alone", () => expect(go(3, "q")).toBeNull());
});
