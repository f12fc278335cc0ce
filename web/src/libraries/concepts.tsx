import { useEffect, useState } from "preact/hooks";
import { getJson, libraryPath } from "../api/client";
import type { Concept } from "../api/types";
import { conceptQuery } from "../query/parse";
import { linkTo } from "../state/place";
import { may } from "../state/session";

/** What a library was taught; each leads to what it holds for. */
export function Concepts({ name }: { name: string }) {
  const [concepts, setConcepts] = useState<Concept[]>([]);
  useEffect(() => void getJson<{ concepts: Concept[] }>(libraryPath(name, "/concepts")).then((found) => setConcepts(found.concepts), () => undefined), [name]);
  if (!concepts.length) return null;
  const link = (concept: Concept) => linkTo({ libraries: [name], query: conceptQuery(concept.name), ...(may("write") ? { teach: concept.name } : {}) });
  return (
    <section>
      <h2>Concepts</h2>
      <ul class="tags">
        {concepts.map((one) => <li key={one.name} class="chip"><a class="chip-text" href={link(one)}>{one.name} <span class="soft">{one.yes} yes, {one.no} no</span></a></li>)}
      </ul>
    </section>
  );
}
