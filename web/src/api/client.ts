import { createStore } from "../state/store";

/** An answer that is no success, as a problem document told it. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly title: string,
    readonly detail: string,
    readonly remedy: string,
    readonly column: number | null,
    readonly retryAfter: number | null,
  ) {
    super(detail || title);
  }
}

/** What went wrong, and what to do about it, in a line. */
export function remedied(error: unknown): string {
  const { message } = error as Error;
  return error instanceof ApiError && error.remedy ? `${message}. ${error.remedy}` : message;
}

const KEY = "crosslens-key";

/** reachable: false from a request that got no answer until one that did. keyWanted: the last was refused. */
export const connection = createStore({
  key: sessionStorage.getItem(KEY),
  reachable: true,
  keyWanted: false,
});

export function setKey(key: string | null): void {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
  connection.set({ key, keyWanted: false });
}

function withKey(init: RequestInit): RequestInit {
  const { key } = connection.get();
  if (!key) return init;
  return { ...init, headers: { ...(init.headers as Record<string, string>), Authorization: `Bearer ${key}` } };
}

/** A request's answer. Throws ApiError; the status of one that no answer came to is 0. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, withKey(init));
  } catch (error) {
    if ((error as Error).name === "AbortError") throw error;
    connection.set({ reachable: false });
    throw new ApiError(0, "unreachable", "The service does not answer", "", "It may be stopped, or the network down", null, null);
  }
  if (!connection.get().reachable) connection.set({ reachable: true });
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status === 401) connection.set({ keyWanted: true });
  throw problem;
}

async function problemOf(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  const text = (name: string) => (typeof body[name] === "string" ? (body[name] as string) : "");
  const retry = Number(response.headers.get("Retry-After") ?? NaN);
  return new ApiError(
    response.status,
    text("code") || `http_${response.status}`,
    text("title") || `The service answered ${response.status}`,
    text("detail"),
    text("remedy"),
    typeof body["column"] === "number" ? body["column"] : null,
    Number.isNaN(retry) ? null : retry,
  );
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await send(path, signal ? { signal } : {})).json() as Promise<T>;
}

/** Send JSON; with files, a form whose field "request" holds it. A service that is busy is asked again. */
export async function postJson<T>(path: string, body: unknown, files: Record<string, Blob> = {}, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method: "POST", ...(signal ? { signal } : {}) };
  if (Object.keys(files).length) {
    const form = new FormData();
    form.append("request", JSON.stringify(body));
    for (const [name, file] of Object.entries(files)) form.append(name, file, name);
    init.body = form;
  } else {
    init.body = JSON.stringify(body);
    init.headers = { "Content-Type": "application/json" };
  }
  return (await sendPatiently(path, init)).json() as Promise<T>;
}

export async function sendJson(method: string, path: string, body?: unknown): Promise<void> {
  const headers = { "Content-Type": "application/json" };
  await send(path, body === undefined ? { method } : { method, headers, body: JSON.stringify(body) });
}

async function sendPatiently(path: string, init: RequestInit, tries = 3): Promise<Response> {
  try {
    return await send(path, init);
  } catch (error) {
    const busy = error instanceof ApiError && (error.status === 429 || error.status === 503);
    if (!busy || tries <= 1 || (error.retryAfter ?? 1) > 5) throw error;
    await new Promise((go) => setTimeout(go, 1000 * (error.retryAfter ?? 1)));
    return sendPatiently(path, init, tries - 1);
  }
}

export const itemPath = (item: string, rest = ""): string => `/v1/items/${encodeURIComponent(item)}${rest}`;
export const libraryPath = (name: string, rest = ""): string => `/v1/libraries/${encodeURIComponent(name)}${rest}`;
