import type { Completions } from "../api/types";
import { FILTERS, parse } from "./parse";

/** A line of the list below the box. text takes the place of [start, end). open: a value is still to come. */
export interface Completion {
  text: string;
  start: number;
  end: number;
  hint: string;
  open: boolean;
  /** Instead of being written, it has the searches of before forgotten. */
  forgets?: boolean;
}

/** The part that the cursor touches; an empty one between spaces. */
export function partAt(text: string, cursor: number): { start: number; end: number; raw: string } {
  const part = parse(text).find((one) => one.start < cursor && cursor <= one.end);
  return part ?? { start: cursor, end: cursor, raw: "" };
}

export function complete(text: string, cursor: number, today: Date): Completion[] {
  const { start, end, raw } = partAt(text, cursor);
  const sign = /^-[^-]/.test(raw) ? "-" : "";
  const typed = raw.slice(sign.length).toLowerCase();
  if (!typed) return [];
  const place = { start, end };
  const colon = typed.indexOf(":");
  // One letter is a word that begins.
  if (colon < 0 && raw.length < 2) return [];
  if (colon < 0) {
    return Object.entries(FILTERS)
      .filter(([name]) => name.startsWith(typed))
      .map(([name, hint]) => ({ ...place, text: `${sign}${name}:`, hint, open: name !== "relevant" }));
  }
  const name = typed.slice(0, colon);
  return values(name, today)
    .filter(([value]) => value.startsWith(typed.slice(colon + 1)) && value !== typed.slice(colon + 1))
    .map(([value, hint]) => ({ ...place, text: `${sign}${name}:${value}`, hint, open: false }));
}

function values(name: string, today: Date): [string, string][] {
  const year = today.getFullYear();
  const month = `${year}-${String(today.getMonth() + 1).padStart(2, "0")}`;
  const dates: [string, string][] = [[month, "this month"], [`${year}`, "this year"], [`${year - 1}`, "last year"]];
  const sizes: [string, string][] = [[">1mb", "larger"], [">5mb", "larger"], ["<100kb", "smaller"]];
  const pixels: [string, string][] = [[">=1920", "at least"], [">=3840", "at least"], ["<640", "less"]];
  const known: Record<string, [string, string][]> = {
    after: dates, before: dates, date: dates, size: sizes, width: pixels, height: pixels,
    has: ["date", "place", "camera", "caption", "tag"].map((fact) => [fact, "is known"]),
    kind: [["image", "pictures"], ["text", "texts"]],
    ext: ["jpg,jpeg", "png", "heic", "webp", "gif"].map((ending) => [ending, "ending"]),
  };
  return known[name] ?? [];
}

/** Ours and the service's, each once. */
export function merged(own: Completion[], served: Completions | null, text: string): Completion[] {
  const { from: start, to: end, suggestions } = served ?? { from: 0, to: 0, suggestions: [] };
  const fromService = suggestions
    .filter((one) => one.text !== text.slice(start, end))
    .map((one) => ({ text: one.text, start, end, hint: one.kind, open: one.text.endsWith(":") && one.text !== "relevant:" }));
  const texts = new Set(own.map((one) => one.text));
  return [...own, ...fromService.filter((one) => !texts.has(one.text))].slice(0, 10);
}

export function apply(text: string, completion: Completion): { text: string; cursor: number } {
  const written = completion.text + (completion.open ? "" : " ");
  const rest = text.slice(completion.end).replace(/^\s+/, "");
  return { text: text.slice(0, completion.start) + written + rest, cursor: completion.start + written.length };
}
