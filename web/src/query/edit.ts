import { parse, type Part } from "./parse";

/** A query as the box holds it: chips, and the words still being typed. */
export interface Draft {
  chips: Part[];
  words: string;
}

const isChip = (part: Part): boolean => part.kind !== "word";

export function split(query: string): Draft {
  const parts = parse(query);
  return {
    chips: parts.filter((part) => isChip(part) && part.whole),
    words: parts.filter((part) => !(isChip(part) && part.whole)).map((part) => part.raw).join(" "),
  };
}

export const join = (draft: Draft): string =>
  [draft.words.trim(), ...draft.chips.map((chip) => chip.raw)].filter(Boolean).join(" ");

/** Make chips of the parts that are finished: whole, and followed by a space. */
export function lift(draft: Draft): Draft {
  const done = parse(draft.words).filter((part) => isChip(part) && part.whole && /\s/.test(draft.words[part.end] ?? ""));
  if (!done.length) return draft;
  let words = draft.words;
  for (const part of [...done].reverse()) {
    words = words.slice(0, part.start) + words.slice(part.end).replace(/^\s+/, "");
  }
  return { chips: [...draft.chips, ...done], words };
}

export type Liking = "more" | "less" | "without";

const OPERATORS: Record<Liking, string> = { more: "", less: "-0.2*", without: "-" };

const AWAY = 0.5;

/** What a part counts, as the service takes it. */
export const weightOf = (part: Part): number => (part.away ? -1 : 1) * (part.weight ?? (part.away ? AWAY : 1));

/** The text of a part with another weight. */
export function withWeight(part: Part, weight: number): string {
  const bare = part.raw.replace(/^-?(\d+(\.\d+)?\*)?/, "");
  const own = weight < 0 ? AWAY : 1;
  return `${weight < 0 ? "-" : ""}${Math.abs(weight) === own ? "" : `${Math.abs(weight)}*`}${bare}`;
}

/** The query with an item's picture as a wish; an earlier wish about the same item is replaced. */
export function withItem(query: string, item: string, liking: Liking): string {
  const reference = /\s/.test(item) ? `"${item}"` : item;
  const others = parse(query).filter((part) => !(part.kind === "picture" && part.value === item));
  return [...others.map((part) => part.raw), `${OPERATORS[liking]}~${reference}`].join(" ");
}

/** Whether something is wanted, and not only something else pushed away. */
export const wantsSomething = (query: string): boolean => parse(query).some((part) => part.kind !== "filter" && !part.away);

/** Whether something is looked for, so that results have scores; filters alone only list, but for concepts. */
export const hasTerms = (query: string): boolean =>
  parse(query).some((part) => part.kind !== "filter" || (part.name === "concept" && !part.away));

export const hasFilters = (query: string): boolean => parse(query).some((part) => part.kind === "filter");

/** Whether it is plain words, and filters at most: of others it is not known what is relevant. */
export function isPlain(query: string): boolean {
  const parts = parse(query).filter((part) => part.kind !== "filter");
  return parts.length > 0 && parts.every((part) => part.kind === "word");
}

/** What a chip says aloud. */
export function spoken(part: Part): string {
  if (part.kind === "filter") return `${part.away ? "not " : ""}${part.name}${part.value ? ` ${part.value}` : ""}`;
  const what = part.kind === "picture" ? `picture ${part.value}` : part.value;
  const weight = part.weight === null ? "" : `, weight ${part.weight}`;
  return `${part.away ? "away from " : ""}${what}${weight}`;
}
