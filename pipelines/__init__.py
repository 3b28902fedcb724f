"""How documents flow: sources, documents, scores, evidence, candidates, alerts."""
