import { useEffect, useState } from "preact/hooks";
import { getJson, libraryPath, remedied } from "../api/client";
import type { Concept, Hit } from "../api/types";
import { counted } from "../format";
import { place } from "../state/place";
import { service } from "../state/session";
import { clearSelection } from "../state/selection";
import { createStore, useStore } from "../state/store";
import { Dialog } from "../ui/dialog";
import { begin, taughtLibrary } from "./state";

const starting = createStore<{ seeds: readonly Hit[] | null }>({ seeds: null });

/** Ask what is to be taught. seeds: pictures that show it. */
export const startTeaching = (seeds: readonly Hit[] = []): void => starting.set({ seeds });

const close = (): void => starting.set({ seeds: null });

export function StartTeaching() {
  const seeds = useStore(starting, (value) => value.seeds);
  return seeds && <Start seeds={seeds} />;
}

function Start({ seeds }: { seeds: readonly Hit[] }) {
  const libraries = (useStore(service, (value) => value.libraries) ?? []).filter((one) => one.writable && one.items);
  const [library, setLibrary] = useState(seeds[0]?.library ?? taughtLibrary(place.get()) ?? libraries[0]?.name ?? "");
  const [name, setName] = useState("");
  const [known, setKnown] = useState<Concept[]>([]);
  const [wrong, setWrong] = useState("");
  useEffect(() => {
    if (library) getJson<{ concepts: Concept[] }>(libraryPath(library, "/concepts")).then((found) => setKnown(found.concepts), () => setKnown([]));
  }, [library]);
  const own = seeds.filter((hit) => hit.library === library);
  const submit = async () => {
    try {
      await begin(library, name.trim(), own);
      if (own.length > 1) clearSelection();
      close();
    } catch (error) {
      setWrong(remedied(error));
    }
  };
  return (
    <Dialog title="Teach a concept" class="narrow" onClose={close}>
      <form class="stack" onSubmit={(event) => (event.preventDefault(), name.trim() && void submit())}>
        <p class="soft">A name for what some pictures show: “rex”, “our garden”. You mark a few; the others are found by them.</p>
        <label class="field">Name <input list="concepts" value={name} aria-invalid={!!wrong} onInput={(event) => (setName(event.currentTarget.value), setWrong(""))} /></label>
        <datalist id="concepts">{known.map((one) => <option key={one.name} value={one.name} />)}</datalist>
        {libraries.length > 1 && !seeds.length && (
          <label class="field">Library
            <select value={library} onChange={(event) => setLibrary(event.currentTarget.value)}>{libraries.map((one) => <option key={one.name}>{one.name}</option>)}</select>
          </label>
        )}
        {own.length > 0 && <p>{counted(own.length, "picture")} of {library} will be marked as showing it.</p>}
        <p class="wrong">{wrong}</p>
        <div class="row"><button class="main" disabled={!name.trim() || !library}>Begin</button><button type="button" onClick={close}>Cancel</button></div>
      </form>
    </Dialog>
  );
}
