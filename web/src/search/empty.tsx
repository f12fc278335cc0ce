import { go, linkTo } from "../state/place";
import type { Route } from "../state/route";
import { may, service } from "../state/session";
import { useStore } from "../state/store";

/** Before the first results: where pictures will stand, so that nothing jumps. */
export function Waiting() {
  return (
    <div class="waiting" aria-hidden="true">
      {[1.5, 0.7, 1.3, 1, 1.6, 0.75, 1.4, 1.2, 0.8, 1.5].map((ratio, at) => <span key={at} style={{ flexGrow: ratio, flexBasis: `${ratio * 180}px` }} />)}
    </div>
  );
}

export function NoLibrary() {
  const session = useStore(service, (value) => value.session);
  return (
    <div class="empty">
      <h2>There is no library yet</h2>
      <p>A library holds what crosslens knows of your pictures. The pictures themselves stay where they are.</p>
      {may("admin", session) ? (
        <p><a class="button" href={linkTo({ view: "libraries" })}>Make a library</a></p>
      ) : (
        <p class="soft">The operator of this service can make one: <code>crosslens serve -L FOLDER</code></p>
      )}
    </div>
  );
}

const EXAMPLES = ["two dogs on a beach", "a red car -people", "children playing after:2020", '"birthday cake"'];

export function NothingFound({ route }: { route: Route }) {
  const isNarrow = route.relevant || route.libraries.length > 0;
  if (!route.query && !route.pictures.length) {
    return (
      <div class="empty">
        <h2>No pictures here yet</h2>
        <p>Add some to a library, and search from the first batch on.</p>
        <p><a class="button" href={linkTo({ view: "libraries" })}>Add pictures</a></p>
      </div>
    );
  }
  return (
    <div class="empty">
      <h2>Nothing found</h2>
      <p>{isNarrow ? "No picture fits all of this. It may help to ask for less:" : "No picture fits all filters. Other words to begin with:"}</p>
      <p class="row centred">
        {route.relevant && <button onClick={() => go({ relevant: false })}>Also what is less relevant</button>}
        {route.libraries.length > 0 && <button onClick={() => go({ libraries: [] })}>Search all libraries</button>}
        {!isNarrow && EXAMPLES.map((one) => <button key={one} class="quiet" onClick={() => go({ query: one })}>{one}</button>)}
      </p>
    </div>
  );
}
