import { useEffect, useState } from "preact/hooks";
import { postJson } from "../api/client";
import type { Library } from "../api/types";
import { bytes, count, counted } from "../format";
import { go, linkTo, place } from "../state/place";
import { jobs, isOver, refreshJobs } from "../state/jobs";
import { may, refreshLibraries, service } from "../state/session";
import { useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { Trouble } from "../ui/trouble";
import { LibraryPage } from "./library";

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
  const parts = [counted(library.items, "picture"), library.texts ? counted(library.texts, "text") : "", bytes(library.size)];
  return (
    <a class="card" href={linkTo({ view: "libraries", name: library.name })}>
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

function NewLibrary() {
  const [name, setName] = useState("");
  const [error, setError] = useState("");
  const make = async (event: Event) => {
    event.preventDefault();
    try {
      await postJson("/v1/libraries", { name: name.trim() });
      await refreshLibraries();
      go({ view: "libraries", name: name.trim() });
    } catch (problem) {
      setError((problem as Error).message);
    }
  };
  return (
    <form class="card new" onSubmit={(event) => void make(event)}>
      <label class="field">
        New library
        <input required placeholder="holidays" value={name} aria-invalid={error !== ""} onInput={(event) => setName(event.currentTarget.value)} />
      </label>
      {error && <p class="wrong" role="alert">{error}</p>}
      <button type="submit"><Icon name="plus" /> Make it</button>
    </form>
  );
}
