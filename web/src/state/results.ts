import { ApiError, postJson } from "../api/client";
import type { Hit, QueryPart, SearchAnswer, SearchRequest, Sort } from "../api/types";
import { hasTerms } from "../query/edit";
import { attachments } from "./attachments";
import type { Route } from "./route";
import { service } from "./session";
import { createStore } from "./store";

export const MOST = 10_000;
const PAGE = 200;
// Beside words the service arranges what it found best page by page, so pages that are arranged are large.
export const ARRANGED_PAGE = 1000;

interface Results {
  /** What was asked; "" before the first search. */
  asked: string;
  hits: Hit[];
  relevanceEnds: number | null;
  state: "loading" | "more" | "some" | "all" | "failed";
  error: ApiError | null;
  took: number;
  scored: boolean;
}

export const results = createStore<Results>({
  asked: "", hits: [], relevanceEnds: null, state: "loading", error: null, took: 0, scored: false,
});

let running: AbortController | null = null;

const SORTS: Record<Route["arrange"], Sort> = {
  score: "score", date: "date", day: "date", month: "date", year: "date", path: "path",
};

export const isScored = (route: Route): boolean => hasTerms(route.query) || route.pictures.length > 0;

/** What of a route decides what is found. */
export const askedBy = (route: Route): string =>
  JSON.stringify([route.query, route.libraries, SORTS[route.arrange], route.relevant, route.pictures]);

/** Search anew. Results of before stay until the new ones are there. */
export async function searchFor(route: Route): Promise<void> {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  results.set({ asked: askedBy(route), state: "loading", error: null });
  await fetchPage(route, 0, signal);
}

/** The next page, when one scrolls near the end. */
export async function searchMore(route: Route): Promise<void> {
  const { state, hits, asked } = results.get();
  if (state !== "some" || asked !== askedBy(route)) return;
  results.set({ state: "more" });
  await fetchPage(route, hits.length, running!.signal);
}

async function fetchPage(route: Route, offset: number, signal: AbortSignal): Promise<void> {
  const scored = isScored(route);
  const k = scored && SORTS[route.arrange] !== "score" ? ARRANGED_PAGE : PAGE;
  const { request, files } = requestFor(route, Math.min(k, MOST - offset), offset);
  try {
    const answer = await postJson<SearchAnswer>("/v1/search", request, files, signal);
    results.set((old) => {
      const hits = offset ? withoutTwins([...old.hits, ...answer.hits]) : answer.hits;
      const all = answer.hits.length < request.k || hits.length >= MOST;
      return { hits, scored, state: all ? "all" : "some", took: answer.took_ms, relevanceEnds: relevanceOf(old, offset, answer) };
    });
  } catch (error) {
    if (signal.aborted) return;
    const problem = error instanceof ApiError ? error : new ApiError(0, "failed", "The search failed", String(error), "", null, null);
    // Without an answer, what was found before is better than nothing.
    results.set((old) => ({ state: "failed", error: problem, hits: offset || problem.status === 0 ? old.hits : [] }));
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
    parts.push({ image: { file: `picture${parts.length}` }, weight: one.away ? -0.5 : 1 });
  }
  const request: SearchRequest = {
    // Nothing asked: everything there is, the latest first.
    query: route.query || (parts.length ? "" : everything(route.libraries)),
    k, offset, sort: SORTS[route.arrange],
    ...(parts.length ? { parts } : {}),
    ...(route.libraries.length ? { libraries: route.libraries } : {}),
    ...(route.relevant && isScored(route) ? { relevant: true } : {}),
  };
  return { request, files };
}

/** The query that finds all: pictures, or texts where there is nothing else. */
function everything(names: readonly string[]): string {
  const all = (service.get().libraries ?? []).filter(({ name }) => !names.length || names.includes(name));
  return all.some((one) => one.texts) && !all.some((one) => one.items) ? "kind:text" : "kind:image";
}

/** The same search as a request of /v1/explain, which takes an item. */
export function explainRequest(route: Route, item: string, heat: boolean): { body: object; files: Record<string, Blob> } {
  const { request, files } = requestFor(route, 1, 0);
  const { query, parts, libraries } = request;
  return { body: { query, ...(parts ? { parts } : {}), ...(libraries ? { libraries } : {}), item, heat }, files };
}
