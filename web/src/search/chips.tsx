import { spoken, weightOf, withWeight } from "../query/edit";
import type { Part } from "../query/parse";
import { attachments, weighed } from "../state/attachments";
import { go, place } from "../state/place";
import { useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { openMenu, type Choice } from "../ui/menu";
import { Thumb, thumbPath } from "../ui/thumb";

interface Props {
  part: Part;
  onEdit: () => void;
  onRemove: () => void;
  /** The part as it is to stand instead. */
  onChange: (raw: string) => void;
}

/** A finished part of the query: pressed, a filter or a phrase is typed again, and a picture offers its weights. */
export function PartChip({ part, onEdit, onRemove, onChange }: Props) {
  const aloud = spoken(part);
  const weigh = (event: MouseEvent) =>
    openMenu(event.currentTarget as HTMLElement, `How much ${aloud} counts`, weights(weightOf(part), (weight) => onChange(withWeight(part, weight))));
  const isPicture = part.kind === "picture";
  return (
    <span class={`chip ${part.away ? "away" : ""}`}>
      <button type="button" class="chip-text" title={isPicture ? "How much it counts" : `${part.raw}: press to change it`} aria-label={`Change ${aloud}`}
        {...(isPicture ? { "aria-haspopup": "menu" as const } : {})} onClick={isPicture ? weigh : onEdit} onKeyDown={removing(onRemove)}>
        {part.kind === "filter" && <><span class="chip-name">{part.away ? "not " : ""}{part.name}</span> {part.value}</>}
        {part.kind === "phrase" && <>{sign(weightOf(part), part.away)}{part.raw.includes('"') ? `“${part.value}”` : part.value}</>}
        {isPicture && <>{sign(weightOf(part), part.away)}<ItemPicture item={part.value} /></>}
      </button>
      <button type="button" class="chip-remove" aria-label={`Remove ${aloud}`} onClick={onRemove}><Icon name="close" /></button>
    </span>
  );
}

const removing = (onRemove: () => void) => (event: KeyboardEvent) => {
  if (event.key !== "Delete" && event.key !== "Backspace") return;
  event.preventDefault();
  onRemove();
};

/** "− " for what is pushed away, "2 × " for what counts otherwise than it would by itself. */
function sign(weight: number, away: boolean): string {
  const own = away ? 0.5 : 1;
  return `${away ? "− " : ""}${Math.abs(weight) === own ? "" : `${Math.abs(weight)} × `}`;
}

const WEIGHTS: readonly [number, string][] = [
  [2, "Twice as much"], [1, "Like it"], [0.5, "Half as much"], [-0.2, "A little less like it"], [-0.5, "Without it"],
];

const weights = (now: number, choose: (weight: number) => void): Choice[] =>
  WEIGHTS.map(([weight, text]) => ({ text, icon: weight === now ? "check" : weight < 0 ? "minus" : "plus", act: () => choose(weight) }));

/** "~photos:12" is shown as the picture it stands for. */
const ItemPicture = ({ item }: { item: string }) =>
  item.includes(":") ? <Thumb path={thumbPath(item, 128)} alt={item} class="chip-picture" /> : <>{item}</>;

/** A picture that was pasted or dropped. */
export function PictureChip({ id }: { id: string }) {
  const one = useStore(attachments, ({ all }) => all[id]);
  const replaceBy = (other: string | null) => {
    const pictures = place.get().pictures.flatMap((old) => (old === id ? (other ? [other] : []) : [old]));
    go({ pictures });
  };
  const name = one?.name ?? "a picture of an earlier visit";
  const away = (one?.weight ?? 1) < 0;
  const weigh = (event: MouseEvent) =>
    one && openMenu(event.currentTarget as HTMLElement, `How much ${name} counts`, weights(one.weight, (weight) => replaceBy(weighed(one, weight))));
  return (
    <span class={`chip ${away ? "away" : ""}`}>
      {one ? (
        <button type="button" class="chip-text" aria-haspopup="menu" aria-label={`${away ? "Away from" : "Like"} ${name}: change`} title="How much it counts" onClick={weigh} onKeyDown={removing(() => replaceBy(null))}>
          {sign(one.weight, away)}<img class="chip-picture thumb there" src={one.url} alt="" />
        </button>
      ) : (
        <span class="chip-text" title="Pictures do not outlive a reload: paste it again">picture is gone</span>
      )}
      <button type="button" class="chip-remove" aria-label={`Remove ${name}`} onClick={() => replaceBy(null)}><Icon name="close" /></button>
    </span>
  );
}
