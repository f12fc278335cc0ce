import { isOver } from "../api/types";
import { counted } from "../format";
import { jobs } from "../state/jobs";
import { useStore } from "../state/store";
import { JobCard, UploadCard } from "./progress";
import { worksOf } from "./work";

const SHOWN = 3;

/** What is under way for this library, and what was. */
export function Works({ name }: { name: string }) {
  const { all, order } = useStore(jobs, (value) => value);
  const works = worksOf(order.map((id) => all[id]!).filter((job) => job.library === name));
  const old = works.slice(SHOWN).filter(isOver);
  return (
    <section aria-label="Progress">
      <UploadCard library={name} />
      {works.filter((work) => !old.includes(work)).map((work) => <JobCard key={work.ids.at(-1)} work={work} />)}
      {old.length > 0 && <details class="older"><summary>{counted(old.length, "earlier job")}</summary>{old.map((work) => <JobCard key={work.ids.at(-1)} work={work} />)}</details>}
    </section>
  );
}
