"""Where the state of breakers and budgets is kept. What it means is in `_rules`; here it is only held."""
