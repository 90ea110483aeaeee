"""`wardgate bench`: the same load on several systems, and what may be said of the difference.

`scenario` and `system` read what is to be done, `rounds` does it: `prepare` and `launch` start a
system, `golden` checks its answers, `measure` has `generator` load it from a process of its own,
`probe` reads what it took. `compare` and `page` read the results. `capacity`, `soak`, `overload`
and `beside` ask other questions of the same parts; `sim/` asks them of simulated time.
"""
