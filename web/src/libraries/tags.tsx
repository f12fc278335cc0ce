import { useEffect, useState } from "preact/hooks";
import { getJson, libraryPath } from "../api/client";
import type { TagCount } from "../api/types";
import { count } from "../format";
import { linkTo } from "../state/place";

const SHOWN = 40;

/** The tags of a library, the commonest first; each leads to what has it. */
export function Tags({ name, generation }: { name: string; generation: number }) {
  const [tags, setTags] = useState<TagCount[]>([]);
  const [isAll, setAll] = useState(false);
  useEffect(() => void getJson<{ tags: TagCount[] }>(libraryPath(name, "/tags")).then((found) => setTags(found.tags), () => undefined), [name, generation]);
  if (!tags.length) return null;
  const sorted = [...tags].sort((one, other) => other.items - one.items);
  return (
    <section>
      <h2>Tags</h2>
      <ul class="tags">
        {sorted.slice(0, isAll ? Infinity : SHOWN).map(({ tag, items }) => (
          <li key={tag} class="chip"><a class="chip-text" href={linkTo({ libraries: [name], query: tagged(tag) })}>{tag} <span class="soft">{count(items)}</span></a></li>
        ))}
        {!isAll && tags.length > SHOWN && <li><button class="quiet" onClick={() => setAll(true)}>All {count(tags.length)}</button></li>}
      </ul>
    </section>
  );
}

/** A tag as a filter of the query language. */
export const tagged = (tag: string): string => (/[\s"]/.test(tag) ? `tag:"${tag.replace(/["\\]/g, "\\$&")}"` : `tag:${tag}`);
