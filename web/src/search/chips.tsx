import { spoken } from "../query/edit";
import type { Part } from "../query/parse";
import { attachments, turned } from "../state/attachments";
import { go, place } from "../state/place";
import { useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { Thumb, thumbPath } from "../ui/thumb";

interface Props {
  part: Part;
  onEdit: () => void;
  onRemove: () => void;
}

export function PartChip({ part, onEdit, onRemove }: Props) {
  const aloud = spoken(part);
  return (
    <span class={`chip ${part.away ? "away" : ""}`}>
      <button type="button" class="chip-text" title={`${part.raw}: press to change it`} aria-label={`Change ${aloud}`} onClick={onEdit}
        onKeyDown={(event) => (event.key === "Delete" || event.key === "Backspace") && onRemove()}>
        {part.kind === "filter" && <><span class="chip-name">{part.away ? "not " : ""}{part.name}</span> {part.value}</>}
        {part.kind === "phrase" && <>{sign(part)}{part.raw.includes('"') ? `“${part.value}”` : part.value}</>}
        {part.kind === "picture" && <>{sign(part)}<ItemPicture item={part.value} /></>}
      </button>
      <button type="button" class="chip-remove" aria-label={`Remove ${aloud}`} onClick={onRemove}><Icon name="close" /></button>
    </span>
  );
}

const sign = (part: Part): string => `${part.away ? "− " : ""}${part.weight === null ? "" : `${part.weight} × `}`;

/** "~photos:12" is shown as the picture it stands for. */
const ItemPicture = ({ item }: { item: string }) =>
  item.includes(":") ? <Thumb path={thumbPath(item, 128)} alt={item} class="chip-picture" /> : <>{item}</>;

/** A picture that was pasted or dropped. Pressing it turns the wish round. */
export function PictureChip({ id }: { id: string }) {
  const one = useStore(attachments, ({ all }) => all[id]);
  const replaceBy = (other: string | null) => {
    const pictures = place.get().pictures.flatMap((old) => (old === id ? (other ? [other] : []) : [old]));
    go({ pictures });
  };
  const name = one?.name ?? "a picture of an earlier visit";
  return (
    <span class={`chip ${one?.away ? "away" : ""}`}>
      {one ? (
        <button type="button" class="chip-text" aria-pressed={one.away} aria-label={`Less like ${name}`} title={one.away ? "Less like this picture" : "Like this picture; press for less like it"} onClick={() => replaceBy(turned(one))}>
          {one.away ? "− " : ""}<img class="chip-picture thumb there" src={one.url} alt="" />
        </button>
      ) : (
        <span class="chip-text" title="Pictures do not outlive a reload: paste it again">picture is gone</span>
      )}
      <button type="button" class="chip-remove" aria-label={`Remove ${name}`} onClick={() => replaceBy(null)}><Icon name="close" /></button>
    </span>
  );
}
