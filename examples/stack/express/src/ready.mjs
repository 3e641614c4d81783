// The container's health check: exits 0 when the gateway answers that it is ready.

import http from "node:http";

const port = Number(process.env.PORT ?? 3000);
const request = http.get({ host: "127.0.0.1", port, path: "/api/ready", timeout: 4_000, agent: false }, (answer) => {
  let text = "";
  answer.setEncoding("utf8").on("data", (part) => (text += part));
  answer.on("end", () => end(answer.statusCode === 200, text));
});
request.on("timeout", () => end(false, "no answer in time"));
request.on("error", (error) => end(false, error.message));

function end(well, text) {
  if (!well) console.error(text);
  process.exit(well ? 0 : 1);
}
