import type { ApiError } from "../api/client";

/** An error that helps: what it is, what to do, and a button to try again. */
export function Trouble({ error, retry, query }: { error: ApiError; retry?: () => void; query?: string }) {
  // That nothing answers is said above everything, once.
  if (error.status === 0) return null;
  const isHopeless = error.status >= 400 && error.status < 500 && error.status !== 429;
  return (
    <div class="trouble" role="alert">
      <h2>{error.title}</h2>
      {error.detail && <p>{error.detail}</p>}
      {query && error.column !== null && (
        <pre class="pointer" aria-hidden="true">{query}{"\n"}{" ".repeat(Math.max(0, error.column - 1))}▲</pre>
      )}
      {error.remedy && <p class="soft">{error.remedy}</p>}
      {retry && !isHopeless && <button onClick={retry}>Try again</button>}
    </div>
  );
}
