import { spoken } from "../query/edit";
import { parse } from "../query/parse";
import { go, linkTo } from "../state/place";
import type { Route } from "../state/route";
import { emptyOne, may, service } from "../state/session";
import { useStore } from "../state/store";
import { Add } from "../libraries/add";
import { Works } from "../libraries/works";
import { NewLibrary } from "../libraries/new";

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
      <h1>There is no library yet</h1>
      <p>A library holds what crosslens knows of your pictures. The pictures themselves stay where they are.</p>
      {may("admin", session) ? (
        <NewLibrary />
      ) : (
        <p class="soft">The operator of this service can make one: <code>crosslens serve -L FOLDER</code></p>
      )}
    </div>
  );
}

export function NothingFound({ route }: { route: Route }) {
  const filters = parse(route.query).filter((part) => part.kind === "filter");
  const name = useStore(service, (value) => emptyOne(route.libraries, value));
  if (!route.query && !route.pictures.length) {
    return (
      <div class="empty">
        <h2>No pictures here yet</h2>
        <p>{name ? "Add some, and search from the first batch on." : "Add some to a library, and search from the first batch on."}</p>
        {name ? <div class="first"><Add name={name} /><Works name={name} /></div> : <p><a class="button" href={linkTo({ view: "libraries" })}>Add pictures</a></p>}
      </div>
    );
  }
  return (
    <div class="empty">
      <h2>Nothing found</h2>
      <p>No picture fits all of this. It may help to ask for less:</p>
      <p class="row centred">
        {filters.map((part) => <button key={part.start} onClick={() => go({ query: `${route.query.slice(0, part.start)}${route.query.slice(part.end)}`.trim() })}>Leave out {spoken(part)}</button>)}
        {route.relevant && <button onClick={() => go({ relevant: false })}>Also what is less relevant</button>}
        {route.libraries.length > 0 && <button onClick={() => go({ libraries: [] })}>Search all libraries</button>}
      </p>
    </div>
  );
}
