let holders = 0;

/** Keep the page behind a dialog where it is, and as wide as it is without its scroll bar; until what this returns is called. */
export function holdPage(): () => void {
  const { style } = document.documentElement;
  if (!holders++) {
    style.paddingRight = `${innerWidth - document.documentElement.clientWidth}px`;
    style.overflow = "hidden";
  }
  return () => {
    if (--holders) return;
    style.paddingRight = "";
    style.overflow = "";
  };
}
