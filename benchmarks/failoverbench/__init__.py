"""Our own port of FailoverBench v0.1: sixteen faults of one provider, one healthy fallback, a verdict each.

python -m benchmarks.failoverbench [--line options|defaults|both] [--only S08,S09] [--fast] [--json FILE]

answer      what a caller makes of what it got: whole, a clean error, or wrong
judge       the checks and the verdict of a scenario, from answers and the provider's log
scenarios   the sixteen: what is asked of whom, and what has to be shown
caller      one request over HTTP, and exactly what came back
gateway     the process under test
scaled      the app that the fast form serves in it
run         one line: the scenarios one after the other against one gateway
report      tables, summaries, JSON
"""
