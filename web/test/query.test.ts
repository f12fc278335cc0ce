import { describe, expect, it } from "vitest";
import { apply, complete, merged } from "../src/query/complete";
import { hasTerms, isPlain, join, lift, split, spoken, wantsSomething, weightOf, withItem, withWeight } from "../src/query/edit";
import { conceptQuery, parse } from "../src/query/parse";

const kinds = (text: string) => parse(text).map((part) => `${part.kind} ${part.value}`);

describe("a query", () => {
  it("is read as the service reads it", () => {
    expect(kinds('two dogs -people 1.5*"wet fur" ~photos:12 after:2023-05 -ext:heic')).toEqual([
      "word two", "word dogs", "phrase people", "phrase wet fur", "picture photos:12", "filter 2023-05", "filter heic",
    ]);
  });

  it("knows weights, and what is pushed away", () => {
    const [part] = parse('-0.2*"wet fur"');
    expect(part).toMatchObject({ kind: "phrase", away: true, weight: 0.2, value: "wet fur" });
  });

  it("takes backslashes, dashes within words and unknown names for ordinary characters", () => {
    expect(kinds("\\-people black-and-white 10:30 - note\\:this")).toEqual([
      "word -people", "word black-and-white", "word 10:30", "word -", "word note:this",
    ]);
  });

  it("is not whole while quotes are open or a value is missing", () => {
    expect(parse('"wet fu').at(0)!.whole).toBe(false);
    expect(parse("after:").at(0)!.whole).toBe(false);
    expect(parse("relevant:").at(0)!.whole).toBe(true);
  });

  it("keeps quotes and backslashes within quotes", () => {
    expect(parse('path:"a \\"b\\" \\\\c/*"').at(0)!.value).toBe('a "b" \\c/*');
  });
});

describe("a concept", () => {
  it("is looked for, and so its results have scores", () => {
    expect(hasTerms("concept:dog")).toBe(true);
    expect(hasTerms("-concept:dog")).toBe(false);
    expect(hasTerms("tag:dog")).toBe(false);
    expect(isPlain("snow concept:dog")).toBe(true);
  });

  it("stands in quotes where its name needs them, and is read again", () => {
    for (const name of ["dog", "my dog", 'a "b" \\c']) {
      expect(parse(conceptQuery(name))).toMatchObject([{ kind: "filter", name: "concept", value: name, whole: true }]);
    }
  });
});

describe("chips", () => {
  it("hold what is not a plain word, and join to the same query", () => {
    const draft = split("two dogs -people after:2023 at noon");
    expect(draft.words).toBe("two dogs at noon");
    expect(draft.chips.map((chip) => chip.raw)).toEqual(["-people", "after:2023"]);
    expect(join(draft)).toBe("two dogs at noon -people after:2023");
  });

  it("are made when a part is finished by a space, not before", () => {
    expect(lift({ chips: [], words: "dog tag:fam" }).chips).toEqual([]);
    const lifted = lift({ chips: [], words: "dog tag:family on" });
    expect(lifted.words).toBe("dog on");
    expect(lifted.chips.map((chip) => chip.raw)).toEqual(["tag:family"]);
  });

  it("are read aloud in words", () => {
    expect(parse("-ext:heic -people 2*~photos:1").map(spoken)).toEqual([
      "not ext heic", "away from people", "picture photos:1, weight 2",
    ]);
  });
});

describe("likes", () => {
  it("are pictures with a weight, one for each item", () => {
    expect(withItem("dog", "photos:3", "more")).toBe("dog ~photos:3");
    expect(withItem("dog ~photos:3", "photos:3", "less")).toBe("dog -0.2*~photos:3");
    expect(withItem("dog", "my photos:3", "without")).toBe('dog -~"my photos:3"');
  });

  it("tell what is wanted from what is pushed away", () => {
    expect([wantsSomething("-~photos:1 ext:jpg"), wantsSomething("-cat dog")]).toEqual([false, true]);
  });

  it("are weighed anew, and say only what is not so by itself", () => {
    const [picture] = parse("-0.2*~photos:3");
    expect(weightOf(picture!)).toBe(-0.2);
    expect([2, 1, 0.5, -0.2, -0.5].map((weight) => withWeight(picture!, weight))).toEqual([
      "2*~photos:3", "~photos:3", "0.5*~photos:3", "-0.2*~photos:3", "-~photos:3",
    ]);
    expect(parse("~photos:3 -~photos:3 2*~photos:3").map(weightOf)).toEqual([1, -0.5, 2]);
  });

  it("tell plain words, of which it is known what is relevant", () => {
    expect(["two dogs", "dogs after:2023"].map(isPlain)).toEqual([true, true]);
    expect(['"two dogs"', "dogs -cat", "2*dogs", "~photos:3", "after:2023", ""].map(isPlain)).toEqual([false, false, false, false, false, false]);
  });

  it("tell a search from a list", () => {
    expect(hasTerms("after:2023 -kind:text")).toBe(false);
    expect(hasTerms("after:2023 dog")).toBe(true);
  });
});

describe("completion", () => {
  const today = new Date(2024, 4, 17);
  const texts = (text: string) => complete(text, text.length, today).map((one) => one.text);

  it("offers names of filters, also negated", () => {
    expect(texts("dog ha")).toEqual(["has:"]);
    expect(texts("dog -k")).toEqual(["-kind:"]);
  });

  it("offers values", () => {
    expect(texts("has:c")).toEqual(["has:camera", "has:caption"]);
    expect(texts("after:")).toEqual(["after:2024-05", "after:2024", "after:2023"]);
  });

  it("offers nothing for nothing, nor for a letter", () => expect([texts("dog "), texts("a"), texts("a d")]).toEqual([[], [], []]));

  it("replaces the part at the cursor and goes on after it", () => {
    const [one] = complete("a has:c dog", 7, today);
    expect(apply("a has:c dog", one!)).toEqual({ text: "a has:camera dog", cursor: 13 });
  });

  it("adds what the service knows, once", () => {
    const own = complete("ta", 2, today);
    const served = { from: 0, to: 2, suggestions: [{ text: "tag:", kind: "filter" }, { text: "tag:family", kind: "tag" }] };
    expect(merged(own, served, "ta").map((one) => one.text)).toEqual(["tag:", "tag:family"]);
  });
});
