import { useEffect, useMemo } from "preact/hooks";
import { connection } from "../api/client";
import { blocks } from "../grid/rows";
import { Grid } from "../grid/grid";
import { counted } from "../format";
import { place } from "../state/place";
import { ARRANGED_PAGE, askedBy, isScored, MOST, results, searchFor, searchMore } from "../state/results";
import { service } from "../state/session";
import { useStore } from "../state/store";
import { announce } from "../ui/said";
import { Trouble } from "../ui/trouble";
import { NoLibrary, NothingFound, Waiting } from "./empty";
import { Toolbar } from "./toolbar";

export function SearchView() {
  const route = useStore(place, (value) => value);
  const { hits, state, error, relevanceEnds, scored, asked } = useStore(results, (value) => value);
  const libraries = useStore(service, (value) => value.libraries);
  const reachable = useStore(connection, (value) => value.reachable);
  const isLost = error?.status === 0;
  const isNew = state === "loading" || isLost;
  const hasLibrary = libraries === null || libraries.length > 0;

  useEffect(() => {
    // Coming back to the same results shows them as they were left.
    if (hasLibrary && (askedBy(route) !== asked || results.get().state === "failed")) void searchFor(route);
  }, [askedBy(route), hasLibrary]);
  useEffect(() => {
    if (reachable && isLost) void searchFor(route);
  }, [reachable]);
  useEffect(() => {
    if (state === "some" || state === "all") announce(hits.length ? `${counted(hits.length, "result")}${state === "some" ? " or more" : ""}` : "Nothing found");
  }, [state, asked]);

  // Results of before may still be shown: they are parted as they were asked for.
  const parted = useMemo(() => {
    const arrange = !scored && route.arrange === "score" ? "date" : route.arrange;
    return blocks(hits, arrange, relevanceEnds, scored && arrange !== "score" ? ARRANGED_PAGE : Infinity);
  }, [hits, scored, route.arrange, relevanceEnds]);
  if (!hasLibrary) return <NoLibrary />;
  return (
    <>
      <Toolbar />
      <section id="results" class={`results ${isNew && hits.length ? "stale" : ""}`} aria-busy={isNew}>
        {error && !(isLost && hits.length) && <Trouble error={error} query={route.query} retry={() => void searchFor(route)} />}
        {!error && !hits.length && (isNew ? <Waiting /> : <NothingFound route={route} />)}
        {hits.length > 0 && <Grid hits={hits} blocks={parted} label={isScored(route) ? "Results" : "Pictures"} onEnd={() => void searchMore(route)} />}
        {state === "more" && <p class="end soft">More …</p>}
        {state === "all" && hits.length > 0 && <p class="end soft">{ending(hits.length)}</p>}
      </section>
    </>
  );
}

const ending = (count: number): string =>
  count >= MOST ? `The first ${counted(MOST, "result")}. Say more to find less.` : `${counted(count, "result")}, that is all`;
