import { useRef, useState } from "preact/hooks";
import type { Completion } from "../query/complete";
import { attach, picturesIn } from "../state/attachments";
import { go, place } from "../state/place";
import { forget } from "../state/settings";
import { useStore } from "../state/store";
import { Icon } from "../ui/icon";
import { PartChip, PictureChip } from "./chips";
import { useDraft } from "./draft";
import { useCompletions } from "./suggest";
import { Suggestions, SUGGESTIONS } from "./suggestions";

/** The box: chips for what is finished, a line for what is being typed, both one query. */
export function SearchBox() {
  const input = useRef<HTMLInputElement>(null);
  const pictures = useStore(place, (route) => route.pictures);
  const drafting = useDraft(input);
  const { draft, cursor } = drafting;
  const [isOpen, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const isEmpty = !draft.words && !draft.chips.length && !pictures.length;
  const completions = useCompletions(draft.words, cursor, isOpen, isEmpty);

  const pick = (one: Completion) => {
    setActive(-1);
    if (one.forgets) return forget();
    if (!isEmpty) return drafting.complete(one);
    setOpen(false);
    drafting.replace(one.text);
  };
  const submit = () => (setOpen(false), drafting.submit());
  const clear = () => {
    go({ pictures: [] });
    drafting.replace("");
    input.current!.focus();
  };
  const onInput = ({ currentTarget: field }: { currentTarget: HTMLInputElement }) => {
    setActive(-1);
    setOpen(true);
    drafting.type(field.value, field.selectionStart ?? 0);
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    const count = completions.length;
    const isStart = !input.current!.selectionEnd;
    if (event.key === "Enter" || (event.key === "Tab" && active >= 0)) active >= 0 ? pick(completions[active]!) : submit();
    else if (event.key === "ArrowDown" && count) setActive(((active + 2) % (count + 1)) - 1);
    else if (event.key === "ArrowUp" && count) setActive(((active + count + 1) % (count + 1)) - 1);
    else if (event.key === "ArrowDown") document.querySelector<HTMLElement>("[data-tile][tabindex='0']")?.focus();
    else if (event.key === "Escape" && count) setOpen(false);
    else if (event.key === "Escape") input.current!.blur();
    else if (event.key === "Backspace" && isStart && draft.chips.length) drafting.edit(draft.chips.at(-1)!);
    else if (event.key === "Backspace" && isStart && pictures.length) go({ pictures: pictures.slice(0, -1) });
    else return;
    event.preventDefault();
  };

  return (
    <form class="box" role="search" onSubmit={(event) => (event.preventDefault(), submit())}>
      <Icon name="search" />
      <div class="box-parts">
        {pictures.map((id) => <PictureChip key={id} id={id} />)}
        {draft.chips.map((chip, at) => (
          <PartChip key={`${chip.raw} ${at}`} part={chip} onEdit={() => drafting.edit(chip)} onRemove={() => drafting.remove(chip)} onChange={(raw) => drafting.change(chip, raw)} />
        ))}
        <input
          ref={input}
          id="search"
          type="text"
          role="combobox"
          aria-label="Search pictures"
          aria-expanded={completions.length > 0}
          aria-controls={SUGGESTIONS}
          aria-autocomplete="list"
          {...(active >= 0 ? { "aria-activedescendant": `${SUGGESTIONS}-${active}` } : {})}
          placeholder={isEmpty ? "Describe a picture, or drop one here" : ""}
          autoComplete="off"
          autoCapitalize="off"
          spellcheck={false}
          enterkeyhint="search"
          value={draft.words}
          onInput={onInput}
          onKeyDown={onKey}
          onKeyUp={(event) => drafting.moveTo(event.currentTarget.selectionStart ?? 0)}
          onFocus={() => setOpen(true)}
          onBlur={() => (setOpen(false), setActive(-1))}
        />
      </div>
      {!isEmpty && <button type="button" class="quiet round" aria-label="Clear the search" onClick={clear}><Icon name="close" /></button>}
      <PictureButton />
      <Suggestions list={completions} active={active} onPick={pick} />
    </form>
  );
}

function PictureButton() {
  const file = useRef<HTMLInputElement>(null);
  const chosen = () => {
    addPictures([...(file.current!.files ?? [])]);
    file.current!.value = "";
  };
  return (
    <>
      <button type="button" class="quiet round" aria-label="Search by a picture" title="Search by a picture (or paste, or drop one)" onClick={() => file.current!.click()}>
        <Icon name="image" />
      </button>
      <input ref={file} id="picture" class="hidden" type="file" accept="image/*" multiple tabIndex={-1} aria-hidden="true" onChange={chosen} />
    </>
  );
}

/** Put pictures into the query, beside what is there. */
export function addPictures(files: readonly File[]): void {
  const ids = files.map((file) => attach(file, file.name));
  const { pictures } = place.get();
  if (ids.length) go({ view: "search", name: "", pictures: [...pictures, ...ids], item: null });
}

/** Pictures in what is dropped or pasted go into the query; whether there were any. */
export function takePictures(data: DataTransfer | null): boolean {
  const files = picturesIn(data);
  addPictures(files);
  return files.length > 0;
}
