"""When each trial of a run has its turn: its order, the places that there are, and what a person changes meanwhile."""
