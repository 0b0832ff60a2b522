"""Many models: what to check, in which order, by whom, and what to do when somebody dies.

suite.py lists the models, cards.py reads what they claim, plan.py says what each costs (cost.py, rates.py, devices.py)
and what is settled already (keys.py), units.py is what travels to a worker and comes back, work.py is what a worker
does with it, run.py hands out units and gives up on those that fail. Workers are processes of this machine (local.py,
process.py; worker.py is what runs in them), or of a cluster.
"""
