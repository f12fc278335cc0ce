import { useEffect, useState } from "preact/hooks";
import { ApiError, getJson, libraryPath } from "../api/client";
import { picturesOf, type LibraryFacts } from "../api/types";
import { bytes, count } from "../format";
import { linkTo } from "../state/place";
import { may, service, useReturn } from "../state/session";
import { useStore } from "../state/store";
import { Trouble } from "../ui/trouble";
import { Add } from "./add";
import { Concepts } from "./concepts";
import { Duplicates } from "./duplicates";
import { Tags } from "./tags";
import { Works } from "./works";

export function LibraryPage({ name }: { name: string }) {
  const [facts, setFacts] = useState<LibraryFacts | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  // The list is kept fresh while jobs run; whenever it changes, so may the facts.
  const generation = useStore(service, ({ libraries }) => libraries?.find((one) => one.name === name)?.generation);
  const look = () =>
    getJson<LibraryFacts>(libraryPath(name)).then(
      (found) => (setFacts(found), setError(null)),
      (problem: unknown) => problem instanceof ApiError && setError(problem),
    );
  useEffect(() => void look(), [name, generation]);
  useReturn(look);
  return (
    <div class="page">
      <p class="crumb"><a href={linkTo({ view: "libraries" })}>Libraries</a></p>
      <div class="title">
        <h1>{name}</h1>
        {!error && <a class="button main" href={linkTo({ libraries: [name] })}>{facts && facts.texts && !picturesOf(facts) ? "Show texts" : "Show pictures"}</a>}
      </div>
      {error && <Trouble error={error} retry={() => void look()} />}
      {facts && <Numbers facts={facts} />}
      {facts && !facts.writable && <p class="soft">This library can only be read.</p>}
      {may("write") && facts?.writable && <Add name={name} />}
      <Works name={name} />
      {facts && <Concepts name={name} />}
      {facts && <Tags name={name} generation={facts.generation} />}
      {facts && picturesOf(facts) > 0 && <Duplicates name={name} />}
    </div>
  );
}

function Numbers({ facts }: { facts: LibraryFacts }) {
  const pictures = picturesOf(facts);
  const shown: [string, string][] = [
    ...(pictures || !facts.texts ? [[count(pictures), pictures === 1 ? "picture" : "pictures"] as [string, string]] : []),
    ...(facts.contents < facts.items ? [[count(facts.contents), "of them different"] as [string, string]] : []),
    ...(facts.texts ? [[count(facts.texts), "texts"] as [string, string]] : []),
    ...(facts.offline ? [[count(facts.offline), "offline"] as [string, string]] : []),
    [bytes(facts.size), "on the disk"],
    [count(facts.roots), facts.roots === 1 ? "folder" : "folders"],
  ];
  return (
    <>
      <dl class="numbers">{shown.map(([value, text]) => <div key={text}><dd>{value}</dd><dt>{text}</dt></div>)}</dl>
      {facts.folders?.length > 0 && (
        <ul class="folders">
          {facts.folders.map((one) => <li key={one.path ?? one.name}>{one.path ?? one.name}{!one.online && <span class="wrong"> is not connected</span>}</li>)}
        </ul>
      )}
      <p class="soft small">{facts.model ? `Model ${facts.model}${facts.dimension ? `, ${count(facts.dimension)} numbers a picture` : ""}` : "No model yet: the first pictures decide"}</p>
    </>
  );
}
