/** The query language as a box needs it: parts with their places. It never fails; the service says what is wrong. */

export const FILTERS: Readonly<Record<string, string>> = {
  after: "taken from this year, month or day on",
  before: "taken before it",
  date: "taken within it, or a range a..b",
  tag: "with this tag, or one below it",
  camera: "in the camera's maker and model",
  near: "within a distance: 48.85,2.35,5km",
  has: "date, place, camera, caption or tag is known",
  path: "a pattern of the path: holiday/**",
  ext: "the ending of the name: jpg,heic",
  size: "of the file: >2mb, 500kb..2mb",
  width: "in pixels: >=1920",
  height: "in pixels: 800..1200",
  kind: "image or text",
  concept: "what it holds for, taught by examples",
  relevant: "only what is probably meant",
};

export interface Part {
  kind: "word" | "phrase" | "picture" | "filter";
  /** Its place in the text, [start, end), and the text there. */
  start: number;
  end: number;
  raw: string;
  away: boolean;
  weight: number | null;
  /** Of a filter: its name; else "". */
  name: string;
  /** What is looked for, without operators and quotes. */
  value: string;
  /** False while quotes are open, or a value is still to come. */
  whole: boolean;
}

const WEIGHT = /^(\d{1,4}(?:\.\d{1,20})?)\*(?=\S)/;
const NAME = /^([A-Za-z]+):/;

export function parse(text: string): Part[] {
  const parts: Part[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && /\s/.test(text[at]!)) at++;
    if (at >= text.length) return parts;
    const part = readPart(text, at);
    parts.push(part);
    at = part.end;
  }
}

function readPart(text: string, start: number): Part {
  let at = start;
  const away = text[at] === "-" && /[^\s-]/.test(text[at + 1] ?? "");
  if (away) at++;
  const found = NAME.exec(text.slice(at));
  const name = found?.[1]?.toLowerCase() ?? "";
  if (found && name in FILTERS) {
    const read = readValue(text, at + found[0].length);
    const whole = read.whole && (read.value !== "" || name === "relevant");
    return made("filter", text, start, read.end, { away, name, value: read.value, whole });
  }
  const heavy = WEIGHT.exec(text.slice(at));
  const weight = heavy ? Number(heavy[1]) : null;
  at += heavy?.[0].length ?? 0;
  if (text[at] === "~") {
    const read = readValue(text, at + 1);
    return made("picture", text, start, read.end, { away, weight, value: read.value, whole: read.whole && read.value !== "" });
  }
  const read = text[at] === '"' ? readValue(text, at) : readWord(text, at);
  const kind = text[at] === '"' || away || weight !== null ? "phrase" : "word";
  return made(kind, text, start, read.end, { away, weight, value: read.value, whole: read.whole });
}

function made(kind: Part["kind"], text: string, start: number, end: number, more: Partial<Part>): Part {
  return { kind, start, end, raw: text.slice(start, end), away: false, weight: null, name: "", value: "", whole: true, ...more };
}

/** What follows a colon or "~": in quotes, or up to the next space. */
function readValue(text: string, start: number): { value: string; end: number; whole: boolean } {
  if (text[start] !== '"') {
    let end = start;
    while (end < text.length && !/\s/.test(text[end]!)) end++;
    return { value: text.slice(start, end), end, whole: true };
  }
  let value = "";
  let at = start + 1;
  while (at < text.length && text[at] !== '"') {
    if (text[at] === "\\" && /["\\]/.test(text[at + 1] ?? "")) at++;
    value += text[at++];
  }
  const closed = at < text.length;
  return { value, end: closed ? at + 1 : at, whole: closed && value.trim() !== "" };
}

function readWord(text: string, start: number): { value: string; end: number; whole: boolean } {
  let value = "";
  let at = start;
  while (at < text.length && !/\s/.test(text[at]!)) {
    if (text[at] === "\\" && /[\\"\-~:*]/.test(text[at + 1] ?? "")) at++;
    value += text[at++];
  }
  return { value, end: at, whole: true };
}

/** A concept as a filter of the query language. */
export const conceptQuery = (name: string): string =>
  /[\s"]/.test(name) ? `concept:"${name.replace(/["\\]/g, "\\$&")}"` : `concept:${name}`;
