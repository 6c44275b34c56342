// Server-sent events, as HTML's standard specifies them.

import type { EventView } from "./answers.js";

/** What happened (`event`, such as `progress`), and its data. */
export type PanoramaEvent = EventView & {
  /** For `watch(..., { lastEventId })`. */
  id: string;
  event: string;
};

/** The events of a stream. `heard` is called whenever bytes arrive. */
export async function* parseEvents(
  body: ReadableStream<Uint8Array>,
  heard: () => void,
): AsyncGenerator<PanoramaEvent, void, undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let fields: Record<string, string> = {};
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return; // an event without an empty line after it is not complete
      }
      heard();
      text += decoder.decode(value, { stream: true });
      // A CR at the end may be the first half of a CRLF.
      const lines = text.split(/\r\n|\n|\r(?!$)/);
      text = lines.pop() ?? "";
      for (const line of lines) {
        if (line !== "") {
          addField(fields, line);
        } else {
          const { id = "", event = "message", data } = fields;
          fields = { id }; // holds for the next events, until another one has its own
          if (data !== undefined) {
            yield { ...(JSON.parse(data) as EventView), id, event };
          }
        }
      }
    }
  } finally {
    await reader.cancel().catch(() => {}); // the stream may have broken already
  }
}

function addField(fields: Record<string, string>, line: string): void {
  const [, name = "", value = ""] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
  if (name === "data" && fields["data"] !== undefined) {
    fields["data"] += `\n${value}`;
  } else if (name !== "") {
    fields[name] = value; // a line that begins with a colon is a comment
  }
}
