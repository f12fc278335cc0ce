import { describe, expect, it } from "vitest";
import type { Job } from "../src/api/types";
import { worksOf } from "../src/libraries/work";
import { archive, crc32, unlike } from "../src/state/zip";

const bytes = (text: string) => new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;

describe("an archive", () => {
  it("has the checksum that everybody knows", () => expect(crc32(bytes("123456789"))).toBe(0xcbf43926));

  it("tells files of one name apart", () => {
    const taken = new Set<string>();
    expect(["a.jpg", "A.jpg", "a.jpg", "b", "b", ".rc"].map((name) => unlike(name, taken))).toEqual(["a.jpg", "A (2).jpg", "a (3).jpg", "b", "b (2)", ".rc"]);
  });

  it("has a local part and a line in the index for each file", async () => {
    const all = archive();
    all.add({ name: "grün.txt", data: bytes("one"), time: new Date(2024, 4, 17, 10, 20, 30) });
    all.add({ name: "two.txt", data: bytes("second"), time: new Date(2024, 4, 17) });
    const data = new DataView(await all.end().arrayBuffer());
    const end = data.byteLength - 22;
    expect(data.getUint32(end, true)).toBe(0x06054b50);
    expect(data.getUint16(end + 10, true)).toBe(2);
    const index = data.getUint32(end + 16, true);
    expect(data.getUint32(index, true)).toBe(0x02014b50);
    // The second local part lies where the index says, after 30 bytes, a name of 9 and 3 of content.
    const second = index + 46 + data.getUint16(index + 28, true);
    expect(data.getUint32(second + 42, true)).toBe(30 + 9 + 3);
    expect(data.getUint32(30 + 9 + 3, true)).toBe(0x04034b50);
    expect(data.getUint32(index + 16, true)).toBe(crc32(bytes("one")));
  });
});

describe("jobs", () => {
  const job = (id: string, change: Partial<Job> = {}): Job => ({
    id, library: "trip", kind: "upload", state: "done", done: 100, total: 100, failed: 0, failures: [], started: 0, ended: 10, ...change,
  });

  it("of one upload are one piece of work", () => {
    const failures = [{ name: "a", reason: "b" }];
    const [work, ...others] = worksOf([job("c", { started: 25, ended: 30, done: 40, total: 40 }), job("b", { started: 12, ended: 24, failures, failed: 1 }), job("a")]);
    expect(others).toEqual([]);
    expect(work).toMatchObject({ ids: ["c", "b", "a"], done: 240, total: 240, failed: 1, failures, took: 27 });
  });

  it("are told apart by what they are, how they end, and when", () => {
    const works = worksOf([job("e", { started: 9900, state: "failed" }), job("d", { started: 9500, state: "running", ended: null }), job("c", { started: 9000, ended: 9001 }), job("b"), job("a", { kind: "folder" })]);
    expect(works.map((work) => work.ids)).toEqual([["e"], ["d"], ["c"], ["b"], ["a"]]);
  });

  it("of an upload that goes on are counted with those that are done", () => {
    const waiting = { state: "waiting", done: 0, total: 0, started: null, ended: null } as const;
    const [work, ...others] = worksOf([job("d", waiting), job("c", waiting), job("b", { state: "running", started: 11, done: 7, ended: null }), job("a")]);
    expect(others).toEqual([]);
    expect(work).toMatchObject({ state: "running", done: 107, total: 200, untold: 2, took: null });
    expect(worksOf([job("d", waiting), job("a")])[0]!.state).toBe("running");
  });
});
