import { useEffect, useState } from "preact/hooks";
import { connection, itemPath, send } from "../api/client";
import { useStore } from "../state/store";

const KEPT = 600;
/** Pictures fetched with a key, as addresses of blobs; the one used longest ago goes first. */
const kept = new Map<string, Promise<string>>();

let keyOfKept = connection.get().key;

connection.watch(() => {
  if (connection.get().key === keyOfKept) return;
  keyOfKept = connection.get().key;
  kept.clear();
});

function fetched(path: string): Promise<string> {
  const known = kept.get(path) ?? send(path).then((response) => response.blob()).then((blob) => URL.createObjectURL(blob));
  kept.delete(path);
  kept.set(path, known);
  known.catch(() => kept.delete(path));
  if (kept.size > KEPT) {
    const [oldest, address] = kept.entries().next().value!;
    kept.delete(oldest);
    void address.then((url) => URL.revokeObjectURL(url), () => undefined);
  }
  return known;
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
    return () => void (wanted = false);
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

/** A picture that fades in; where it cannot be shown, its name stands instead. */
export function Thumb({ path, alt, class: kind = "" }: Props) {
  const address = useAddress(path);
  const [state, setState] = useState<"" | "there" | "failed">("");
  if (address === "failed" || state === "failed") return <span class="thumb-failed">{alt || "not shown"}</span>;
  return (
    <img
      class={`thumb ${state} ${kind}`}
      {...(address ? { src: address } : {})}
      alt={alt}
      decoding="async"
      draggable={false}
      onLoad={() => setState("there")}
      onError={() => address && setState("failed")}
    />
  );
}
