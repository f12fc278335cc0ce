import { describe, expect, it } from "vitest";
import type { Hit } from "../src/api/types";
import { arranged, bestOf } from "../src/grid/arrange";
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
    expect(shownRatio(null, null)).toBe(1);
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
      ["Fri, 17 May 2024", 2], ["Mon, 1 Apr 2024", 1], ["No date", 1],
    ]);
    expect(blocks(dated, "year", null).map((block) => block.heading!.text)).toEqual(["2024", "No date"]);
  });

  it("of a few pictures each stand side by side, each below its own heading", () => {
    // 300, 200 and 400 wide by turns: the first two days and the third fit in 1000, the long one does not.
    const days = [1, 1, 1, 9, 1, 1].flatMap((many, day) => Array.from({ length: many }, () => `2024-01-${20 - day}T10:00:00`));
    const dated = days.map((day, at) => hit(at, day));
    const { rows } = layout(dated, blocks(dated, "day", null), wish);
    const [first, line, second] = rows;
    expect(first!.type === "heading" && first!.labels.map((label) => label.left)).toEqual([0, 328, 556]);
    expect(line!.type === "line" && [line!.widths, line!.indents]).toEqual([[300, 200, 400], [0, 20, 20]]);
    expect(second!.type === "heading" && second!.labels).toHaveLength(1);
    expect(rows.flatMap((row) => (row.type === "heading" ? row.labels : []))).toHaveLength(6);
    dated.forEach((_, at) => expect(rows[rowOf(rows, at)]!.type).toBe("line"));
    // The third picture lies over what is below it, not the first.
    expect(move(rows, wish.gap, 2, dated.length, "ArrowDown")).toBeGreaterThan(3);
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

describe("the best of what was found", () => {
  const dated = [hit(0, "2024-05-17T10:00:00"), hit(1), hit(2, "2024-06-01T00:00:00"), hit(3, "2023-01-01T00:00:00")];
  const places = (hits: Hit[]) => hits.map((one) => one.id);

  it("are shown by date, those without one last", () => expect(places(arranged(dated, "day"))).toEqual([2, 0, 3, 1]));
  it("are shown by path", () => expect(places(arranged([hit(2), hit(10), hit(1)], "path"))).toEqual([1, 10, 2]));
  it("keep their order where the dates are the same", () => {
    const same = Array.from({ length: 30 }, (_, at) => hit(at, "2024-05-17T10:00:00"));
    expect(places(arranged(same, "date"))).toEqual(places(same));
  });

  it("are as many as are relevant, or as one says", () => {
    expect([bestOf(1000, 37, 0), bestOf(1000, null, 0), bestOf(1000, 0, 0)]).toEqual([37, 200, 200]);
    expect([bestOf(1000, 37, 50), bestOf(60, null, 0), bestOf(60, 37, 1000)]).toEqual([50, 60, 60]);
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
