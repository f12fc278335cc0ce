import { useEffect, useState } from "preact/hooks";
import { ApiError, getJson, libraryPath } from "../api/client";
import type { MapAnswer } from "../api/types";
import { count, counted } from "../format";
import { MapCanvas } from "../map/canvas";
import { go, place } from "../state/place";
import { service, useReturn } from "../state/session";
import { useStore } from "../state/store";
import { Trouble } from "../ui/trouble";

/** A library seen from above: pictures that are alike lie near each other. */
export function MapBench() {
  const libraries = useStore(service, (value) => value.libraries) ?? [];
  const chosen = useStore(place, (route) => route.libraries[0]);
  const name = chosen ?? libraries[0]?.name;
  const [map, setMap] = useState<MapAnswer | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const look = () => {
    setMap(null);
    setError(null);
    if (!name) return undefined;
    const stop = new AbortController();
    getJson<MapAnswer>(libraryPath(name, "/map"), stop.signal).then(setMap, (problem: unknown) => problem instanceof ApiError && setError(problem));
    return () => stop.abort();
  };
  useEffect(look, [name]);
  useReturn(() => !map && look());
  return (
    <div class="bench">
      <div class="row">
        <label class="field inline">
          Library
          <select value={name} onChange={(event) => go({ libraries: [event.currentTarget.value] }, true)}>
            {libraries.map((library) => <option key={library.name}>{library.name}</option>)}
          </select>
        </label>
        {map && <p class="soft">{counted(map.points.length, "picture")}{map.total > map.points.length ? `, an even sample of ${count(map.total)}` : ""}; alike ones lie near each other. Come closer to see more.</p>}
      </div>
      {error && <Trouble error={error} retry={() => void look()} />}
      {!map && !error && name && <p class="soft" aria-busy="true">Drawing the map …</p>}
      {map && map.points.length === 0 && <p class="soft">There is no picture in this library yet.</p>}
      {map && map.points.length > 0 && <MapCanvas map={map} />}
    </div>
  );
}
