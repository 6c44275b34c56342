// Creates a panorama and follows its events until it has ended.

const form = document.querySelector("form");
const state = document.querySelector("[role=status]");
const bar = document.querySelector("progress");
const image = document.querySelector("img");
const log = document.querySelector("ol");

const ENDS = ["succeeded", "failed", "cancelled"];
const EVENTS = ["created", "started", "progress", "cancel_requested", "requeued", "retried", ...ENDS];
const PREVIEW_EVERY_MS = 3000;

form.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  const fields = new FormData(form);
  state.textContent = "sending";
  try {
    const answer = await fetch("panoramas", {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() },
      body: JSON.stringify({
        prompt: fields.get("prompt"),
        seed: Number(fields.get("seed")),
        steps: Number(fields.get("steps")),
      }),
    });
    const body = await answer.json();
    if (answer.ok) follow(body.id);
    else state.textContent = `${body.code}: ${body.detail}`;
  } catch {
    state.textContent = "The service does not answer.";
  }
});

function follow(id) {
  // The browser reconnects by itself, and sends the id of the last event that it saw.
  const source = new EventSource(`panoramas/${id}/events`);
  let previewed = Date.now();
  log.replaceChildren();
  bar.value = 0;
  image.hidden = true;

  for (const type of EVENTS) {
    source.addEventListener(type, (event) => {
      const { status, attempt, progress } = JSON.parse(event.data);
      state.textContent = status;
      if (progress) {
        bar.value = progress.fraction;
        state.textContent = `${progress.phase}: step ${progress.step} of ${progress.total_steps}`;
        if (Date.now() - previewed > PREVIEW_EVERY_MS) {
          previewed = Date.now();
          show(`panoramas/${id}/preview?${previewed}`);
        }
        return;
      }
      const line = document.createElement("li");
      line.textContent = type === "started" ? `started (attempt ${attempt})` : type;
      log.append(line);
      if (ENDS.includes(type)) {
        source.close();
        bar.value = 1;
        if (type === "succeeded") show(`panoramas/${id}/image`);
      }
    });
  }
}

function show(url) {
  // A preview may not exist yet. The page then keeps the picture that it has.
  const next = new Image();
  next.addEventListener("load", () => {
    image.src = next.src;
    image.hidden = false;
  });
  next.src = url;
}
