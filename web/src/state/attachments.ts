import { createStore } from "./store";

/** A picture that was pasted or dropped into the query. weight: how much it counts; below 0, less like it. */
export interface Attachment {
  id: string;
  blob: Blob;
  url: string;
  name: string;
  weight: number;
}

/** Those of this visit, also of queries that one may come back to. */
export const attachments = createStore<{ all: Record<string, Attachment> }>({ all: {} });

let last = 0;
// A reload begins anew: numbers of an earlier visit must not name other pictures.
const visit = Math.floor(performance.timeOrigin).toString(36).slice(-5);

export function attach(blob: Blob, name: string): string {
  const id = `${visit}-${++last}`;
  const one: Attachment = { id, blob, url: URL.createObjectURL(blob), name, weight: 1 };
  attachments.set(({ all }) => ({ all: { ...all, [id]: one } }));
  return id;
}

/** The same picture with another weight, as one of its own: the way back finds the old one. */
export function weighed(one: Attachment, weight: number): string {
  const id = attach(one.blob, one.name);
  attachments.set(({ all }) => ({ all: { ...all, [id]: { ...all[id]!, weight } } }));
  return id;
}

export const isPicture = (file: File): boolean => file.type.startsWith("image/") || /\.(hei[cf]|avif|tiff?)$/i.test(file.name);

/** Pictures among what was dropped or pasted. */
export const picturesIn = (data: DataTransfer | null): File[] => [...(data?.files ?? [])].filter(isPicture);
