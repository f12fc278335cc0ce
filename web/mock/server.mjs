// A service that answers as docs/http.md says, without a model: to look at the page while writing it.
//   node mock/server.mjs [PORT]     PHOTOS=FOLDER shows real pictures, KEY=xl_test asks for a key, EMPTY=1 has no library
import { createReadStream, existsSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { item, picture, random } from "./data.mjs";
import { cancel, events, jobs, startJob } from "./jobs.mjs";

const PAGE = join(import.meta.dirname, "../../src/crosslens/serve/page");
const PORT = Number(process.argv[2] ?? 8766);
const POLICY = "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const library = (name, items, texts, more = {}) => ({ name, items, texts, offline: Math.floor(items / 50), model: items + texts ? "ViT-B-32 (openai)" : null, generation: 12, size: items * 1500, writable: true, roots: 2, ...more });
const libraries = process.env.EMPTY ? [] : [library("photos", 12_400, 0), library("scans", 310, 0, { writable: false }), library("notes", 240, 240)];

const json = (response, body, status = 200) => response.writeHead(status, { "content-type": status < 400 ? "application/json" : "application/problem+json" }).end(JSON.stringify(body));
const problem = (response, status, code, title, detail, remedy = "", more = {}) => json(response, { type: `urn:crosslens:problem:${code}`, title, status, code, detail, remedy, ...more, request_id: "mock" }, status);

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const data = Buffer.concat(chunks);
  if (!request.headers["content-type"]?.startsWith("multipart")) return JSON.parse(data.toString() || "{}");
  return JSON.parse(/name="request"\r\n\r\n(.*?)\r\n--/s.exec(data.toString("latin1"))?.[1] ?? "{}");
}

function search({ query = "", parts = [], k = 10, offset = 0, sort = "score", relevant = false, libraries: names }) {
  const bad = /\bbefor:/.exec(query);
  if (bad) return { column: bad.index + 1 };
  const scored = parts.length > 0 || query.split(/\s+/).some((word) => word && !/^-?\w+:/.test(word));
  const total = query.includes("nothing") ? 0 : query.includes("few") ? 30 : relevant ? 64 : 10_400;
  const where = names?.[0] ?? "photos";
  const shift = [...query].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) * (scored ? 1 : 0);
  const hits = Array.from({ length: Math.max(0, Math.min(k, total - offset)) }, (_, at) => {
    const place = offset + at;
    const hit = item(where, scored ? (place * 37 + shift) % 12_000 : place);
    return scored ? { ...hit, score: 0.34 * Math.exp(-place / 900), relevance: 1 / (1 + Math.exp((place - 60) / 9)) } : hit;
  });
  if (sort === "date") hits.sort((one, other) => (other.taken ?? other.modified).localeCompare(one.taken ?? one.modified));
  if (sort === "path") hits.sort((one, other) => one.path.localeCompare(other.path));
  return { query, hits, relevance_ends: scored && total ? Math.max(0, Math.min(64, total) - offset) : null, took_ms: 6.4 };
}

function points(name) {
  const draw = random(5);
  const normal = () => Math.sqrt(-2 * Math.log(draw() + 1e-9)) * Math.cos(6.283 * draw());
  const middles = Array.from({ length: 14 }, () => [normal(), normal()]);
  const items = Array.from({ length: 6000 }, (_, id) => `${name}:${id}`);
  return { total: 6000, points: items.map((_, id) => middles[id % 14].map((value) => value + 0.16 * normal())), items };
}

const softmax = (texts) => {
  const raw = texts.map((text) => Math.exp(random(text.length * 31 + text.charCodeAt(0))() * 6));
  const sum = raw.reduce((one, other) => one + other, 0);
  return raw.map((value, index) => ({ text: texts[index], index, similarity: 0.14 + value / sum / 8, confidence: value / sum })).sort((one, other) => other.confidence - one.confidence);
};
const cosines = (rows, columns, least) => Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, column) => (least > 0.3 && row === column ? 1 : least + 0.2 * random(row * 31 + column * 17 + row + column)())));

const heat = () => ({ box: [0, 0, 1, 1], rows: 7, columns: 7, values: Array.from({ length: 49 }, (_, at) => Math.exp(-(((at % 7) - 2.5) ** 2 + (Math.floor(at / 7) - 3.5) ** 2) / 5)) });

// Concepts that were taught since the start, by library and name: marks alone, no learning.
const taught = new Map();
const lesson = (library, name) => taught.get(`${library} ${name.toLowerCase()}`);
const rate = (of) => (of < 5 ? null : { wrong: 1, of, rate: 1 / of, low: 0.02, high: 0.4 });
const conceptOf = ({ library, name, marks, threshold }) => {
  const those = (how) => [...marks].filter(([, one]) => one === how).map(([item]) => item);
  const [yes, no] = [those("yes"), those("no")];
  return { name, library, kind: "image", yes: yes.length, no: no.length, presumed: 200, threshold, missed: rate(yes.length), false_alarms: rate(no.length), taught: "2024-06-20T18:00:00Z", current: true, tags: [], marked_yes: yes, marked_no: no };
};
const planOf = (tag, given) => ({ tag, fits: 214, items: 12_400, new: given ? 0 : 198, gone: 3, given });

const ROUTES = [
  ["GET", /^\/v1\/session$/, (_, response) => json(response, { version: "0.1.0", keys: !!process.env.KEY, scope: "admin", model: "ViT-B-32 (openai)" })],
  ["GET", /^\/v1\/libraries$/, (_, response) => json(response, { libraries })],
  ["POST", /^\/v1\/libraries$/, async (request, response) => {
    const { name } = await body(request);
    if (libraries.some((one) => one.name === name)) return problem(response, 409, "library_exists", "There is such a library", `a library is called ${name} already`);
    libraries.push(library(name, 0, 0));
    json(response, libraries.at(-1), 201);
  }],
  ["GET", /^\/v1\/libraries\/([^/]+)$/, (_, response, name) => {
    const found = libraries.find((one) => one.name === name);
    found ? json(response, { ...found, dimension: 512, contents: found.items, folders: [{ name: "Pictures", online: true, path: "/home/me/Pictures" }] }) : problem(response, 404, "library_not_found", "There is no such library", `there is no library ${name}`);
  }],
  ["POST", /^\/v1\/libraries\/([^/]+)\/(items|folders)$/, async (request, response, name, kind) => {
    for await (const _ of request) void _;
    json(response, { job: startJob(libraries.find((one) => one.name === name), kind === "items" ? "upload" : "folder") }, 202);
  }],
  ["GET", /^\/v1\/libraries\/([^/]+)\/map$/, (_, response, name) => json(response, points(name))],
  ["GET", /^\/v1\/libraries\/([^/]+)\/duplicates$/, (_, response, name) => json(response, { total: 3, clusters: [1, 2, 3].map((group) => ({ kind: "same", reason: "the same file", freed: 2e6, items: [0, 1, 2].slice(0, 2 + (group % 2)).map((copy) => ({ ...item(name, group * 40), item: `${name}:${group * 40}`, path: `/home/me/Pictures/copy ${copy}/a long way down/IMG.jpg` })) })) })],
  ["GET", /^\/v1\/libraries\/([^/]+)\/concepts$/, (_, response, library) => json(response, { concepts: [...taught.values()].filter((one) => one.library === library).map(conceptOf) })],
  ["GET", /^\/v1\/libraries\/([^/]+)\/concepts\/([^/]+)$/, (_, response, library, name) => (lesson(library, name) ? json(response, conceptOf(lesson(library, name))) : problem(response, 404, "concept_not_found", "There is no such concept", ""))],
  ["POST", /^\/v1\/libraries\/([^/]+)\/concepts\/([^/]+)$/, async (request, response, library, name) => {
    const { yes = [], no = [], unmark = [], threshold = 0.5 } = await body(request);
    const one = lesson(library, name) ?? { library, name, marks: new Map(), threshold };
    for (const [items, how] of [[yes, "yes"], [no, "no"]]) for (const item of items) one.marks.set(item, how);
    for (const item of unmark) one.marks.delete(item);
    taught.set(`${library} ${name.toLowerCase()}`, { ...one, threshold });
    json(response, conceptOf(lesson(library, name)));
  }],
  ["DELETE", /^\/v1\/libraries\/([^/]+)\/concepts\/([^/]+)$/, (_, response, library, name) => (taught.delete(`${library} ${name.toLowerCase()}`), json(response, { forgotten: name }))],
  ["GET", /^\/v1\/libraries\/([^/]+)\/concepts\/([^/]+)\/suggestions$/, (_, response, library, name) => json(response, { suggestions: Array.from({ length: 8 }, (_, at) => ({ item: item(library, 900 + at + 8 * lesson(library, name).marks.size), score: 0.45 + at / 80 })) })],
  ["GET", /^\/v1\/libraries\/([^/]+)\/concepts\/([^/]+)\/tag$/, (request, response, _, name) => json(response, planOf(new URL(request.url, "http://x").searchParams.get("tag") ?? name, false))],
  ["POST", /^\/v1\/libraries\/([^/]+)\/concepts\/([^/]+)\/tag$/, async (request, response, _, name) => json(response, planOf((await body(request)).tag ?? name, true))],
  ["GET", /^\/v1\/jobs$/, (_, response) => json(response, { jobs: [...jobs.values()] })],
  ["GET", /^\/v1\/jobs\/([^/]+)\/events$/, (_, response, id) => events(response, id)],
  ["GET", /^\/v1\/jobs\/([^/]+)$/, (_, response, id) => json(response, jobs.get(id))],
  ["DELETE", /^\/v1\/jobs\/([^/]+)$/, (_, response, id) => (cancel(id), json(response, jobs.get(id)))],
  ["POST", /^\/v1\/search$/, async (request, response) => {
    const found = search(await body(request));
    if (found.column) return problem(response, 400, "invalid_query", "The query cannot be read", "there is no filter 'befor'", "Did you mean before: ? To look for the word, write befor\\: instead", found);
    setTimeout(() => json(response, found), 60);
  }],
  ["POST", /^\/v1\/explain$/, async (request, response) => {
    const { query, parts = [] } = await body(request);
    const terms = [...query.split(/\s+(?=[-~])|(?<=~\S+)\s+/).filter(Boolean), ...parts.map(() => "picture 1")];
    json(response, { score: 0.31, terms: terms.map((term, at) => ({ term: term.replace(/^-/, ""), weight: term[0] === "-" ? -0.5 : 1, similarity: 0.2 + at / 20, share: (term[0] === "-" ? -0.18 : 1) / (at + 1.2) })), heat: heat() });
  }],
  ["GET", /^\/v1\/complete$/, (request, response) => {
    const text = new URL(request.url, "http://x").searchParams.get("text").split(" ").at(-1);
    const known = ['tag:family', 'tag:"summer 2023"', "tag:people/anna", 'camera:"Google Pixel 7"'];
    const at = Number(new URL(request.url, "http://x").searchParams.get("at"));
    json(response, { from: at - text.length, to: at, suggestions: known.filter((one) => one.startsWith(text)).map((one) => ({ text: one, kind: one.split(":")[0] })) });
  }],
  ["POST", /^\/v1\/rank$/, async (request, response) => json(response, { labels: softmax((await body(request)).texts) })],
  ["POST", /^\/v1\/match$/, async (request, response) => json(response, { results: (await body(request)).pairs.map(({ text }) => ({ similarity: 0.2 + text.length / 300, probability: Math.min(0.97, text.length / 20) })) })],
  ["POST", /^\/v1\/similarity$/, async (request, response) => {
    const { images, texts } = await body(request);
    json(response, { images_texts: cosines(images.length, texts.length, 0.12), images_images: cosines(images.length, images.length, 0.5), texts_texts: cosines(texts.length, texts.length, 0.6) });
  }],
  ["GET", /^\/v1\/items\/([^:]+):(\d+)$/, (_, response, name, id) => json(response, item(name, Number(id)))],
  ["GET", /^\/v1\/items\/([^:]+):(\d+)\/(thumbnail|original)/, (_, response, name, id) => {
    const { type, data } = picture(item(name, Number(id)));
    response.writeHead(200, { "content-type": type, "cache-control": "max-age=3600" }).end(data);
  }],
  [/POST|DELETE/, /^\/v1\/items\/[^/]+\/tags$/, async (request, response) => (await body(request), json(response, { tags: [] }))],
  ["GET", /^\/healthz$/, (_, response) => json(response, { status: "ok" })],
];

createServer(async (request, response) => {
  response.setHeader("content-security-policy", POLICY);
  const path = decodeURIComponent(new URL(request.url, "http://x").pathname);
  if (!path.startsWith("/v1") && path !== "/healthz") return file(response, path);
  const allowed = !process.env.KEY || request.headers.authorization === `Bearer ${process.env.KEY}`;
  if (path === "/v1/session" && !allowed) return json(response, { version: "0.1.0", keys: true, scope: null, model: null });
  if (!allowed) return problem(response, 401, "unauthorized", "A key is needed", "no key was sent");
  const route = ROUTES.find(([method, pattern]) => (method.test?.(request.method) ?? method === request.method) && pattern.test(path));
  if (!route) return problem(response, 404, "not_found", "Not found", `there is no ${path}`);
  await route[2](request, response, ...route[1].exec(path).slice(1));
}).listen(PORT, "127.0.0.1", () => console.log(`http://127.0.0.1:${PORT}`));

function file(response, path) {
  const name = join(PAGE, normalize(path === "/" ? "/index.html" : path));
  if (!existsSync(name)) return problem(response, 404, "not_found", "Not found", "");
  response.writeHead(200, { "content-type": TYPES[extname(name)] ?? "application/octet-stream" });
  createReadStream(name).pipe(response);
}
