"""Where runs are made: each executor turns jobs of RunSpecs into RunRecords.

Comes in: a prepared corpus and jobs. Goes out: events, of which one per job holds its records. `base` says what an
executor owes, `work` does what any worker does, `pool` hands jobs to a pool, and `registry` names the executors.
"""
