// The game service behind the gateway.

import { settings } from "./settings.mjs";

/** An answer of the gateway itself. */
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, wait, options = {}) {
  try {
    const answer = await fetch(settings.flask + path, { ...options, signal: AbortSignal.timeout(wait) });
    return { status: answer.status, retryAfter: answer.headers.get("retry-after"), body: await answer.json() };
  } catch (error) {
    if (error.name === "TimeoutError") throw new Problem(504, `the game service did not answer within ${wait} ms`);
    const cause = error.cause?.code ?? error.cause?.message ?? error.message;
    throw new Problem(503, `the game service does not answer: ${cause}`);
  }
}

/** Plays a game: status and body as the game service has them. */
export function play(code) {
  return ask("/api/games", settings.wait.game, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ code }),
  });
}

/** Its health document. */
export const health = () => ask("/api/health", settings.wait.health);
