import { useEffect, useState } from "preact/hooks";

/** A value that components watch. */
export interface Store<T> {
  get(): T;
  set(change: Partial<T> | ((old: T) => Partial<T>)): void;
  watch(watcher: () => void): () => void;
}

export function createStore<T extends object>(initial: T): Store<T> {
  let value = initial;
  const watchers = new Set<() => void>();
  return {
    get: () => value,
    set(change) {
      value = { ...value, ...(typeof change === "function" ? change(value) : change) };
      for (const watcher of [...watchers]) watcher();
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
  };
}

/** A part of a store; the component is drawn anew only when that part is another one. */
export function useStore<T extends object, P>(store: Store<T>, pick: (value: T) => P): P {
  const picked = pick(store.get());
  const [, draw] = useState({});
  useEffect(() => {
    let last = picked;
    const look = () => {
      const next = pick(store.get());
      if (Object.is(last, next)) return;
      last = next;
      draw({});
    };
    look(); // it may have changed between drawing and now
    return store.watch(look);
  }, [store]);
  return picked;
}
