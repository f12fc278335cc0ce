import { useEffect, useState } from "preact/hooks";
import { ApiError, getJson, libraryPath } from "../api/client";
import type { LibraryFacts } from "../api/types";
import { bytes, count, counted } from "../format";
import { linkTo } from "../state/place";
import { jobs } from "../state/jobs";
import { may, service } from "../state/session";
import { useStore } from "../state/store";
import { Trouble } from "../ui/trouble";
import { Add } from "./add";
import { Duplicates } from "./duplicates";
import { JobCard, UploadCard } from "./progress";

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
  if (error) return <div class="page"><Trouble error={error} retry={() => void look()} /></div>;
  return (
    <div class="page">
      <p class="crumb"><a href={linkTo({ view: "libraries" })}>Libraries</a></p>
      <div class="title">
        <h1>{name}</h1>
        <a class="button main" href={linkTo({ libraries: [name] })}>Show pictures</a>
      </div>
      {facts && <Numbers facts={facts} />}
      {facts && !facts.writable && <p class="soft">This library can only be read.</p>}
      {may("write") && facts?.writable && <Add name={name} />}
      <Work name={name} />
      {facts && facts.items > 0 && <Duplicates name={name} />}
    </div>
  );
}

function Numbers({ facts }: { facts: LibraryFacts }) {
  const shown: [string, string][] = [
    [count(facts.items), facts.items === 1 ? "picture" : "pictures"],
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
      <p class="soft small">{facts.model ? `Model ${facts.model}` : "No model yet: the first pictures decide"}, generation {count(facts.generation)}</p>
    </>
  );
}

/** What is under way for this library, and what was. */
function Work({ name }: { name: string }) {
  const { all, order } = useStore(jobs, (value) => value);
  const own = order.map((id) => all[id]!).filter((job) => job.library === name);
  const failed = own.reduce((sum, job) => sum + job.failures.length, 0);
  return (
    <section aria-label="Progress">
      <UploadCard library={name} />
      {own.map((job) => <JobCard key={job.id} job={job} />)}
      {failed > 0 && own.length > 1 && <p class="soft small">{counted(failed, "file")} failed in all.</p>}
    </section>
  );
}
