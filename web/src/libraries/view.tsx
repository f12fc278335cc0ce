import { useEffect, useState } from "preact/hooks";
import { getJson, libraryPath } from "../api/client";
import { isOver, picturesOf, type Hit, type Library } from "../api/types";
import { bytes, count, counted } from "../format";
import { linkTo, place } from "../state/place";
import { jobs, refreshJobs } from "../state/jobs";
import { may, refreshLibraries, service } from "../state/session";
import { useStore } from "../state/store";
import { Thumb, thumbPath } from "../ui/thumb";
import { Trouble } from "../ui/trouble";
import { LibraryPage } from "./library";
import { NewLibrary } from "./new";

export function LibrariesView() {
  const name = useStore(place, (route) => route.name);
  useEffect(() => void (refreshLibraries(), refreshJobs()), []);
  return name ? <LibraryPage key={name} name={name} /> : <LibraryList />;
}

function LibraryList() {
  const { libraries, problem } = useStore(service, (value) => value);
  return (
    <div class="page">
      <h1>Libraries</h1>
      <p class="lead">A library holds what crosslens knows of your pictures: one vector and some facts of each.</p>
      {problem && <Trouble error={problem} retry={() => void refreshLibraries()} />}
      <ul class="cards">
        {libraries?.map((library) => <li key={library.name}><Card library={library} /></li>)}
        {may("admin") && <li><NewLibrary /></li>}
      </ul>
      {libraries?.length === 0 && !may("admin") && <p class="soft">There is none that this service was told of.</p>}
    </div>
  );
}

function Card({ library }: { library: Library }) {
  const running = useStore(jobs, ({ all }) => Object.values(all).filter((job) => job.library === library.name && !isOver(job)).length);
  const pictures = picturesOf(library);
  const parts = [pictures || !library.texts ? counted(pictures, "picture") : "", library.texts ? counted(library.texts, "text") : "", bytes(library.size)];
  return (
    <a class="card" href={linkTo({ view: "libraries", name: library.name })}>
      {pictures > 0 && <Preview library={library} />}
      <h2>{library.name}</h2>
      <p>{parts.filter(Boolean).join(" · ")}</p>
      <p class="soft small">
        {library.offline > 0 && <>{count(library.offline)} offline · </>}
        {library.writable ? "" : "read only · "}{library.model ?? "empty"}
      </p>
      {running > 0 && <p class="small busy">being indexed …</p>}
    </a>
  );
}

const SHOWN = 5;

/** The pictures that were added last: one knows a library by them. */
function Preview({ library: { name, generation } }: { library: Library }) {
  const [hits, setHits] = useState<Hit[]>([]);
  useEffect(() => {
    const path = libraryPath(name, `/items?sort=added&limit=${SHOWN}`);
    getJson<{ items: Hit[] }>(path).then(({ items }) => setHits(items.filter((hit) => hit.kind === "image")), () => undefined);
  }, [name, generation]);
  return <div class="preview" aria-hidden="true">{hits.map((hit) => <Thumb key={hit.item} path={thumbPath(hit.item, 128, hit.version)} alt="" />)}</div>;
}
