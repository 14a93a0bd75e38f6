"""Studies: the same budget of trials for every recipe, searched on the held-out part, every trial
kept. `study.run_study` is the way in; `record.Record` is what is kept in `results/tuning/`."""
