import { useEffect, useState } from "preact/hooks";
import { ApiError, postJson } from "../api/client";
import { useReturn } from "../state/session";

const PAUSE_MS = 350;

interface Answer<T> {
  found: T | null;
  error: ApiError | null;
  busy: boolean;
}

/** Ask the service whenever the request becomes another one; null asks nothing. What was told before stays meanwhile. */
export function useAnswer<T>(path: string, body: unknown, files: Record<string, Blob>): Answer<T> {
  const [answer, setAnswer] = useState<Answer<T>>({ found: null, error: null, busy: false });
  const asked = body === null ? null : JSON.stringify(body);
  const [turn, again] = useState(0);
  useReturn(() => again(turn + 1));
  useEffect(() => {
    if (asked === null) return setAnswer({ found: null, error: null, busy: false });
    const stop = new AbortController();
    setAnswer((old) => ({ ...old, busy: true }));
    const timer = setTimeout(() => {
      postJson<T>(path, body, files, stop.signal).then(
        (found) => setAnswer({ found, error: null, busy: false }),
        (error: unknown) => error instanceof ApiError && setAnswer({ found: null, error, busy: false }),
      );
    }, PAUSE_MS);
    return () => (clearTimeout(timer), stop.abort());
  }, [path, asked, turn]);
  return answer;
}
