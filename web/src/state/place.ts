import { createStore } from "./store";
import { HOME, readRoute, writeRoute, type Route } from "./route";

export const place = createStore<Route>(readRoute(location.hash));

export function startRouting(): void {
  addEventListener("popstate", () => place.set(readRoute(location.hash)));
  addEventListener("hashchange", () => place.set(readRoute(location.hash)));
}

/** Change some of the route. replace: without a step to come back to. */
export function go(change: Partial<Route>, replace = false): void {
  const next = { ...place.get(), ...change };
  const hash = writeRoute(next);
  if (hash === writeRoute(place.get())) return;
  history[replace ? "replaceState" : "pushState"](null, "", hash);
  place.set(next);
}

/** The address of another view, for links. */
export const linkTo = (change: Partial<Route>): string => writeRoute({ ...HOME, ...change });
