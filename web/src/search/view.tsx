import { useEffect, useMemo } from "preact/hooks";
import { blocks } from "../grid/rows";
import { Grid } from "../grid/grid";
import { count, counted } from "../format";
import { place } from "../state/place";
import { askedBy, heldBy, isArranged, isScored, MOST, rearrange, results, searchAgain, searchFor, searchMore } from "../state/results";
import type { Route } from "../state/route";
import { service, useReturn } from "../state/session";
import { useStore } from "../state/store";
import { TeachPanel } from "../teach/panel";
import { announce } from "../ui/said";
import { Trouble } from "../ui/trouble";
import { NoLibrary, NothingFound, Waiting } from "./empty";
import { Toolbar } from "./toolbar";

export function SearchView() {
  const route = useStore(place, (value) => value);
  const { hits, state, error, relevanceEnds, scored, asked } = useStore(results, (value) => value);
  const hasLibrary = useStore(service, ({ libraries }) => libraries === null || libraries.length > 0);
  const isLost = error?.status === 0;
  const isNew = state === "loading" || (isLost && asked !== askedBy(route));
  useSearching(route, hasLibrary, isLost);
  useEffect(() => {
    if (state === "some" || state === "all") announce(hits.length ? `${counted(hits.length, "result")}${state === "some" ? " or more" : ""}` : "Nothing found");
  }, [state, asked]);

  // Results of before may still be shown: they are parted as they were asked for.
  const parted = useMemo(() => blocks(hits, !scored && route.arrange === "score" ? "date" : route.arrange, relevanceEnds), [hits, scored, route.arrange, relevanceEnds]);
  if (!hasLibrary) return <NoLibrary />;
  const title = route.query || (isScored(route) ? "Search by pictures" : "All pictures");
  const retry = () => void searchAgain(route);
  return (
    <>
      <h1 class="hidden">{title}</h1>
      {(hits.length > 0 || route.query || route.pictures.length > 0 || route.libraries.length > 0) && <Toolbar />}
      {route.teach && <TeachPanel />}
      <section id="results" class={`results ${isNew && hits.length ? "stale" : ""}`} aria-busy={isNew}>
        {error && !hits.length && <Trouble error={error} query={route.query} retry={retry} />}
        {(!error || isLost) && !hits.length && (isNew || isLost ? <Waiting /> : <NothingFound route={route} />)}
        {hits.length > 0 && <Grid hits={hits} blocks={parted} label={isScored(route) ? "Results" : "Pictures"} onEnd={() => void searchMore(route)} />}
        {state === "more" && <p class="end soft">More …</p>}
        {error && !isLost && hits.length > 0 && <p class="end">{error.title}. <button onClick={retry}>Try again</button></p>}
        {state === "all" && hits.length > 0 && <p class="end soft">{ending(route, hits.length)}</p>}
      </section>
    </>
  );
}

/** Keeps what is found in step with what is asked, with what the libraries hold, and with the service being there. */
function useSearching(route: Route, hasLibrary: boolean, isLost: boolean): void {
  const held = useStore(service, () => heldBy(route));
  useEffect(() => {
    if (!hasLibrary) return;
    // Coming back to the same results shows them as they were left, unless there is more by now.
    const { asked, state, held: before } = results.get();
    if (askedBy(route) !== asked || state === "failed" || (before !== null && before !== heldBy(route))) void searchFor(route);
  }, [askedBy(route), hasLibrary]);
  useEffect(() => {
    const { asked, hits, state, held: before } = results.get();
    if (held === null || asked !== askedBy(route)) return;
    if (before === null) results.set({ held });
    // Who has pictures in view is told, and decides; who has none is waiting for them.
    else if (before !== held && !hits.length && state === "all") void searchFor(route);
  }, [held]);
  useReturn(() => isLost && searchAgain(route));
  useEffect(() => {
    if (results.get().asked === askedBy(route)) rearrange(route);
  }, [route.arrange, route.best]);
}

function ending(route: Route, number: number): string {
  if (isArranged(route)) return `The best ${count(number)}, that is all of them`;
  return number >= MOST ? `The first ${counted(MOST, "result")}. Say more to find less.` : `${counted(number, "result")}, that is all`;
}
