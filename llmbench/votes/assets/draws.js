// Random numbers from a seed, so that the same votes lead to the same question.
const hash = words => {
  let found = 2166136261;
  for (const letter of words) found = Math.imul(found ^ letter.codePointAt(0), 16777619);
  return found >>> 0;
};

// mulberry32
const makeRandom = words => {
  let state = hash(words);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
};

const makeName = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), byte => byte.toString(16).padStart(2, "0")).join("");

const pickOne = (list, random) => list[Math.floor(random() * list.length)];
