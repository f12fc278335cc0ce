import { getJson, libraryPath, postJson, remedied, sendJson } from "../api/client";
import type { Concept, ConceptSuggestion, ConceptTag, Hit } from "../api/types";
import { conceptQuery } from "../query/parse";
import { go, place } from "../state/place";
import { refresh } from "../state/results";
import type { Route } from "../state/route";
import { service } from "../state/session";
import { createStore } from "../state/store";
import { note } from "../ui/said";

export type Mark = "yes" | "no";

interface Teaching {
  /** Of what the rest is: library and name; "" while nothing is taught. */
  key: string;
  /** As the service knows it; null while it does not. */
  concept: Concept | null;
  /** By item, at once when they are given. */
  marks: ReadonlyMap<string, Mark>;
  /** What giving the tag would do. */
  plan: ConceptTag | null;
  next: ConceptSuggestion[];
}

const NOTHING: Teaching = { key: "", concept: null, marks: new Map(), plan: null, next: [] };
const SUGGESTED = 8;

export const teaching = createStore<Teaching>(NOTHING);

/** The one library that is taught: the one that is searched, or the only one there is. */
export function taughtLibrary({ libraries }: Pick<Route, "libraries">): string | null {
  if (libraries.length === 1) return libraries[0]!;
  const all = service.get().libraries ?? [];
  return !libraries.length && all.length === 1 ? all[0]!.name : null;
}

export const conceptPath = (library: string, name: string, rest = ""): string =>
  libraryPath(library, `/concepts/${encodeURIComponent(name)}${rest}`);

const path = (rest = ""): string => {
  const route = place.get();
  return conceptPath(taughtLibrary(route) ?? "", route.teach, rest);
};

const keyOf = (route: Route): string => (route.teach ? `${taughtLibrary(route)} ${route.teach.toLowerCase()}` : "");

/** Marks that wait to be sent, and what is being sent: one lesson after the other. */
let waiting = new Map<string, Mark | null>();
let sending: Promise<unknown> = Promise.resolve();

/** Learn what is known of the concept that the route names. */
export async function look(route: Route): Promise<void> {
  const key = keyOf(route);
  if (key === teaching.get().key) return;
  waiting = new Map();
  teaching.set({ ...NOTHING, key });
  const library = taughtLibrary(route);
  if (!key || !library) return;
  try {
    const { concepts } = await getJson<{ concepts: Concept[] }>(libraryPath(library, "/concepts"));
    if (!concepts.some((one) => one.name.toLowerCase() === route.teach.toLowerCase())) return;
    const concept = await getJson<Concept>(path());
    if (teaching.get().key === key) await learned(concept);
  } catch (error) {
    note(remedied(error));
  }
}

/** Mark an item; the mark that it has is taken back. */
export function mark(item: string, how: Mark): void {
  const next = teaching.get().marks.get(item) === how ? null : how;
  waiting.set(item, next);
  teaching.set(({ marks }) => ({ marks: withMark(marks, item, next), next: teaching.get().next.filter((one) => one.item.item !== item) }));
  // Nothing can be told from what it is not alone.
  if (teaching.get().concept || [...waiting.values()].includes("yes")) void teach();
}

export const teach = (more: { threshold?: number } = {}): Promise<unknown> => (sending = sending.then(() => lesson(more)));

async function lesson(more: object): Promise<void> {
  const { key, concept } = teaching.get();
  const sent = waiting;
  if (!sent.size && !Object.keys(more).length && concept?.current) return;
  waiting = new Map();
  const those = (how: Mark | null) => [...sent].filter(([, one]) => one === how).map(([item]) => item);
  try {
    const now = await postJson<Concept>(path(), { yes: those("yes"), no: those("no"), unmark: concept ? those(null) : [], ...more });
    if (teaching.get().key !== key) return;
    const route = place.get();
    if (route.query.toLowerCase().includes("concept:")) void refresh(route);
    await learned(now);
  } catch (error) {
    note(remedied(error));
    if (teaching.get().key === key) teaching.set({ marks: marksOf(concept) });
  }
}

async function learned(concept: Concept): Promise<void> {
  const marks = [...waiting].reduce((old, [item, how]) => withMark(old, item, how), marksOf(concept));
  teaching.set({ concept, marks });
  if (!concept.current) return;
  const [plan, { suggestions }] = await Promise.all([
    getJson<ConceptTag>(path("/tag")),
    getJson<{ suggestions: ConceptSuggestion[] }>(path(`/suggestions?limit=${SUGGESTED}`)),
  ]);
  // What was marked meanwhile is asked about no more.
  if (teaching.get().concept === concept) teaching.set({ plan, next: suggestions.filter((one) => !waiting.has(one.item.item)) });
}

/** Begin to teach a concept. seeds: pictures that show it. */
export async function begin(library: string, name: string, seeds: readonly Hit[]): Promise<void> {
  const own = seeds.filter((hit) => hit.library === library).map((hit) => hit.item);
  if (own.length) await postJson<Concept>(conceptPath(library, name), { yes: own });
  const several = (service.get().libraries ?? []).length > 1;
  teaching.set(NOTHING);
  go({ view: "search", name: "", item: null, teach: name, ...(several ? { libraries: [library] } : {}), ...(own.length ? { query: conceptQuery(name), arrange: "score", pictures: [] } : {}) });
}

export const end = (): void => go({ teach: "" });

export async function forget(): Promise<void> {
  await sendJson("DELETE", path());
  const { query } = place.get();
  go({ teach: "", query: query.toLowerCase().includes("concept:") ? "" : query });
}

export const planFor = (tag: string): Promise<ConceptTag> => getJson<ConceptTag>(path(`/tag?tag=${encodeURIComponent(tag)}`));

export async function give(tag: string): Promise<ConceptTag> {
  const given = await postJson<ConceptTag>(path("/tag"), { tag });
  const route = place.get();
  teaching.set({ plan: { ...given, new: 0, gone: 0 } });
  void refresh(route);
  return given;
}

function marksOf(concept: Concept | null): ReadonlyMap<string, Mark> {
  const all = (items: string[] | undefined, how: Mark) => (items ?? []).map((item): [string, Mark] => [item, how]);
  return new Map([...all(concept?.marked_yes, "yes"), ...all(concept?.marked_no, "no")]);
}

function withMark(marks: ReadonlyMap<string, Mark>, item: string, how: Mark | null): ReadonlyMap<string, Mark> {
  const next = new Map(marks);
  if (how) next.set(item, how);
  else next.delete(item);
  return next;
}
