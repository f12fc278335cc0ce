import { ApiError, postJson } from "../api/client";
import { picturesOf, type Hit, type QueryPart, type SearchAnswer, type SearchRequest, type Sort } from "../api/types";
import { arranged, bestOf } from "../grid/arrange";
import { hasTerms, isPlain } from "../query/edit";
import { attachments } from "./attachments";
import type { Route } from "./route";
import { service } from "./session";
import { createStore } from "./store";

export const MOST = 10_000;
// The first page is to be there at once, the others before one comes to their end.
const PAGE = 200;
const NEXT_PAGE = 1000;
// What is found by its score and shown in another order must be there as a whole.
const ARRANGED = 1000;

interface Results {
  /** What was asked; "" before the first search. */
  asked: string;
  /** How much the libraries held then; null: not known yet. */
  held: string | null;
  /** As the service gave them, and as they are shown. */
  found: Hit[];
  hits: Hit[];
  relevanceEnds: number | null;
  state: "loading" | "more" | "some" | "all" | "failed";
  error: ApiError | null;
  /** Of a failure: after how many results it came. */
  failedAt: number;
  took: number;
  scored: boolean;
}

export const results = createStore<Results>({
  asked: "", held: null, found: [], hits: [], relevanceEnds: null, state: "loading", error: null, failedAt: 0, took: 0, scored: false,
});

let running: AbortController | null = null;

const SORTS: Record<Route["arrange"], Sort> = {
  score: "score", date: "date", day: "date", month: "date", year: "date", path: "path",
};

export const isScored = (route: Route): boolean => hasTerms(route.query) || route.pictures.length > 0;

/** Whether the best results are shown in another order than that of their scores. */
export const isArranged = (route: Route): boolean => isScored(route) && route.arrange !== "score";

/** Whether the service can tell what is relevant: where that was measured, for plain words. */
export const isJudged = (route: Route): boolean => isPlain(route.query) && !route.pictures.length;

/** What of a route decides what is found. */
export const askedBy = (route: Route): string =>
  JSON.stringify([route.query, route.libraries, isArranged(route) || (!isScored(route) && SORTS[route.arrange]), route.relevant, route.pictures]);

/** What the libraries that are searched hold, as far as it is known. */
export function heldBy(route: Route): string | null {
  const { libraries } = service.get();
  const chosen = libraries?.filter(({ name }) => !route.libraries.length || route.libraries.includes(name));
  return chosen ? chosen.map(({ name, items }) => `${name} ${items}`).join() : null;
}

/** Answers of before, for the way back: with them one finds what one left, and where. */
const kept = new Map<string, Results>();
const MOST_KEPT = 4;

function keep(now: Results): void {
  if (!now.asked || (now.state !== "some" && now.state !== "all")) return;
  kept.delete(now.asked);
  kept.set(now.asked, now);
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value!);
}

/** Search anew. Results of before stay until the new ones are there. */
export async function searchFor(route: Route): Promise<void> {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const asked = askedBy(route);
  const held = heldBy(route);
  keep(results.get());
  const old = kept.get(asked);
  if (old && old.held === held) return void (results.set(old), rearrange(route));
  results.set({ asked, held, state: "loading", error: null });
  await fetchPage(route, 0, signal);
  if (!signal.aborted && results.get().state !== "failed") scrollTo(0, 0);
}

/** The same again, whatever is known of it; after a failure from there on where it failed. */
export async function searchAgain(route: Route): Promise<void> {
  const { asked, error, failedAt } = results.get();
  kept.delete(askedBy(route));
  if (!error || !failedAt || asked !== askedBy(route)) return (results.set({ asked: "" }), searchFor(route));
  results.set({ state: "some", error: null });
  await searchMore(route);
}

/** The same again where one is, since what is searched has changed by what one did. */
export async function refresh(route: Route): Promise<void> {
  running?.abort();
  running = new AbortController();
  kept.clear();
  results.set({ asked: askedBy(route), held: heldBy(route) });
  await fetchPage(route, 0, running.signal);
}

/** The next page, when one scrolls near the end. */
export async function searchMore(route: Route): Promise<void> {
  const { state, found, asked } = results.get();
  if (state !== "some" || asked !== askedBy(route)) return;
  results.set({ state: "more" });
  await fetchPage(route, found.length, running!.signal);
}

/** Show what was found in the order that the route wants. */
export function rearrange(route: Route): void {
  results.set(({ found, relevanceEnds }) => ({ hits: shown(route, found, relevanceEnds) }));
}

/** An item is no more: it is found no more. */
export function dropItem(item: string): void {
  const others = (hits: Hit[]) => hits.filter((hit) => hit.item !== item);
  kept.clear();
  results.set(({ found, hits, relevanceEnds }) => {
    const isRelevant = relevanceEnds !== null && found.slice(0, relevanceEnds).some((hit) => hit.item === item);
    return { found: others(found), hits: others(hits), held: null, relevanceEnds: isRelevant ? relevanceEnds - 1 : relevanceEnds };
  });
}

function shown(route: Route, found: Hit[], relevanceEnds: number | null): Hit[] {
  return isArranged(route) ? arranged(found.slice(0, bestOf(found.length, relevanceEnds, route.best)), route.arrange) : found;
}

async function fetchPage(route: Route, offset: number, signal: AbortSignal): Promise<void> {
  const isWhole = isArranged(route);
  const { request, files } = requestFor(route, isWhole ? ARRANGED : Math.min(offset ? NEXT_PAGE : PAGE, MOST - offset), offset);
  try {
    const answer = await postJson<SearchAnswer>("/v1/search", request, files, signal);
    if (signal.aborted) return;
    results.set((old) => {
      const found = offset ? withoutTwins([...old.found, ...answer.hits]) : answer.hits;
      const all = isWhole || answer.hits.length < request.k || found.length >= MOST;
      const relevanceEnds = relevanceOf(old, offset, answer);
      const hits = shown(route, found, relevanceEnds);
      return { found, hits, scored: isScored(route), state: all ? "all" : "some", took: answer.took_ms, relevanceEnds };
    });
  } catch (error) {
    if (signal.aborted) return;
    const problem = error instanceof ApiError ? error : new ApiError(0, "failed", "The search failed", String(error), "", null, null);
    // Without an answer, what was found before is better than nothing.
    const none = offset || problem.status === 0 ? {} : { found: [], hits: [] };
    results.set({ state: "failed", error: problem, failedAt: offset, ...none });
  }
}

/** Each page tells how many of its own are relevant; ours counts from the first result of all. */
function relevanceOf(old: Results, offset: number, answer: SearchAnswer): number | null {
  if (!offset) return answer.relevance_ends;
  const goesOn = old.relevanceEnds !== null && old.relevanceEnds >= offset;
  return goesOn ? offset + (answer.relevance_ends ?? 0) : old.relevanceEnds;
}

/** A library that grows between two pages may tell an item twice. */
function withoutTwins(hits: Hit[]): Hit[] {
  const seen = new Set<string>();
  return hits.filter((hit) => !seen.has(hit.item) && seen.add(hit.item));
}

function requestFor(route: Route, k: number, offset: number): { request: SearchRequest; files: Record<string, Blob> } {
  const files: Record<string, Blob> = {};
  const parts: QueryPart[] = [];
  for (const id of route.pictures) {
    const one = attachments.get().all[id];
    if (!one) continue;
    files[`picture${parts.length}`] = one.blob;
    parts.push({ image: { file: `picture${parts.length}` }, weight: one.weight });
  }
  const request: SearchRequest = {
    // Nothing asked: everything there is, the latest first.
    query: route.query || (parts.length ? "" : everything(route.libraries)),
    k, offset, sort: isScored(route) ? "score" : SORTS[route.arrange],
    ...(parts.length ? { parts } : {}),
    ...(route.libraries.length ? { libraries: route.libraries } : {}),
    ...(route.relevant && isJudged(route) ? { relevant: true } : {}),
  };
  return { request, files };
}

/** The query that finds all: pictures, or texts where there is nothing else. */
function everything(names: readonly string[]): string {
  const all = (service.get().libraries ?? []).filter(({ name }) => !names.length || names.includes(name));
  return all.some((one) => one.texts) && !all.some((one) => picturesOf(one)) ? "kind:text" : "kind:image";
}

/** The same search as a request of /v1/explain, which takes an item. */
export function explainRequest(route: Route, item: string, heat: boolean): { body: object; files: Record<string, Blob> } {
  const { request, files } = requestFor(route, 1, 0);
  const { query, parts, libraries } = request;
  return { body: { query, ...(parts ? { parts } : {}), ...(libraries ? { libraries } : {}), item, heat }, files };
}
