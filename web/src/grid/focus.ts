/** The grid in the page tells here how it takes the focus to a result. */
export const shownGrid: { focusOn: ((index: number) => void) | null } = { focusOn: null };
