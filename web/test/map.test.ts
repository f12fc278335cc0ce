import { describe, expect, it } from "vitest";
import { batches } from "../src/libraries/batches";
import { fit, inside, nearest, zoomed, type Point } from "../src/map/projection";
import { spread } from "../src/map/spread";
import { lines } from "../src/workbench/lines";

const points: Point[] = [[-1, -1], [1, 1], [0, 0.5]];

describe("the map", () => {
  const view = fit(points, 800, 600);
  const onScreen = ([x, y]: Point) => [view.scale * x + view.x, view.scale * y + view.y] as const;

  it("shows all points within its margins", () => {
    for (const [x, y] of points.map(onScreen)) {
      expect(x).toBeGreaterThan(27);
      expect(y).toBeGreaterThan(27);
      expect(x).toBeLessThan(773);
      expect(y).toBeLessThan(573);
    }
  });

  it("shows one point, and none", () => {
    expect(fit([[3, 3]], 100, 100).scale).toBeGreaterThan(0);
    expect(fit([], 100, 100)).toEqual({ scale: 1, x: 0, y: 0 });
  });

  it("keeps what is under the pointer in place", () => {
    const near = zoomed(view, 3, 200, 100, [1, 1e6]);
    const before = [(200 - view.x) / view.scale, (100 - view.y) / view.scale];
    const after = [(200 - near.x) / near.scale, (100 - near.y) / near.scale];
    after.forEach((value, at) => expect(value).toBeCloseTo(before[at]!, 9));
    expect(zoomed(view, 1e9, 0, 0, [1, 5]).scale).toBe(5);
  });

  it("finds the nearest point within reach", () => {
    const [x, y] = onScreen(points[2]!);
    expect(nearest(points, view, x + 4, y, 10)).toBe(2);
    expect(nearest(points, view, x + 40, y, 10)).toBe(-1);
  });

  it("knows what is in sight", () => {
    expect(inside(points, view, 800, 600)).toEqual([0, 1, 2]);
    expect(inside(points, { ...view, x: view.x + 300 }, 800, 600)).toEqual([0, 2]);
  });

  it("shows as pictures only what can be told apart, the same ones wherever the map is moved", () => {
    const many = Array.from({ length: 400 }, (_, at): Point => [Math.sin(at * 12.9898), Math.cos(at * 78.233)]);
    const all = many.map((_, at) => at);
    const whole = fit(many, 800, 600);
    const shown = spread(many, all, whole, 108);
    expect(shown.length).toBeGreaterThan(20);
    expect(shown.length).toBeLessThan((800 / 54) * (600 / 54));
    expect(spread(many, all, { ...whole, x: whole.x + 33, y: whole.y - 70 }, 108)).toEqual(shown);
    expect(spread(many, all, { ...whole, scale: whole.scale * 50 }, 108).length).toBeGreaterThan(390);
  });
});

describe("batches of an upload", () => {
  const sizes = (found: { size: number }[][]) => found.map((batch) => batch.length);
  it("are cut by number and by bytes", () => {
    expect(sizes(batches(Array.from({ length: 250 }, () => ({ size: 10 }))))).toEqual([100, 100, 50]);
    expect(sizes(batches([{ size: 150e6 }, { size: 60e6 }, { size: 900e6 }, { size: 1 }]))).toEqual([1, 1, 1, 1]);
    expect(batches([])).toEqual([]);
  });
});

describe("lines of a field", () => {
  it("are trimmed, and each counts once", () => expect(lines(" a \n\nb\na")).toEqual(["a", "b"]));
});
