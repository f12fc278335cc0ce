import { describe, expect, it } from "vitest";
import { HOME, readRoute, writeRoute, type Route } from "../src/state/route";

describe("an address", () => {
  const far: Route = {
    view: "search", name: "", query: 'dogs & cats -"wet fur" ~photos:3', libraries: ["a b", "c,d"], arrange: "month",
    best: 50, relevant: true, pictures: ["x-1", "x-2"], teach: "my dog", item: "a b:12",
  };

  it("holds all of a place", () => {
    expect(readRoute(writeRoute(far))).toEqual(far);
    expect(readRoute(writeRoute({ ...HOME, view: "libraries", name: "a/b %" })).name).toBe("a/b %");
  });

  it("is short at home", () => expect(writeRoute(HOME)).toBe("#/search"));

  it("that says nonsense leads home", () => {
    expect(readRoute("#/nowhere/%E0%A4%A?arrange=sideways")).toEqual({ ...HOME, name: "%E0%A4%A" });
    expect(readRoute("")).toEqual(HOME);
  });
});
