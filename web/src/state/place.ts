import { createStore } from "./store";
import { HOME, readRoute, writeRoute, type Route } from "./route";

export const place = createStore<Route>(readRoute(location.hash));

/** over: the item was opened from what lies behind it, so closing it is the way back. */
interface Step {
  scroll?: number;
  over?: boolean;
}

const SETTLE_MS = 200;

const stepNow = (): Step => (history.state as Step | null) ?? {};
const behind = (route: Route): string => writeRoute({ ...route, item: null });

export function startRouting(): void {
  // What a step shows comes later than the browser would scroll.
  history.scrollRestoration = "manual";
  let timer = 0;
  addEventListener("scroll", () => {
    clearTimeout(timer);
    timer = setTimeout(() => history.replaceState({ ...stepNow(), scroll: scrollY }, ""), SETTLE_MS);
  }, { passive: true });
  const arrive = () => {
    clearTimeout(timer);
    const before = place.get();
    place.set(readRoute(location.hash));
    // The item lies over what stays as it was.
    if (behind(before) === behind(place.get())) return;
    const { scroll = 0 } = stepNow();
    requestAnimationFrame(() => requestAnimationFrame(() => scrollTo(0, scroll)));
  };
  addEventListener("popstate", arrive);
  addEventListener("hashchange", arrive);
  place.watch(noteSearch);
}

/** Change some of the route. replace: without a step to come back to. */
export function go(change: Partial<Route>, replace = false): void {
  const before = place.get();
  const next = { ...before, ...change };
  const hash = writeRoute(next);
  if (hash === writeRoute(before)) return;
  const over = next.item !== null && (before.item === null || stepNow().over === true);
  history[replace ? "replaceState" : "pushState"]({ scroll: scrollY, ...(over ? { over } : {}) } satisfies Step, "", hash);
  place.set(next);
  if (before.view !== next.view || before.name !== next.name) scrollTo(0, 0);
}

/** Back to what lies behind the item that is shown large. */
export function closeItem(): void {
  if (stepNow().over) history.back();
  else go({ item: null }, true);
}

/** The address of another view, for links. */
export const linkTo = (change: Partial<Route>): string => writeRoute({ ...HOME, ...change });

let lastSearch = place.get().view === "search" ? behind(place.get()) : writeRoute(HOME);

function noteSearch(): void {
  if (place.get().view === "search") lastSearch = behind(place.get());
}

/** The address of the search that one comes from. */
export const lastSearchLink = (): string => lastSearch;
