"""Callers against a gateway whose three providers break in every way, on a seeded schedule. By hand, and short in CI.

python -m benchmarks.chaos [--short] [--seed N] [--seconds T] [--callers N] [--only storm,dead,...]

proof       what providers write into answers, so that a mix, a gap or a repeat can be proved
verdict     what a caller makes of what it got
history     all callers' verdicts against all providers' logs
schedule    which provider is at fault when, and how; all from the seed
replies     what a provider at fault sends
provider, gateway, callers      the three kinds of process; `peers` starts them and talks to them
traffic     what callers ask for
scenarios   the parts of a run
judges      what a part has to show, as the lines of the table
"""
