import { useState } from "preact/hooks";
import { itemPath, sendJson } from "../api/client";
import type { Heat, Hit } from "../api/types";
import { bytes, dateTime, folder, percent, score } from "../format";
import { likeActions, toBench } from "../search/actions";
import { download } from "../search/takeaway";
import { tagged } from "../libraries/tags";
import { linkTo, place } from "../state/place";
import { isScored } from "../state/results";
import { selection, toggle } from "../state/selection";
import { may } from "../state/session";
import { useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { Path } from "../ui/path";
import { copy, note } from "../ui/said";
import { Remove } from "./remove";
import { Why } from "./why";

interface Props {
  hit: Hit;
  onHeat: (heat: Heat | null) => void;
}

export function Details({ hit, onHeat }: Props) {
  const scored = useStore(place, isScored);
  return (
    <aside class="details" aria-label="Details">
      <h2>{hit.name}</h2>
      {hit.caption && <p class="caption">{hit.caption}</p>}
      <div class="likes">
        {likeActions(hit).map((one) => (
          <button key={one.text} title={`${one.text} (${one.key})`} onClick={one.act}><Icon name={one.icon} /> {one.text.replace(" this", "")}</button>
        ))}
      </div>
      {scored && <Why hit={hit} onHeat={onHeat} />}
      <Facts hit={hit} />
      <Tags hit={hit} />
      <div class="row">
        <button onClick={() => void copy(hit.path, "Path")}><Icon name="copy" /> Copy path</button>
        {hit.kind === "image" && hit.online && <button onClick={() => void download(hit)}><Icon name="download" /> Download</button>}
        <Choose hit={hit} />
        {hit.kind === "image" && <button onClick={() => toBench([hit], "labels")}><Icon name="bench" /> Try labels</button>}
      </div>
      <Remove hit={hit} />
    </aside>
  );
}

function Choose({ hit }: { hit: Hit }) {
  const isChosen = useStore(selection, (value) => value.chosen.has(hit.item));
  return <button aria-pressed={isChosen} onClick={() => toggle([hit], 0)}><Icon name="check" /> {isChosen ? "Selected" : "Select"}</button>;
}

function Facts({ hit }: { hit: Hit }) {
  const facts: [string, string | null][] = [
    ["Score", hit.score === null ? null : score(hit.score)],
    ["Relevance", hit.relevance === null ? null : percent(hit.relevance)],
    ["Taken", dateTime(hit.taken)],
    ["Changed", hit.taken ? null : dateTime(hit.modified)],
    ["Camera", hit.camera],
    ["Pixels", hit.width && hit.height ? `${hit.width} × ${hit.height}` : null],
    ["Size", hit.size === null ? null : bytes(hit.size)],
    ["Library", hit.library],
    ["Item", hit.item],
    ["Folder", folder(hit.path, 200)],
    ["Now", hit.online ? null : "offline: its disk is not connected"],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, value]) => value && (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{name === "Library" ? <a href={linkTo({ view: "libraries", name: value })}>{value}</a> : name === "Folder" ? <Path text={value} /> : value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** The tags of an item; who may write can give and take them. */
function Tags({ hit }: { hit: Hit }) {
  const [tags, setTags] = useState(hit.tags);
  const [typed, setTyped] = useState("");
  const change = async (method: "POST" | "DELETE", tag: string) => {
    try {
      await sendJson(method, itemPath(hit.item, "/tags"), { tags: [tag] });
      setTags(method === "POST" ? [...new Set([...tags, tag])] : tags.filter((one) => one !== tag));
      setTyped("");
    } catch (error) {
      note((error as Error).message);
    }
  };
  if (!may("write") && !tags.length) return null;
  return (
    <div class="tags">
      {tags.map((tag) => (
        <span key={tag} class="chip">
          <a class="chip-text" href={linkTo({ query: tagged(tag) })}>{tag}</a>
          {may("write") && <button class="chip-remove" aria-label={`Take the tag ${tag} away`} onClick={() => void change("DELETE", tag)}><Icon name="close" /></button>}
        </span>
      ))}
      {may("write") && (
        <form onSubmit={(event) => (event.preventDefault(), typed.trim() && void change("POST", typed.trim()))}>
          <input aria-label="Add a tag" placeholder="Add a tag" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
        </form>
      )}
    </div>
  );
}
