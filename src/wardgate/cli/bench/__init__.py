"""`wardgate bench`: the same load on several systems, and what may be said of the difference.

`scenario` and `system` read what is to be done, `rounds` does it: `launch` starts a system,
`golden` checks its answers, `generator` loads it from a process of its own, `probe` reads what it
took. `compare` and `page` read the results.
"""
