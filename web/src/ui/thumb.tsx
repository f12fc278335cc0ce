import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { connection, itemPath, send } from "../api/client";
import { useStore } from "../state/store";

const KEPT = 600;

interface Fetched {
  address: Promise<string>;
  /** Those that wait for it; when none does, it is given up. */
  users: number;
  isThere: boolean;
  stop: AbortController;
}

/** Pictures fetched with a key, as addresses of blobs; the one used longest ago goes first. */
const kept = new Map<string, Fetched>();

let keyOfKept = connection.get().key;

connection.watch(() => {
  if (connection.get().key === keyOfKept) return;
  keyOfKept = connection.get().key;
  kept.clear();
});

function fetching(path: string): Fetched {
  const stop = new AbortController();
  const address = send(path, { signal: stop.signal }).then((response) => response.blob()).then((blob) => URL.createObjectURL(blob));
  const now: Fetched = { address, users: 0, isThere: false, stop };
  address.then(() => (now.isThere = true), () => kept.delete(path));
  return now;
}

function fetched(path: string): Promise<string> {
  const known = kept.get(path) ?? fetching(path);
  known.users++;
  kept.delete(path);
  kept.set(path, known);
  if (kept.size > KEPT) {
    const [oldest, { address }] = kept.entries().next().value!;
    kept.delete(oldest);
    void address.then((url) => URL.revokeObjectURL(url), () => undefined);
  }
  return known.address;
}

function release(path: string): void {
  const known = kept.get(path);
  if (!known || --known.users || known.isThere) return;
  kept.delete(path);
  known.stop.abort();
}

/** The same for what is no component. */
export const addressOf = (path: string): Promise<string> => (connection.get().key ? fetched(path) : Promise.resolve(path));

/** An address that an <img> can show: the path itself, or with a key, which an <img> cannot send, a blob. */
export function useAddress(path: string | null): string | null | "failed" {
  const key = useStore(connection, (value) => value.key);
  const [found, setFound] = useState<{ path: string | null; address: string }>({ path: null, address: "" });
  useEffect(() => {
    if (!key || !path) return;
    let wanted = true;
    fetched(path).then(
      (address) => wanted && setFound({ path, address }),
      () => wanted && setFound({ path, address: "failed" }),
    );
    return () => ((wanted = false), release(path));
  }, [key, path]);
  if (!path) return null;
  return key ? (found.path === path ? found.address : null) : path;
}

/** version: of a hit; without it the browser asks each time whether the picture is still the same. */
export const thumbPath = (item: string, size: number, version?: string): string =>
  itemPath(item, `/thumbnail?size=${size}${version ? `&v=${version}` : ""}`);

interface Props {
  path: string | null;
  alt: string;
  class?: string;
}

/** Those that have been there: they are there again at once, without fading in. */
const shown = new Set<string>();

/** A picture that fades in; where it cannot be shown, its name stands instead. */
export function Thumb({ path, alt, class: kind = "" }: Props) {
  const address = useAddress(path);
  const [state, setState] = useState<"" | "there" | "failed">(path && shown.has(path) ? "there" : "");
  const image = useRef<HTMLImageElement>(null);
  // A browser would fetch it all the same, and what is in sight would wait for what has flown by. Not as an effect
  // after painting: what has gone again by then would never be given up.
  useLayoutEffect(() => {
    const { current: now } = image;
    return () => void (now && !now.complete && now.removeAttribute("src"));
  }, []);
  if (address === "failed" || state === "failed") return <span class="thumb-failed">{alt || "not shown"}</span>;
  return (
    <img
      ref={image}
      class={`thumb ${state} ${kind}`}
      {...(address ? { src: address } : {})}
      alt={alt}
      decoding="async"
      draggable={false}
      onLoad={() => (path && shown.add(path), setState("there"))}
      onError={() => address && setState("failed")}
    />
  );
}
