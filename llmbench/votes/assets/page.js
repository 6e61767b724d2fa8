const data = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id);
const isPairs = data.asks === "pairs";
const box = data.shared ? makeFileBox(data) : makeServerBox();
const SETTLE = 250; // ms before a new question takes an answer: a double click is no second vote
const WORDS = { left: "Answer 1", right: "Answer 2", good: "both good", bad: "both bad", tie: "no difference" };
const remembered = `llmbench rater ${data.shared ? data.poll : ""}`;

let rater = data.rater;
let question = null;
let counted = 0;
let spent = 0;
let target = data.target;
let taken = 0; // ms of this question until the page was hidden
let since = 0; // when it was shown, or shown again
let busy = true;
let retry = null;

// a file has one rater in a browser; a server's page may have several, a tab each
const remember = value => {
  try {
    const place = data.shared ? localStorage : sessionStorage;
    if (value === undefined) return place.getItem(remembered) ?? "";
    place.setItem(remembered, value);
  } catch {
    // a browser that keeps nothing
  }
  return "";
};

const seconds = () => (taken + (document.hidden ? 0 : performance.now() - since)) / 1000;

const show = id => {
  for (const name of ["start", "ask", "end"]) at(name).hidden = name !== id;
};

const tick = () => {
  const whole = Math.floor(spent + (question ? seconds() : 0));
  const minutes = Math.floor(whole / 60);
  at("clock").textContent = `${minutes}:${String(whole % 60).padStart(2, "0")}`;
};

const drawProgress = () => {
  at("bar").max = target;
  at("bar").value = Math.min(counted, target);
  at("count").textContent = `${counted} of ${target}`;
  at("undo").disabled = counted === 0;
};

const drawQuestion = () => {
  at("prompt").textContent = question.prompt;
  question.answers.forEach((text, number) => {
    at(`answer-${number}`).textContent = text;
    at(`answer-${number}`).scrollTop = 0;
  });
  at("prompt").scrollTop = at("prompt").scrollHeight; // where the answers go on
  window.scrollTo(0, 0);
  at("ratings").reset();
  markCriterion();
  taken = 0;
  since = performance.now();
};

const take = said => {
  retry = null;
  at("problem").hidden = true;
  counted = said.counted;
  spent = said.seconds;
  question = said.question;
  drawProgress();
  if (question === null || counted >= target) end();
  else {
    show("ask");
    drawQuestion();
    at("ask").dataset.question = counted; // what tests wait for
  }
  tick();
  busy = false;
};

// `work` is done again by "Try again": a reply has its identity from the start, and counts once
const run = async work => {
  busy = true;
  try {
    take(await work());
  } catch (error) {
    retry = work;
    at("problem-text").textContent = error.message;
    at("problem").hidden = false;
    busy = false;
  }
};

const isReady = () => !busy && retry === null && question !== null && !at("ask").hidden
  && performance.now() - since >= SETTLE;

const reply = said => {
  const whole = { identity: makeName(), ticket: question.ticket, seconds: Math.round(seconds() * 100) / 100, ...said };
  run(async () => {
    const answer = await box.send(rater, whole);
    at("said").textContent = said.verdict ? `Counted: ${WORDS[said.verdict]}` : "Counted";
    return answer;
  });
};

const undo = () => {
  if (busy || retry !== null || counted === 0) return;
  const identity = makeName();
  run(async () => {
    const answer = await box.undo(rater, identity);
    at("said").textContent = "Taken back";
    return answer;
  });
};

const end = () => {
  const isOver = question === null;
  at("end-title").textContent = counted ? "Thank you" : "Nothing to vote on";
  const noun = isPairs ? (counted === 1 ? "vote" : "votes") : (counted === 1 ? "answer rated" : "answers rated");
  at("end-text").textContent = `${counted} ${noun}.`
    + (isOver ? " There is no question that you have not answered." : "")
    + (data.shared || !counted ? "" : " They are in votes.jsonl; you can close this page.");
  at("more").hidden = isOver;
  if (data.shared && counted) giveFile();
  show("end");
};

const giveFile = () => {
  const text = JSON.stringify(box.give(rater), null, 1) + "\n";
  at("give").hidden = false;
  at("copy").value = text;
  const link = at("download");
  if (link.href.startsWith("blob:")) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `votes-${rater.replace(/[^\p{L}\p{N}_-]+/gu, "-").slice(0, 40)}.json`;
};

// ratings
const criteria = Object.entries(data.criteria);
const chosen = name => at("ratings").elements[name]?.value ?? "";
const nextCriterion = () => criteria.map(([name]) => name).find(name => !chosen(name));

const markCriterion = () => {
  const name = nextCriterion();
  for (const field of at("criteria").children) field.classList.toggle("now", field.dataset.name === name);
  at("rate").disabled = name !== undefined;
};

const buildCriteria = () => {
  for (const [name, title] of criteria) {
    const field = document.createElement("fieldset");
    field.dataset.name = name;
    const legend = document.createElement("legend");
    legend.textContent = title;
    const scale = document.createElement("div");
    scale.className = "scale";
    for (let value = 1; value <= 5; value++) {
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, { type: "radio", name, value: String(value) });
      input.setAttribute("aria-label", `${value} of 5${value === 1 ? ", bad" : value === 5 ? ", good" : ""}`);
      label.append(input, String(value));
      scale.append(label);
    }
    field.append(legend, scale);
    at("criteria").append(field);
  }
};

const rate = () => {
  if (!isReady() || nextCriterion() !== undefined) return;
  reply({ ratings: Object.fromEntries(criteria.map(([name]) => [name, Number(chosen(name))])) });
};

// keys, clicks and touches
const KEYS = { 1: "left", 2: "right", 3: "good", 4: "bad", 0: "tie" };

const press = event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || at("ask").hidden) return;
  if (event.key === "u" || event.key === "U") undo();
  else if (isPairs && KEYS[event.key] && isReady()) reply({ verdict: KEYS[event.key] });
  else if (!isPairs && /^[1-5]$/.test(event.key) && isReady()) {
    const name = nextCriterion();
    if (name === undefined) return;
    at("ratings").elements[name].value = event.key;
    markCriterion();
  } else if (!isPairs && event.key === "Enter" && event.target.tagName !== "BUTTON") rate();
  else return;
  event.preventDefault();
};

const begin = () => run(() => box.next(rater));

at("enter").addEventListener("submit", event => {
  event.preventDefault();
  rater = at("name").value.trim() || `rater-${makeName().slice(0, 6)}`;
  remember(rater);
  begin();
});
at("verdicts").addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button && isReady()) reply({ verdict: button.dataset.verdict });
});
at("ratings").addEventListener("change", markCriterion);
at("ratings").addEventListener("submit", event => {
  event.preventDefault();
  rate();
});
at("undo").addEventListener("click", undo);
at("finish").addEventListener("click", () => {
  if (!busy && retry === null) end();
});
at("more").addEventListener("click", () => {
  while (target <= counted) target += data.target;
  begin();
});
at("again").addEventListener("click", () => {
  if (retry !== null && !busy) run(retry);
});
document.addEventListener("keydown", press);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) taken += performance.now() - since;
  else since = performance.now();
});
window.addEventListener("storage", () => {
  if (data.shared && question && !busy && retry === null && box.has(rater, question.ticket)) begin();
});
window.addEventListener("pageshow", event => {
  if (event.persisted && rater && !at("ask").hidden) begin(); // back from another page
});
setInterval(tick, 1000);

at("verdicts").hidden = !isPairs;
at("ratings").hidden = isPairs;
at("second").hidden = !isPairs;
at("answers").classList.toggle("single", !isPairs);
at("title-0").textContent = isPairs ? "Answer 1" : "Answer";
at("title").textContent = isPairs ? "Which answer is better?" : "How good is the answer?";
at("lead").textContent = isPairs
  ? "You see a prompt and two answers to it. Choose the better one, or say that both are good, both are bad, or that there is no difference."
  : "You see a prompt and an answer to it. Rate it from 1, bad, to 5, good.";
at("unkept").hidden = box.keeps;
buildCriteria();
rater = rater || remember();
if (rater) begin();
else {
  show("start");
  busy = false;
}
