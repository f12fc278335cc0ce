import { useState } from "preact/hooks";
import { getJson, libraryPath } from "../api/client";
import type { Duplicates as Found } from "../api/types";
import { bytes, counted, folder } from "../format";
import { go } from "../state/place";
import { Thumb, thumbPath } from "../ui/thumb";

/** Looked for when asked: in a large library it takes a while. */
export function Duplicates({ name }: { name: string }) {
  const [groups, setGroups] = useState<Found["clusters"] | null>(null);
  const [state, setState] = useState("");
  const look = async () => {
    setState("Looking …");
    try {
      const found = await getJson<Found>(libraryPath(name, "/duplicates"));
      setGroups(found.clusters);
      const first = found.total > found.clusters.length ? `, the first ${found.clusters.length} of them here` : "";
      setState(found.total ? `${counted(found.total, "group")} of pictures that are the same, or nearly${first}` : "No picture is there twice.");
    } catch (error) {
      setState((error as Error).message);
    }
  };
  return (
    <section class="duplicates">
      <h2>Duplicates</h2>
      {groups === null && state !== "Looking …" && <button onClick={() => void look()}>Look for duplicates</button>}
      <p class="soft" role="status">{state}</p>
      {groups?.map((group, at) => (
        <div key={at} class="cluster">
        <p class="soft small">{group.reason}; keeping one frees {bytes(group.freed)}</p>
        <ul class="twins" aria-label={`Group ${at + 1}`}>
          {group.items.map((hit) => (
            <li key={hit.item}>
              <button class="twin" onClick={() => go({ item: hit.item })} aria-label={`Open ${hit.path}`}><Thumb path={thumbPath(hit.item, 256, hit.version)} alt="" /></button>
              <span class="twin-name" title={hit.path}>{hit.name}</span>
              <span class="soft small">{hit.width} × {hit.height}{hit.size === null ? "" : `, ${bytes(hit.size)}`}</span>
              <span class="soft small">{folder(hit.path, 34)}</span>
            </li>
          ))}
        </ul>
        </div>
      ))}
    </section>
  );
}
