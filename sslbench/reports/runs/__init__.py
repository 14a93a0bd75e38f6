"""The report of one's own runs: what was trained, what came of it, what to look at next.

`collect` reads run folders and groups those that differ in their seed only; `words`, `scores` and
`steps` say what there is to say; `view` puts it together for `html`, `markdown` and `terminal`.
"""
