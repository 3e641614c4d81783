// The page: sends the program, and shows what came of it.

const $ = (id) => document.getElementById(id);

async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error ?? `status ${answer.status}`);
  return body;
}

function show(ended, output = "", errors = "") {
  $("ended").textContent = ended;
  $("output").textContent = output;
  $("errors").textContent = errors;
}

function played(count) {
  $("played").textContent = count ? `You have played ${count} ${count === 1 ? "game" : "games"}.` : "";
}

async function scores() {
  const rows = (await ask("/api/scores")).map(({ player, score }) => {
    const row = document.createElement("li");
    row.textContent = `${player}: ${score}`;
    return row;
  });
  $("scores").replaceChildren(...rows);
}

async function play(event) {
  event.preventDefault();
  $("run").disabled = true;
  show("It runs ...");
  try {
    const game = await ask("/api/games", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ code: $("code").value, player: $("player").value }),
    });
    const points = game.score === null ? "" : `, score ${game.score}`;
    show(`${game.ended} after ${game.milliseconds} ms${points}`, game.stdout, game.stderr);
    played(game.played);
    await scores();
  } catch (error) {
    show(`It was not played: ${error.message}`);
  } finally {
    $("run").disabled = false;
  }
}

$("form").addEventListener("submit", play);
try {
  const me = await ask("/api/me");
  if (me.player) $("player").value = me.player;
  played(me.played);
  await scores();
} catch (error) {
  show(`The platform is not well: ${error.message}`);
}
