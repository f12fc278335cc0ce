/** What the service sends and takes; docs/http.md is its contract. */

export interface Hit {
  item: string;
  library: string;
  id: number;
  kind: "image" | "text";
  name: string;
  path: string;
  score: number | null;
  relevance: number | null;
  width: number | null;
  height: number | null;
  size: number | null;
  modified: string | number | null;
  taken: string | null;
  camera: string | null;
  text: string | null;
  caption: string | null;
  tags: string[];
  online: boolean;
  /** Of its content: with it, a thumbnail may be kept for good. */
  version: string;
}

export type Scope = "read" | "write" | "admin";

export interface Session {
  version: string;
  keys: boolean;
  scope: Scope | null;
  model: string | null;
}

/** A picture of a request: base64, an item, or a file that comes with it, by its form field. */
export type Picture = string | { item: string } | { file: string };

export interface QueryPart {
  text?: string;
  image?: Picture;
  item?: string;
  weight?: number;
}

export type Sort = "score" | "date" | "path";

export interface SearchRequest {
  query: string;
  parts?: QueryPart[];
  libraries?: string[];
  k: number;
  offset: number;
  sort: Sort;
  relevant?: boolean;
}

export interface SearchAnswer {
  query: string;
  hits: Hit[];
  relevance_ends: number | null;
  took_ms: number;
}

/** box: left, top, right, bottom of the grid, as fractions of the upright picture; it may reach beyond. */
export interface Heat {
  rows: number;
  columns: number;
  values: number[];
  box: [number, number, number, number];
}

export interface Explained {
  score: number;
  terms: { term: string; weight: number; similarity: number; share: number }[];
  heat: Heat | null;
}

export interface Library {
  name: string;
  /** All of them, texts too. */
  items: number;
  texts: number;
  offline: number;
  model: string | null;
  generation: number;
  size: number;
  writable: boolean;
  roots: number;
}

export const picturesOf = ({ items, texts }: Pick<Library, "items" | "texts">): number => items - texts;

export interface LibraryFacts extends Library {
  dimension: number | null;
  contents: number;
  folders: { name: string; online: boolean; path?: string }[];
}

export interface TagCount {
  tag: string;
  items: number;
}

export interface Failure {
  name: string;
  reason: string;
}

export interface Job {
  id: string;
  library: string;
  kind: "upload" | "folder" | "index";
  state: "waiting" | "running" | "done" | "failed" | "cancelled";
  done: number;
  total: number | null;
  /** How many failed; of very many, failures names the first only. */
  failed?: number;
  failures: Failure[];
  started: string | number | null;
  ended: string | number | null;
  report?: Record<string, unknown> | null;
  problem?: { title: string; detail: string };
}

export const isOver = (job: Job): boolean => job.state === "done" || job.state === "failed" || job.state === "cancelled";

/** Suggestions take the place of what stands in [from, to). */
export interface Completions {
  from: number;
  to: number;
  suggestions: Suggestion[];
}

export interface Suggestion {
  text: string;
  kind: string;
}

export interface Label {
  text: string;
  index: number;
  similarity: number;
  confidence: number;
}

export interface PairResult {
  similarity: number;
  probability: number;
}

export interface Similarities {
  images_texts: number[][];
  images_images: number[][];
  texts_texts: number[][];
}

export interface MapAnswer {
  points: [number, number][];
  items: string[];
  total: number;
}

/** Errors among marked items, each judged without itself; low, high: 95 % interval. */
export interface ErrorRate {
  wrong: number;
  of: number;
  rate: number;
  low: number;
  high: number;
}

/** What a library was taught by examples. current: whether it is for the model that the library has now. */
export interface Concept {
  name: string;
  library: string;
  kind: "image" | "text";
  yes: number;
  no: number;
  presumed: number;
  threshold: number;
  missed: ErrorRate | null;
  false_alarms: ErrorRate | null;
  taught: string;
  current: boolean;
  tags: TagCount[];
  /** Items; lists leave them out. */
  marked_yes?: string[];
  marked_no?: string[];
}

export interface ConceptSuggestion {
  item: Hit;
  score: number;
}

/** What giving a tag does, in items; gone: they have it from the concept, and fit no more. */
export interface ConceptTag {
  tag: string;
  fits: number;
  items: number;
  new: number;
  gone: number;
  given: boolean;
}

/** freed: bytes that would be, if one was kept. */
export interface Duplicates {
  clusters: { kind: string; reason: string; freed: number; items: Hit[] }[];
  total: number;
}
