// Where votes go. Both boxes answer { counted, seconds, question }; a question is
// { ticket, prompt, answers }, or null if there is no other.

// A server on this machine. What it has not answered is not counted.
const makeServerBox = () => {
  const ask = async body => {
    let response;
    try {
      response = await fetch("next", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(20000),
      });
    } catch {
      throw new Error("llmbench does not answer: is `llmbench vote` still running? This vote is not counted yet.");
    }
    const said = await response.json();
    if (!response.ok) throw new Error(said.problem);
    return said;
  };
  return {
    keeps: true,
    next: rater => ask({ rater }),
    send: (rater, reply) => ask({ rater, reply }),
    undo: (rater, identity) => ask({ rater, undo: identity }),
  };
};

// The browser's own storage: one entry a vote, so that two tabs lose nothing.
const makeFileBox = data => {
  const prefix = `llmbench vote ${data.poll} `;
  let store = new Map();
  let keeps = true;
  try {
    localStorage.setItem(`${prefix}?`, "");
    localStorage.removeItem(`${prefix}?`);
  } catch {
    keeps = false;
  }
  const write = vote => {
    if (keeps) localStorage.setItem(prefix + vote.identity, JSON.stringify(vote));
    else store.set(vote.identity, vote);
  };
  const remove = identity => (keeps ? localStorage.removeItem(prefix + identity) : store.delete(identity));
  const list = () => {
    if (!keeps) return [...store.values()];
    const found = [];
    for (let at = 0; at < localStorage.length; at++) {
      const key = localStorage.key(at);
      if (!key.startsWith(prefix)) continue;
      try {
        found.push(JSON.parse(localStorage.getItem(key)));
      } catch {
        // not written by this page
      }
    }
    return found.sort((a, b) => a.number - b.number || (a.identity < b.identity ? -1 : 1));
  };
  const byItem = new Map(data.questions.map(question => [question.item, question]));
  // another page of the same run may ask other things: its votes are given by that page
  const isHere = vote => byItem.get(vote.ticket?.item)?.digests.includes(vote.ticket.digest);
  const mine = rater => list().filter(vote => vote.rater === rater && isHere(vote));

  const show = (ticket) => {
    const question = byItem.get(ticket.item);
    const answers = question.answers.map(at => data.texts[at]);
    if (ticket.turned) answers.reverse();
    return { ticket, prompt: data.texts[question.prompt], answers };
  };
  const makeTicket = (question, turned, repeat_of) => ({
    item: question.item,
    digest: question.digests[turned ? 1 : 0],
    turned,
    chance: repeat_of === null ? data.chance : 1,
    repeat_of,
  });
  const turn = (question, votes, random) => {
    if (!question.sides.length) return false;
    const lean = new Map();
    for (const vote of votes) {
      const sides = [...byItem.get(vote.ticket.item).sides];
      if (vote.ticket.turned) sides.reverse();
      lean.set(sides[0], (lean.get(sides[0]) ?? 0) + 1);
      lean.set(sides[1], (lean.get(sides[1]) ?? 0) - 1);
    }
    const more = (lean.get(question.sides[0]) ?? 0) - (lean.get(question.sides[1]) ?? 0);
    return more === 0 ? random() < 0.5 : more > 0;
  };
  // each two contestants as often as any others, and then at random
  const draw = (rater, votes) => {
    const random = makeRandom(`${data.poll} ${rater} ${votes.length}`);
    const asked = votes.filter(vote => vote.shown);
    if (data.asks === "pairs" && random() < data.repeats) {
      const again = new Set(asked.map(vote => vote.ticket.repeat_of));
      const open = asked
        .slice(0, Math.max(0, asked.length - data.distance))
        .filter(vote => vote.ticket.repeat_of === null && !again.has(vote.identity));
      if (open.length) {
        const vote = pickOne(open, random);
        return makeTicket(byItem.get(vote.ticket.item), random() < 0.5, vote.identity);
      }
    }
    const done = new Set(votes.map(vote => vote.ticket.item));
    const open = data.questions.filter(question => !done.has(question.item));
    if (!open.length) return null;
    const counts = new Map();
    const group = question => [...question.sides].sort((a, b) => a - b).join(" ");
    for (const vote of votes) {
      const name = group(byItem.get(vote.ticket.item));
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    const count = question => counts.get(group(question)) ?? 0;
    const least = Math.min(...open.map(count));
    const question = pickOne(open.filter(one => count(one) === least), random);
    return makeTicket(question, turn(question, votes, random), null);
  };
  const keep = (rater, reply, shown) => {
    const number = 1 + Math.max(-1, ...mine(rater).map(vote => vote.number));
    write({ ...reply, rater, number, shown, time: new Date().toISOString() });
  };
  const answer = (rater, question) => {
    const asked = mine(rater).filter(vote => vote.shown);
    return { counted: asked.length, seconds: asked.reduce((sum, vote) => sum + (vote.seconds ?? 0), 0), question };
  };
  const next = rater => {
    for (;;) {
      const ticket = draw(rater, mine(rater));
      if (ticket === null) return answer(rater, null);
      const question = show(ticket);
      if (question.answers.length < 2 || question.answers[0] !== question.answers[1]) return answer(rater, question);
      keep(rater, { identity: makeName(), ticket, verdict: "tie", seconds: 0 }, false);
    }
  };
  return {
    keeps,
    next: async rater => next(rater),
    send: async (rater, reply) => {
      if (!mine(rater).some(vote => vote.identity === reply.identity)) keep(rater, reply, true);
      return next(rater);
    },
    undo: async rater => {
      const last = mine(rater).filter(vote => vote.shown).at(-1);
      if (!last) return answer(rater, null);
      remove(last.identity);
      return answer(rater, show(last.ticket));
    },
    // whether another tab has answered this question
    has: (rater, ticket) =>
      ticket.repeat_of === null && mine(rater).some(vote => vote.ticket.item === ticket.item),
    give: rater => ({
      llmbench: "votes/1",
      poll: data.poll,
      task: data.task,
      rater,
      replies: mine(rater).map(({ rater: _, number, shown, ...reply }) => reply),
    }),
  };
};
