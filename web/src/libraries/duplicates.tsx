import { useState } from "preact/hooks";
import { getJson, libraryPath, remedied } from "../api/client";
import type { Duplicates as Found } from "../api/types";
import { bytes, count, counted, folder } from "../format";
import { go } from "../state/place";
import { chooseAll } from "../state/selection";
import { Icon } from "../ui/icon";
import { Path } from "../ui/path";
import { Thumb, thumbPath } from "../ui/thumb";

const KINDS: Record<string, string> = { identical: "The same file", "re-encoded": "The same picture", burst: "One burst", similar: "Alike" };
// From this cosine on, pictures that are not the same count as alike.
const SIMILAR = 0.95;
const MOST = 200;

/** Looked for when asked: in a large library it takes a while. Nothing is deleted here. */
export function Duplicates({ name }: { name: string }) {
  const [found, setFound] = useState<Found | null>(null);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const [isWide, setWide] = useState(false);
  const look = async (wide: boolean) => {
    setWide(wide);
    setBusy(true);
    setError("");
    const query = `?limit=${MOST}${wide ? `&similar=${SIMILAR}` : ""}`;
    await getJson<Found>(libraryPath(name, `/duplicates${query}`)).then(setFound, (problem) => setError(remedied(problem)));
    setBusy(false);
  };
  const others = found?.clusters.flatMap((group) => group.items.slice(1)) ?? [];
  return (
    <section class="duplicates" aria-busy={isBusy}>
      <h2>Duplicates</h2>
      <div class="row">
        <button disabled={isBusy} onClick={() => void look(isWide)}>{isBusy ? "Looking …" : found ? "Look again" : "Look for duplicates"}</button>
        <label class="switch"><input type="checkbox" checked={isWide} disabled={isBusy} onChange={(event) => void look(event.currentTarget.checked)} /> Also pictures that are only alike</label>
        {others.length > 0 && <button class="quiet" onClick={() => chooseAll(others)}><Icon name="check" /> Select all but the first of each: {count(others.length)}</button>}
      </div>
      <p class="soft" role="status">{error || (found && said(found))}</p>
      {found?.clusters.map((group, at) => <Group key={group.items[0]?.item ?? at} group={group} at={at} />)}
    </section>
  );
}

function said({ total, clusters }: Found): string {
  if (!total) return "No picture is there twice.";
  const freed = clusters.reduce((sum, one) => sum + one.freed, 0);
  const first = total > clusters.length ? `, of which these are the first ${clusters.length}` : "";
  return `${counted(total, "group")} of pictures that belong together${first}. To keep the first of each would free ${bytes(freed)}.`;
}

function Group({ group, at }: { group: Found["clusters"][number]; at: number }) {
  return (
    <div class="cluster">
      <p><b>{KINDS[group.kind] ?? group.kind}</b> <span class="soft small">{group.items.length} times; the others take {bytes(group.freed)}</span></p>
      <ul class="twins" aria-label={`Group ${at + 1}`}>
        {group.items.map((hit, place) => (
          <li key={hit.item}>
            <button class="twin" onClick={() => go({ item: hit.item })} aria-label={`Open ${hit.path}`}><Thumb path={thumbPath(hit.item, 256, hit.version)} alt="" /></button>
            <span class="twin-name" title={hit.path}>{hit.name}</span>
            <span class="soft small">{hit.width} × {hit.height}{hit.size === null ? "" : `, ${bytes(hit.size)}`}</span>
            <span class="soft small"><Path text={folder(hit.path, 60)} /></span>
            {place === 0 && <span class="small keep">to keep: {group.reason}</span>}
          </li>
        ))}
      </ul>
    </div>
  );
}
