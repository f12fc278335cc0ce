// Jobs that only pretend: forty pictures in ten seconds, some of which cannot be read.
export const jobs = new Map();
const watchers = new Map();
const REASONS = ["is no picture: it begins like a PDF", "is truncated: 18,204 of 94,112 bytes", "has more pixels than are allowed (240 million)"];

export function startJob(library, kind) {
  const id = `job${jobs.size + 1}`;
  const job = { id, library: library.name, kind, state: "running", done: 0, total: 40, failed: 0, failures: [], started: Date.now() / 1000, ended: null };
  jobs.set(id, job);
  const timer = setInterval(() => {
    if (job.state !== "running") return clearInterval(timer);
    job.done += 1;
    if (job.done % 12 === 5) {
      const failure = { name: `IMG_${job.done}.jpg`, reason: REASONS[job.failures.length % 3] };
      job.failures.push(failure);
      tell(id, "failure", failure);
    } else {
      library.items += 1;
      library.generation += 1;
    }
    if (job.done === job.total) Object.assign(job, { state: "done", ended: Date.now() / 1000 });
    tell(id, job.state === "done" ? "done" : "progress", job);
  }, 250);
  return job;
}

export function events(response, id) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  watchers.set(id, [...(watchers.get(id) ?? []), response]);
  send(response, "progress", jobs.get(id));
}

export function cancel(id) {
  Object.assign(jobs.get(id), { state: "cancelled", ended: Date.now() / 1000 });
  tell(id, "done", jobs.get(id));
}

const send = (response, event, data) => response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);

function tell(id, event, data) {
  for (const response of watchers.get(id) ?? []) {
    send(response, event, data);
    if (event === "done") response.end();
  }
}
