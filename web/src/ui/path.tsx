import { Fragment } from "preact";

/** A path that breaks between its folders, not within their names. */
export const Path = ({ text }: { text: string }) => (
  <>{text.split(/(?<=[/\\])/).map((part, at) => <Fragment key={at}>{part}<wbr /></Fragment>)}</>
);
