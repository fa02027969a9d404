// Weights of the site's search: Sphinx's own, but a heading that consists of the words comes first.
var Scorer = {
  score: ([, , , , score, , kind]) => (kind === "title" ? 2 * score : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
