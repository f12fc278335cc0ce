import { describe, expect, it } from "vitest";
import { eventReader } from "../src/api/sse";
import { bytes, csv, counted, duration, folder, moment, percent } from "../src/format";

describe("formatting", () => {
  it("counts bytes by thousands", () => {
    expect([0, 999, 1000, 1_500_000, 23_400_000].map(bytes)).toEqual(["0 B", "999 B", "1.0 kB", "1.5 MB", "23 MB"]);
  });
  it("counts things", () => expect([counted(1, "picture"), counted(2000, "picture")]).toEqual(["1 picture", "2,000 pictures"]));
  it("tells shares", () => expect([0, 0.0004, 0.05, 0.937].map(percent)).toEqual(["0.0 %", "< 0.1 %", "5.0 %", "94 %"]));
  it("tells durations", () => expect([0.3, 4, 200, 7500].map(duration)).toEqual(["less than 1 s", "4 s", "3 min 20 s", "2 h 5 min"]));
  it("reads moments in every form", () => {
    expect(moment("2023-05-17 10:20:30")!.getHours()).toBe(10);
    expect(moment(0)!.getTime()).toBe(0);
    expect([moment(null), moment(""), moment("never")]).toEqual([null, null, null]);
  });
  it("shortens folders in the middle", () => {
    expect(folder("/a/b/c.jpg")).toBe("/a/b");
    expect(folder(`/${"x".repeat(100)}/c.jpg`, 21)).toHaveLength(21);
  });
});

describe("CSV", () => {
  it("quotes what needs it and runs nothing", () => {
    const rows = [{ name: 'a "b", c', tags: ["x", "y"], score: -0.5, text: "=1+1" }];
    expect(csv(rows, ["name", "tags", "score", "text"])).toBe('name,tags,score,text\r\n"a ""b"", c",x; y,-0.5,\'=1+1\r\n');
  });
});

describe("a stream of events", () => {
  it("is read however it is cut", () => {
    const text = 'event: progress\ndata: {"done":1}\n\n: still here\n\nevent: done\r\ndata: a\r\ndata: b\r\n\r\n';
    const read = eventReader();
    const events = [...text].flatMap((character) => read(character));
    expect(events).toEqual([{ event: "progress", data: '{"done":1}' }, { event: "done", data: "a\nb" }]);
  });
});
