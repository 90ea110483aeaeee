"""`wardgate bench simulate`: the scheduler on simulated time, at sizes that no machine here has.

The planner and the admission are the gateway's own (`engine/batch.py`, `auth/admit.py`); time,
processors and arrivals are made up. `service` says how long things take, `replica` is one gateway,
`cell` many behind a balancer, `run` many cells in several processes, `summary` what came out.
`fit` and `validate` hold it against the real gateway.
"""
