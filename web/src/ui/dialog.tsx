import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { holdPage } from "./hold";
import { Icon } from "./icon";

interface Props {
  title: string;
  class?: string;
  /** Without it, the dialog has no way out but through. */
  onClose?: () => void;
  children: ComponentChildren;
}

/** A dialog of the browser: it keeps the focus, and gives it back. */
export function Dialog({ title, class: kind = "", onClose, children }: Props) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    const release = holdPage();
    box.current!.showModal();
    return () => (release(), before?.focus?.());
  }, []);
  return (
    <dialog
      ref={box}
      class={`dialog ${kind}`}
      aria-label={title}
      onCancel={(event) => (event.preventDefault(), onClose?.())}
      onClick={(event) => event.target === box.current && onClose?.()}
    >
      <div class="dialog-body">
        <header>
          <h2>{title}</h2>
          {onClose && <button class="quiet round" aria-label="Close" onClick={onClose}><Icon name="close" /></button>}
        </header>
        {children}
      </div>
    </dialog>
  );
}
