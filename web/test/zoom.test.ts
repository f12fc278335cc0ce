import { describe, expect, it } from "vitest";
import { held, keyed, nearer, turned, WHOLE } from "../src/lightbox/zoom";

// Elsewhere it is the screen's; here there is none.
globalThis.devicePixelRatio = 1;
const size = { width: 800, height: 600 };

describe("a picture that is looked at closely", () => {
  it("stays within the stage", () => {
    expect(held({ scale: 2, x: 50, y: -9999 }, size)).toEqual({ scale: 2, x: 0, y: -600 });
    expect(held({ scale: 1, x: 50, y: 50 }, size)).toEqual(WHOLE);
  });

  it("comes nearer at the pointer, and never smaller than the stage", () => {
    const near = nearer(WHOLE, 2, 200, 300, size);
    expect([200 * near.scale + near.x, 300 * near.scale + near.y]).toEqual([200, 300]);
    expect(nearer(near, 0.01, 0, 0, size)).toEqual(WHOLE);
  });

  it("turns to its own pixels, and back", () => {
    const near = turned(WHOLE, 400, 300, size, 4000);
    expect(near.scale).toBe(5);
    expect(turned(near, 0, 0, size, 4000)).toEqual(WHOLE);
    expect(turned(WHOLE, 0, 0, size, 300).scale).toBe(2);
  });

  it("is moved by arrows when it is larger than the stage; else they turn the pages", () => {
    expect(keyed(WHOLE, "ArrowRight", size, 4000)).toBeNull();
    expect(keyed({ scale: 2, x: -400, y: -300 }, "ArrowRight", size, 4000)!.x).toBe(-480);
    expect(keyed({ scale: 2, x: -400, y: -300 }, "0", size, 4000)).toEqual(WHOLE);
    expect(keyed(WHOLE, "q", size, 4000)).toBeNull();
  });
});
